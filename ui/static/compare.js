// Compare: the grid of pictures, the word's response under it, and two of them against each other.
"use strict";
window.promptweight ??= {};

promptweight.compare = (() => {
  const { element: make, language, heat } = promptweight;
  const SVG = "http://www.w3.org/2000/svg";
  const LINES = ["#f97316", "#3b82f6", "#22c55e", "#a855f7", "#ef4444", "#14b8a6", "#eab308", "#ec4899"];
  const DIFFERENCE = 256; // longer side of the difference map
  const { number } = language;
  const percent = (value) => `${number(value * 100, value >= 0.1 ? 3 : 2)}\u00a0%`;

  const address = (cell) => {
    const root = (window.gradio_config?.root ?? "").replace(/\/$/, "");
    return `${root}/gradio_api/file=${cell.path.split("/").map(encodeURIComponent).join("/")}`;
  };

  class Grid {
    constructor(root, props, watch) {
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
      if (cells.length) parts.push(this.switch(), make("div", { class: "pw-scroll" }, this.table(message)));
      if (cells.length) parts.push(make("p", { class: "pw-hint" }, this.say(total > 1 ? "grid_text" : "grid_one")));
      if (cells.length > 1) parts.push(this.curves(message));
      const [one, two] = this.pair.map((place) => cells.find((cell) => this.place(cell) === place));
      if (one && two) parts.push(this.versus(one, two, message));
      const focused = this.root.contains(document.activeElement) ? document.activeElement.dataset.place : null;
      this.root.replaceChildren(...parts);
      if (focused) this.root.querySelector(`[data-place="${focused}"]`)?.focus();
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

    table({ columns, rows, cells }) {
      const top = Math.max(...cells.map((cell) => cell.map?.top ?? 0));
      const table = make("table", { class: "pw-compare-table" });
      const isNamed = rows.kind !== "none";
      const head = make("tr", {}, ...(isNamed ? [make("td", {})] : []));
      for (const value of columns.values) head.append(make("th", { scope: "col" }, this.name(columns.kind, value)));
      table.append(head);
      rows.values.forEach((value, row) => {
        const line = make("tr", {});
        if (isNamed) line.append(make("th", { scope: "row" }, this.name(rows.kind, value)));
        columns.values.forEach((_, column) => {
          const index = cells.findIndex((cell) => cell.row === row && cell.column === column);
          line.append(make("td", {}, index < 0 ? make("div", { class: "pw-waiting" }) : this.cell(cells[index], top)));
        });
        table.append(line);
      });
      return table;
    }

    cell(cell, top) {
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
      if (cell.map) for (const name of ["mass", "area"]) told.append(make("span", {}, `${this.say(name)} ${percent(cell[name])}`));
      const save = make("a", { href: address(cell), download: cell.path.split("/").pop(), title: this.say("download") }, "⤓");
      save.setAttribute("aria-label", `${this.say("download")} ${label}`);
      const under = make("div", { class: "pw-cell-under" }, told, save);
      const notes = cell.warnings.length ? [make("div", { class: "pw-cell-warning", title: cell.warnings.join("\n") }, "⚠ ", cell.warnings[0])] : [];
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

    // ---- how the word answers ----

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
      const top = Math.max(1e-9, ...known.map((cell) => cell[measure])) * 1.1;
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
        const points = line.map((cell) => `${x(cell.column)},${y(cell[measure])}`).join(" ");
        if (isNumeric) draw("polyline", { points, fill: "none", stroke: color, "stroke-width": 2.5 });
        for (const cell of line) {
          const dot = draw("circle", { cx: x(cell.column), cy: y(cell[measure]), r: 4, fill: color });
          const title = document.createElementNS(SVG, "title");
          title.textContent = `${this.label(cell)}: ${percent(cell[measure])}`;
          dot.append(title);
        }
      });
      const caption = make("figcaption", {}, make("b", {}, this.say(`${measure}_title`, { word })), " ", this.say(`${measure}_text`));
      return make("figure", {}, caption, svg);
    }

    // ---- two against each other ----

    versus(one, two, { cells }) {
      const top = Math.max(...cells.map((cell) => cell.map?.top ?? 0));
      const slide = make("input", { type: "range", min: 0, max: 100, value: this.slide ?? 50, "data-place": "slide" });
      slide.setAttribute("aria-label", this.say("slide"));
      const under = make("div", { class: "pw-side" }, this.picture(two, top));
      const over = make("div", { class: "pw-side pw-over" }, this.picture(one, top));
      const edge = make("div", { class: "pw-edge" });
      const stage = make("div", { class: "pw-wipe" }, under, over, edge);
      const set = (value) => {
        this.slide = value;
        slide.value = value;
        over.style.clipPath = `inset(0 ${100 - value}% 0 0)`;
        edge.style.left = `${value}%`;
      };
      const drag = (event) => {
        const box = stage.getBoundingClientRect();
        set(Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width)));
      };
      stage.addEventListener("pointerdown", (event) => {
        stage.setPointerCapture(event.pointerId);
        drag(event);
      });
      stage.addEventListener("pointermove", (event) => event.buttons && drag(event));
      slide.addEventListener("input", () => set(Number(slide.value)));
      set(this.slide ?? 50);
      const names = make("div", { class: "pw-names" }, make("span", {}, `A · ${this.label(one)}`), make("span", {}, `B · ${this.label(two)}`));
      const left = make("figure", {}, make("h4", {}, this.say("slide_title")), names, stage, slide);
      return make("section", { class: "pw-versus" }, left, this.difference(one, two));
    }

    difference(one, two) {
      const canvas = make("canvas", { class: "pw-difference", role: "img" });
      const told = make("figcaption", { "aria-live": "polite" });
      const load = (cell) =>
        new Promise((resolve, reject) => {
          const image = new Image();
          image.onload = () => resolve(image);
          image.onerror = reject;
          image.src = address(cell);
        });
      Promise.all([load(one), load(two)])
        .then((images) => this.subtract(canvas, told, images, one))
        .catch(() => (told.textContent = this.say("offline")));
      return make("figure", {}, make("h4", {}, this.say("difference_title")), make("div", { class: "pw-names" }, this.say("difference_text")), canvas, told);
    }

    subtract(canvas, told, images, one) {
      const scale = Math.min(1, DIFFERENCE / Math.max(...one.size));
      const [width, height] = one.size.map((side) => Math.max(1, Math.round(side * scale)));
      const [first, second] = images.map((image) => {
        const context = make("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
        context.drawImage(image, 0, 0, width, height);
        return context.getImageData(0, 0, width, height).data;
      });
      const field = new Float32Array(width * height);
      for (let pixel = 0; pixel < field.length; pixel++) {
        for (let color = 0; color < 3; color++) field[pixel] += Math.abs(first[4 * pixel + color] - second[4 * pixel + color]) / 765;
      }
      const mean = field.reduce((sum, value) => sum + value, 0) / field.length;
      const changed = field.filter((value) => value > 0.05).length / field.length;
      const top = Math.max(0.1, ...field);
      canvas.width = width;
      canvas.height = height;
      const context = canvas.getContext("2d");
      const pixels = context.createImageData(width, height);
      field.forEach((value, pixel) => {
        const place = 3 * Math.round((255 * value) / top);
        pixels.data.set([...this.colors.subarray(place, place + 3), 255], 4 * pixel);
      });
      context.putImageData(pixels, 0, 0);
      const text = mean === 0 ? this.say("same") : this.say("difference_told", { mean: percent(mean), changed: percent(changed) });
      told.textContent = text;
      canvas.setAttribute("aria-label", `${this.say("difference_title")}: ${text}`);
    }
  }

  return { mount: (element, props, watch) => new Grid(element, props, watch), address };
})();
