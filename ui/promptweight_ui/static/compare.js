// Compare: the grid of pictures, each with the word's heat.
"use strict";
window.promptweight ??= {};

promptweight.compare = (() => {
  const { element: make, language, heat } = promptweight;
  const { percent, address, curves, versus } = promptweight.compareParts;
  const { number } = language;

  class Grid extends versus(curves(Object)) {
    constructor(root, props, watch) {
      super();
      this.props = props;
      this.root = root.querySelector(".pw-compare");
      this.colors = heat.bytes(props.colors);
      this.say = (key, values) => language.say(props.texts, key, values);
      this.heat = true;
      this.pair = []; // places in the grid, row by row: pictures may come in another order
      this.show();
      watch("value", () => this.show());
      document.addEventListener("promptweight-language", () => this.show());
    }

    show() {
      const message = this.props.value;
      if (!message) {
        this.root.replaceChildren(make("p", { class: "pw-empty-note" }, this.say("empty")));
        this.id = null;
        return;
      }
      const id = JSON.stringify([message.word, message.columns, message.rows, message.cells[0]?.path]);
      if (id !== this.id) Object.assign(this, { pair: [], paired: false });
      this.id = id;
      const { cells, total } = message;
      if (!this.paired && cells.length === total && total > 1) {
        this.paired = true; // once: whoever puts a picture away again meant it
        if (this.pair.length < 2) this.pair = [0, this.other(message)];
      }
      const status = make("div", { class: "pw-hint", role: "status" }, this.status(message));
      const parts = [status];
      // What holds for every picture is told once.
      const shared = cells.length > 1 ? this.warnings(cells[0]).filter((warning) => cells.every((cell) => this.warnings(cell).includes(warning))) : [];
      if (cells.length) parts.push(this.switch(), make("div", { class: "pw-scroll" }, this.table(message, shared)));
      if (shared.length) parts.push(make("ul", { class: "pw-notes" }, ...shared.map((warning) => make("li", {}, warning))));
      if (cells.length) parts.push(make("p", { class: "pw-hint" }, this.say(total > 1 ? "grid_text" : "grid_one")));
      if (cells.length > 1) parts.push(this.curves(message));
      const [one, two] = this.pair.map((place) => cells.find((cell) => this.place(cell) === place));
      if (one && two) parts.push(this.versus(one, two));
      const focused = this.root.contains(document.activeElement) ? document.activeElement.dataset.place : null;
      this.root.replaceChildren(...parts);
      if (focused) this.root.querySelector(`[data-place="${focused}"]`)?.focus();
    }

    warnings(cell) {
      return cell.warnings.map((warning) => warning[language.current()]);
    }

    place({ row, column }) {
      return row * this.props.value.columns.values.length + column;
    }

    // The second picture to look at: the last of the first row, or of the first column.
    other({ columns, total }) {
      return columns.values.length > 1 ? columns.values.length - 1 : total - 1;
    }

    status({ state, cells, total, progress }) {
      if (state === "done") return cells.length < total ? this.say("stopped", { made: cells.length, total }) : "";
      const step = progress ? this.say("step", progress) : this.say("waiting");
      return `${this.say("making", { number: Math.min(cells.length + 1, total), total })} ${step}`;
    }

    switch() {
      const box = make("input", { type: "checkbox", checked: this.heat, "data-place": "heat" });
      box.addEventListener("change", () => {
        this.heat = box.checked;
        this.show();
      });
      return make("label", { class: "pw-check" }, box, this.say("heat", { word: this.props.value.word }));
    }

    name(kind, value) {
      if (kind === "none") return "";
      const shown = typeof value === "number" && kind !== "seed" ? number(value, 5) : String(value);
      return kind === "weight" ? `${this.props.value.word} × ${shown}` : `${this.say(`kind_${kind}`)} ${shown}`;
    }

    label(cell) {
      const { columns, rows } = this.props.value;
      const names = [this.name(columns.kind, columns.values[cell.column]), this.name(rows.kind, rows.values[cell.row])];
      return names.filter(Boolean).join(" · ");
    }

    table({ columns, rows, cells }, shared) {
      const top = this.top();
      const table = make("table", { class: "pw-compare-table" });
      table.style.setProperty("--pw-columns", columns.values.length);
      const isNamed = rows.kind !== "none";
      const head = make("tr", {}, ...(isNamed ? [make("td", {})] : []));
      for (const value of columns.values) head.append(make("th", { scope: "col" }, this.name(columns.kind, value)));
      table.append(head);
      rows.values.forEach((value, row) => {
        const line = make("tr", {});
        if (isNamed) line.append(make("th", { scope: "row" }, this.name(rows.kind, value)));
        columns.values.forEach((_, column) => {
          const index = cells.findIndex((cell) => cell.row === row && cell.column === column);
          line.append(make("td", {}, index < 0 ? make("div", { class: "pw-waiting" }) : this.cell(cells[index], top, shared)));
        });
        table.append(line);
      });
      return table;
    }

    cell(cell, top, shared) {
      const place = this.place(cell);
      const letter = this.pair.indexOf(place);
      const label = this.label(cell);
      const button = make(
        "button",
        {
          type: "button",
          class: "pw-cell",
          "aria-pressed": String(letter >= 0),
          "aria-label": this.say("cell", { label }),
          "data-place": `cell-${place}`,
          onclick: () => this.choose(place),
        },
        this.picture(cell, top),
      );
      if (letter >= 0) button.append(make("span", { class: "pw-badge" }, "AB"[letter]));
      const told = make("div", { class: "pw-measure" });
      if (cell.map) for (const name of ["mass", "area"]) told.append(make("span", {}, `${this.say(name)} ${percent(this.measured(cell, name))}`));
      for (const { phrase, share } of cell.found) told.append(make("span", { title: this.say("found") }, `${phrase} =${percent(share)}`));
      const save = make("a", { href: address(cell), download: cell.path.split("/").pop(), title: this.say("download") }, "⤓");
      save.setAttribute("aria-label", `${this.say("download")} ${label}`);
      const under = make("div", { class: "pw-cell-under" }, told, save);
      const warnings = this.warnings(cell).filter((warning) => !shared.includes(warning));
      const notes = warnings.length ? [make("div", { class: "pw-cell-warning", title: warnings.join("\n") }, "⚠ ", warnings[0])] : [];
      return make("div", {}, button, under, ...notes);
    }

    picture(cell, top) {
      const image = make("img", { src: address(cell), alt: this.label(cell), draggable: false });
      const sharp = make("canvas", { class: "pw-sharp", hidden: true, "aria-hidden": "true" });
      image.addEventListener("load", () => {
        sharp.hidden = !promptweight.upscale?.draw(image, sharp);
      });
      const stage = make("span", { class: "pw-patches pw-still" }, image, sharp);
      stage.style.aspectRatio = `${cell.size[0]} / ${cell.size[1]}`;
      if (this.heat && cell.map) stage.append(this.overlay(cell.map, top));
      return stage;
    }

    // All pictures have one scale, so that colours can be compared.
    overlay(map, top) {
      const canvas = make("canvas", { class: "pw-grid pw-soft", width: map.columns, height: map.rows, "aria-hidden": "true" });
      const values = heat.bytes(map.values);
      const field = Float32Array.from(values, (value) => (value * map.top) / 255 / Math.max(top, 1e-12));
      const context = canvas.getContext("2d");
      const pixels = context.createImageData(map.columns, map.rows);
      heat.paintOne(pixels.data, field, this.colors, 0.85);
      context.putImageData(pixels, 0, 0);
      return canvas;
    }

    choose(place) {
      this.pair = this.pair.includes(place) ? this.pair.filter((each) => each !== place) : [...this.pair, place].slice(-2);
      this.show();
    }
  }

  return { mount: (element, props, watch) => new Grid(element, props, watch), address };
})();
