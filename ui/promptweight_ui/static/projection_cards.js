// Projections of the Explore tab: x·Wq, x·Wk and x·Wv of the framed patch and the selected word.
import { element, paintPixels } from "./elements.js";
import { decodeBytes } from "./heat_painting.js";
import { formatSigned } from "./softmax_table.js";
import { largest, vector } from "./vector_strip.js";

const ABOVE = [249, 115, 22];
const BELOW = [59, 130, 246];
const SIDES = { query: "q", key: "k", value: "v" };

/**
 * Return the section that makes q, k and v from the inputs of the layer.
 * @param {any} values the answer of the server
 * @param {string} word the selected word
 * @param {import("./language.js").Translate} translate
 * @returns {HTMLElement[]}
 */
export function projectionCards({ projections, table, dimensions }, word, translate) {
  const title = element("h4", {}, translate("projection_title"));
  if (!projections) return [title, element("p", { class: "pw-hint" }, translate("projection_none"))];
  const row = table.find((line) => line.chosen);
  const cards = Object.entries(SIDES).map(([side, letter]) => card(side, letter, projections[side], word, translate));
  const product = translate("projection_product", { product: formatSigned(row.product), d: dimensions });
  const notes = projections.normalized ? [element("p", { class: "pw-hint" }, translate("projection_normalized"))] : [];
  const shown = { inputs: projections.query.input.length, outputs: projections.query.product.length };
  return [
    title,
    element("p", {}, translate("projection_text")),
    element("ol", { class: "pw-cards pw-projections" }, ...cards),
    ...notes,
    element("p", { class: "pw-readout" }, product),
    element("p", { class: "pw-hint" }, translate("projection_shown", shown)),
  ];
}

function card(side, letter, { input, width, matrix, product, biased }, word, translate) {
  const canvas = element("canvas", { class: "pw-weights", role: "img" });
  const name = `W${letter}`;
  canvas.setAttribute("aria-label", translate("projection_matrix", { name }));
  paintMatrix(canvas, matrix);
  const formula = `${letter} = x·${name}${biased ? " + b" : ""}`;
  return element(
    "li",
    {},
    element("h5", {}, formula),
    element("p", {}, translate(`projection_${side}`, { word, n: width })),
    vector("x", input, largest(input)),
    element("div", { class: "pw-vector" }, element("b", {}, name), canvas, element("span", {})),
    vector(`x·${name}`, product, largest(product)),
  );
}

// Bytes around 128: orange above, blue below, stronger further away.
function paintMatrix(canvas, { values, rows, columns }) {
  const bytes = decodeBytes(values);
  paintPixels(canvas, columns, rows, (pixels) => {
    bytes.forEach((byte, index) => {
      const color = byte < 128 ? BELOW : ABOVE;
      pixels.set([...color, Math.min(255, 2 * Math.abs(byte - 128))], 4 * index);
    });
  });
}
