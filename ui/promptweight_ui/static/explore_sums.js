// Explore, third part: q·k, ÷√d, softmax and Σ p·v with the numbers of the model.
"use strict";
window.promptweight ??= {};
promptweight.explore ??= {};

promptweight.explore.sums = (() => {
  const { element: make } = promptweight;

  // Numbers as colours: orange above 0, blue below, stronger further away.
  function strip(values, top, title) {
    const cells = values.map((value) => {
      const strength = Math.round(100 * Math.min(1, Math.abs(value) / top));
      const color = value < 0 ? "var(--pw-below)" : "var(--pw-above)";
      return make("i", { style: `background:color-mix(in srgb, ${color} ${strength}%, transparent)`, title: String(value) });
    });
    return make("span", { class: "pw-strip", role: "img", "aria-label": title }, ...cells);
  }

  const largest = (...lists) => Math.max(1e-9, ...lists.flat().map(Math.abs));

  function steps(inside, word) {
    const { view, say } = inside;
    const { percent, signed, fixed } = promptweight.explore.numbers;
    const chosen = view.table.find((line) => line.chosen);
    const d = view.dimensions;
    const root = Math.sqrt(d);
    const isWeighted = view.table.some((line) => line.bias) || view.table.some((line) => (line.factor ?? 1) !== 1);
    const cards = [];
    const card = (title, text, ...more) =>
      cards.push(make("li", {}, make("h5", {}, title), make("p", {}, text), ...more));

    if (chosen) {
      const products = view.query.map((value, index) => value * view.key[index]);
      const top = largest(view.query, view.key);
      const line = (name, values, most, sum = "") =>
        make("div", { class: "pw-vector" }, make("b", {}, name), strip(values, most, name), make("span", {}, sum));
      const token = chosen.text;
      card(
        say("sum_product_title"),
        say("sum_product", { word: token, d }),
        line("q", view.query, top),
        line("k", view.key, top),
        line("q × k", products, largest(products), `Σ = ${signed(chosen.product)}`),
        ...(d > view.query.length ? [make("small", {}, say("sum_first", { shown: view.query.length, d }))] : []),
      );
      card(
        say("sum_root_title"),
        say("sum_root", { d, root: fixed(root, 2) }),
        make("div", { class: "pw-formula" }, `${signed(chosen.product)} ÷ ${fixed(root, 2)} = ${signed(chosen.product / root)}`),
      );
      if (isWeighted) {
        const logit = chosen.product / root + chosen.bias;
        const formula = chosen.bias
          ? `${signed(chosen.product / root)} + ${signed(chosen.bias)} = ${signed(logit)}`
          : `v × ${chosen.factor}`;
        card(say("sum_weight_title"), say("sum_weight", { word }), make("div", { class: "pw-formula" }, formula));
      }
      card(
        say("sum_softmax_title"),
        say("sum_softmax"),
        make(
          "div",
          { class: "pw-formula" },
          `e^${signed(chosen.product / root + chosen.bias)} ÷ Σ e^… = ${percent(chosen.probability)}`,
        ),
      );
      const most = largest(chosen.taken, view.output);
      card(
        say("sum_value_title"),
        say("sum_value"),
        line("p·v", chosen.taken, most),
        line("Σ p·v", view.output, most),
      );
    }
    return [
      make("h4", {}, say("sum_title", { word })),
      make("ol", { class: "pw-cards" }, ...cards),
      make("div", { class: "pw-scroll" }, table(inside, root, isWeighted)),
      make("p", { class: "pw-hint" }, say("sum_table")),
    ];
  }

  function table({ view, say }, root, isWeighted) {
    const { percent, signed } = promptweight.explore.numbers;
    const most = largest(view.output, ...view.table.map((line) => line.taken));
    const top = Math.max(1e-9, ...view.table.map((line) => line.probability));
    const heads = [say("column_token"), "q·k", "÷ √d", ...(isWeighted ? [say("column_weight")] : []), "softmax p", "p · v"];
    const lines = view.table.map((line) => {
      const isToken = "product" in line;
      const name = line.kind === "text" ? line.text : say(`token_${line.kind}`);
      const many = line.count > 1 ? ` ×${line.count}` : "";
      const weight = line.bias ? `+ ${signed(line.bias)}` : (line.factor ?? 1) !== 1 ? `v × ${line.factor}` : "";
      return make(
        "tr",
        { class: line.chosen ? "pw-chosen" : line.kind === "text" ? "" : "pw-other" },
        make("th", { scope: "row" }, name + many),
        make("td", {}, isToken ? signed(line.product) : "…"),
        make("td", {}, isToken ? signed(line.product / root) : "…"),
        ...(isWeighted ? [make("td", {}, weight)] : []),
        make(
          "td",
          { class: "pw-share" },
          make("span", { class: "pw-track" }, make("span", { class: "pw-fill", style: `width:${(100 * line.probability) / top}%` })),
          make("span", {}, percent(line.probability)),
        ),
        make("td", {}, strip(line.taken, most, say("column_taken", { word: name }))),
      );
    });
    const total = view.table.reduce((sum, line) => sum + line.probability, 0);
    lines.push(
      make(
        "tr",
        { class: "pw-total" },
        make("th", { scope: "row" }, "Σ"),
        make("td", {}),
        make("td", {}),
        ...(isWeighted ? [make("td", {})] : []),
        make("td", {}, percent(total)),
        make("td", {}, strip(view.output, most, say("column_output"))),
      ),
    );
    return make(
      "table",
      { class: "pw-sum-table" },
      make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head))),
      ...lines,
    );
  }

  return steps;
})();
