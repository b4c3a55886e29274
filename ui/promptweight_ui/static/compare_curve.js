// Compare, under the grid: how the word's mass and area answer to what varies, as two charts.
"use strict";
window.promptweight ??= {};

promptweight.compareParts ??= {};
Object.assign(promptweight.compareParts, (() => {
  const { element: make, language, heat } = promptweight;
  const SVG = "http://www.w3.org/2000/svg";
  const LINES = ["#f97316", "#3b82f6", "#22c55e", "#a855f7", "#ef4444", "#14b8a6", "#eab308", "#ec4899"];
  const { number } = language;
  const percent = (value) => `${number(value * 100, value >= 0.1 ? 3 : 2)}\u00a0%`;

  const STRONG = 0.4; // of the strongest heat of all pictures

  const curves = (Base) => class extends Base {
    // The strongest heat of all pictures: they have one scale, so that they can be compared.
    top() {
      return Math.max(1e-12, ...this.props.value.cells.map((cell) => cell.map?.top ?? 0));
    }

    // How much of the picture's attention the word has on average, or where it has much: both 0 to 1.
    measured(cell, measure) {
      if (measure === "mass") return cell.mass;
      const least = (STRONG * 255 * this.top()) / Math.max(cell.map.top, 1e-12);
      const values = heat.bytes(cell.map.values);
      return values.filter((value) => value > least).length / values.length;
    }

    curves(message) {
      const charts = ["mass", "area"].map((measure) => this.curve(message, measure));
      const legend = make("div", { class: "pw-legend" });
      if (message.rows.kind !== "none") {
        message.rows.values.forEach((value, row) => {
          const dot = make("i", { style: `background:${LINES[row % LINES.length]}` });
          legend.append(make("span", {}, dot, this.name(message.rows.kind, value)));
        });
      }
      const title = make("h4", {}, this.say("curve_title", { word: message.word }));
      return make("section", { class: "pw-curves" }, title, legend, make("div", { class: "pw-charts" }, ...charts));
    }

    curve({ columns, rows, cells, word }, measure) {
      const [width, height, left, bottom] = [360, 190, 46, 34];
      const known = cells.filter((cell) => cell.map);
      const top = Math.max(1e-9, ...known.map((cell) => this.measured(cell, measure))) * 1.1;
      const isNumeric = columns.values.every((value) => typeof value === "number") && columns.kind !== "seed";
      const places = isNumeric ? columns.values : columns.values.map((_, index) => index);
      const [low, high] = [Math.min(...places), Math.max(...places)];
      const x = (column) => left + 12 + ((width - left - 30) * (places[column] - low)) / Math.max(high - low, 1e-9);
      const y = (value) => 8 + (height - bottom - 8) * (1 - value / top);
      const svg = document.createElementNS(SVG, "svg");
      const draw = (tag, attributes, text) => {
        const element = document.createElementNS(SVG, tag);
        for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
        if (text !== undefined) element.textContent = text;
        svg.append(element);
        return element;
      };
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", this.say(`${measure}_title`, { word }));
      for (const part of [0, 0.5, 1]) {
        const level = (top / 1.1) * part;
        draw("line", { x1: left, x2: width, y1: y(level), y2: y(level), class: "pw-rule" });
        draw("text", { x: left - 6, y: y(level) + 4, "text-anchor": "end" }, percent(level));
      }
      columns.values.forEach((value, column) => {
        const isNumber = typeof value === "number" && columns.kind !== "seed";
        const name = isNumber ? number(value, 3) : String(value).replace("attention-", "");
        draw("text", { x: x(column), y: height - bottom + 16, "text-anchor": "middle" }, name);
      });
      draw("text", { x: (left + width) / 2, y: height - 3, "text-anchor": "middle", class: "pw-axis" }, this.say(`kind_${columns.kind}`));
      rows.values.forEach((_, row) => {
        const line = known.filter((cell) => cell.row === row).sort((a, b) => places[a.column] - places[b.column]);
        const color = LINES[row % LINES.length];
        const points = line.map((cell) => `${x(cell.column)},${y(this.measured(cell, measure))}`).join(" ");
        if (isNumeric) draw("polyline", { points, fill: "none", stroke: color, "stroke-width": 2.5 });
        for (const cell of line) {
          const dot = draw("circle", { cx: x(cell.column), cy: y(this.measured(cell, measure)), r: 4, fill: color });
          const title = document.createElementNS(SVG, "title");
          title.textContent = `${this.label(cell)}: ${percent(this.measured(cell, measure))}`;
          dot.append(title);
        }
      });
      const caption = make("figcaption", {}, make("b", {}, this.say(`${measure}_title`, { word })), " ", this.say(`${measure}_text`));
      return make("figure", {}, caption, svg);
    }
  };

  return { percent, curves };
})());
