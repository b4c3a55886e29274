// Softmax table of the Explore tab: q·k, ÷√d, softmax and Σ p·v with the numbers of the model.
import { element } from "./elements.js";
import { formatFixed, formatNumber } from "./language.js";
import { notebookNote } from "./notebooks.js";
import { biasOf, softmaxRow } from "./softmax.js";
import { largest, strip, vector } from "./vector_strip.js";

/** Return a share as a percentage with 0 to 2 decimals, more for smaller shares. */
export function formatShare(value) {
  const percent = value * 100;
  return `${formatFixed(percent, percent >= 9.95 ? 0 : percent >= 0.095 ? 1 : 2)}\u00a0%`;
}

export const formatSigned = (value) =>
  Number.isFinite(value) ? formatFixed(value, Math.abs(value) >= 100 ? 0 : 2).replace("-", "−") : "−∞";

/** Return e to the power of a logit, as a power of ten where it is long. */
export function formatPower(logit) {
  if (logit === -Infinity) return "0";
  const exponent = Math.floor(logit / Math.LN10);
  if (exponent > -3 && exponent < 6) return formatNumber(Math.exp(logit), 3);
  const digits = String(exponent).replace("-", "⁻").replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]);
  return `${formatFixed(Math.exp(logit - exponent * Math.LN10), 2)}·10${digits}`;
}

const hasFactor = ({ factor }) => (factor ?? 1) !== 1;

const formula = (text) => element("div", { class: "pw-formula" }, text);

/**
 * Return the cards and the table that compute the output of one patch.
 * @param {any} values the answer of the server
 * @param {string} word the selected word
 * @param {import("./language.js").Translate} translate
 * @returns {HTMLElement[]}
 */
export function softmaxTable(values, word, translate) {
  const row = values.table.find((each) => each.chosen);
  const isWeighted = values.table.some((each) => biasOf(each.bias) || hasFactor(each));
  return [
    element("h4", {}, translate("sum_title", { word })),
    element("ol", { class: "pw-cards" }, ...(row ? cards(values, row, word, isWeighted, translate) : [])),
    element("div", { class: "pw-scroll" }, table(values, isWeighted, translate)),
    element("p", { class: "pw-hint" }, translate("sum_table")),
    notebookNote("attention", translate),
  ];
}

function cards({ query, key, output, dimensions: d, table: lines }, row, word, isWeighted, translate) {
  const card = (name, title, text, ...more) =>
    element("li", { "data-tour": name }, element("h5", {}, title), element("p", {}, text), ...more);
  const root = Math.sqrt(d);
  const scaled = row.product / root;
  const products = query.map((value, index) => value * key[index]);
  const highest = largest(query, key);
  const highestValue = largest(row.contribution, output);
  const first = element("small", {}, translate("sum_first", { shown: query.length, d }));
  const added = biasOf(row.bias);
  const bias = added
    ? `${formatSigned(scaled)} + log ${formatFixed(Math.exp(added), 2)} = ${formatSigned(scaled + added)}`
    : `v × ${formatNumber(row.factor, 4)}`;
  const weight = card("bias", translate("sum_weight_title"), translate("sum_weight", { word }), formula(bias));
  return [
    card(
      "product",
      translate("sum_product_title"),
      translate("sum_product", { word: row.text, d }),
      vector("q", query, highest),
      vector("k", key, highest),
      vector("q × k", products, largest(products), `Σ = ${formatSigned(row.product)}`),
      ...(d > query.length ? [first] : []),
    ),
    card(
      "root",
      translate("sum_root_title"),
      translate("sum_root", { d, root: formatFixed(root, 2) }),
      formula(`${formatSigned(row.product)} ÷ ${formatFixed(root, 2)} = ${formatSigned(scaled)}`),
    ),
    ...(isWeighted ? [weight] : []),
    card(
      "softmax",
      translate("sum_softmax_title"),
      translate("sum_softmax"),
      formula(`e^${formatSigned(scaled + added)} ÷ Σ e^… = ${formatPower(scaled + added)} ÷ ${formatPower(softmaxRow(lines, d).logSum)} = ${formatShare(row.probability)}`),
    ),
    card(
      "values",
      translate("sum_value_title"),
      translate("sum_value"),
      vector("p·v", row.contribution, highestValue),
      vector("Σ p·v", output, highestValue),
    ),
  ];
}

function table({ table: rows, output, dimensions }, isWeighted, translate) {
  const root = Math.sqrt(dimensions);
  const highest = largest(output, ...rows.map((row) => row.contribution));
  const top = Math.max(1e-9, ...rows.map((row) => row.probability));
  const optional = (...cells) => (isWeighted ? cells : []);
  const heads = [translate("column_token"), "q·k", "÷ √d", ...optional(translate("column_weight")), "softmax p", "p · v"];
  const lines = rows.map((row) => {
    const isToken = "product" in row;
    const name = row.kind === "text" ? row.text : translate(`token_${row.kind}`);
    const added = biasOf(row.bias);
    const weight = added ? `+ ${formatSigned(added)}` : hasFactor(row) ? `v × ${formatNumber(row.factor, 4)}` : "";
    const fill = element("span", { class: "pw-fill", style: `width:${(100 * row.probability) / top}%` });
    return element(
      "tr",
      { class: row.chosen ? "pw-chosen" : row.kind === "text" ? "" : "pw-other" },
      element("th", { scope: "row" }, row.count > 1 ? `${name} ×${row.count}` : name),
      element("td", {}, isToken ? formatSigned(row.product) : "…"),
      element("td", {}, isToken ? formatSigned(row.product / root) : "…"),
      ...optional(element("td", {}, weight)),
      element(
        "td",
        { class: "pw-share" },
        element("span", { class: "pw-track" }, fill),
        element("span", {}, formatShare(row.probability)),
      ),
      element("td", {}, strip(row.contribution, highest, translate("column_contribution", { word: name }))),
    );
  });
  const total = rows.reduce((sum, row) => sum + row.probability, 0);
  const sum = element(
    "tr",
    { class: "pw-total" },
    element("th", { scope: "row" }, "Σ"),
    element("td", {}),
    element("td", {}),
    ...optional(element("td", {})),
    element("td", {}, formatShare(total)),
    element("td", {}, strip(output, highest, translate("column_output"))),
  );
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)));
  return element("table", { class: "pw-sum-table" }, head, ...lines, sum);
}
