// Comparison grid: one picture per pair of values, each with the word's heat.
import { constants } from "./constants.js";
import { DifferenceView } from "./difference_view.js";
import { element, fileUrl, paintPixels, replaceKeepingFocus } from "./elements.js";
import { decodeBytes, normalize, paintMap } from "./heat_painting.js";
import { currentLanguage, formatNumber, formatPercent, onLanguageChange, translator } from "./language.js";
import { highestHeat, measure, responseCharts } from "./response_chart.js";
import { sharpImage } from "./upscale.js";

export class CompareGrid {
  /**
   * @param {HTMLElement} root
   * @param {any} props of the Gradio component: `value`, `texts`
   * @param {(name: string, listener: () => void) => void} watch
   */
  constructor(root, props, watch) {
    this.props = props;
    /** @type {HTMLElement} */
    this.root = root.querySelector(".pw-compare");
    this.translate = translator(props.texts);
    this.hasHeat = true;
    /** @type {number[]} Places in the grid, row by row: pictures may arrive in another order. */
    this.pair = [];
    this.isPaired = false;
    this.id = null;
    this.difference = new DifferenceView(this.translate, {
      label: (cell) => this.#cellLabel(cell),
      picture: (cell) => this.#picture(cell),
    });
    this.update();
    watch("value", () => this.update());
    onLanguageChange(() => this.update());
  }

  update() {
    const message = this.props.value;
    if (!message) {
      this.root.replaceChildren(element("p", { class: "pw-empty-note" }, this.translate("empty")));
      this.id = null;
      return;
    }
    this.#choosePair(message);
    const { cells, total } = message;
    const parts = [element("div", { class: "pw-hint", role: "status" }, this.#status(message))];
    // Warnings of every picture are listed once, under the grid.
    const shared = cells.length > 1 ? warnings(cells[0]).filter((text) => cells.every((cell) => warnings(cell).includes(text))) : [];
    if (cells.length) parts.push(this.#heatSwitch(), element("div", { class: "pw-scroll" }, this.#table(message, shared)));
    if (shared.length) parts.push(element("ul", { class: "pw-notes" }, ...shared.map((text) => element("li", {}, text))));
    if (cells.length) {
      const hint = total > 1 ? "grid_text" : "grid_one";
      parts.push(element("p", { class: "pw-hint" }, this.translate(hint)));
    }
    if (cells.length > 1) {
      const labels = {
        axis: (kind, value) => this.#axisLabel(kind, value),
        cell: (cell) => this.#cellLabel(cell),
      };
      parts.push(responseCharts(message, this.translate, labels));
    }
    const [first, second] = this.pair.map((place) => cells.find((cell) => this.#place(cell) === place));
    if (first && second) parts.push(this.difference.compare(first, second));
    replaceKeepingFocus(this.root, parts, "data-place");
  }

  // Two pictures are chosen once, when all are there; a person may unselect them afterwards.
  #choosePair({ word, columns, rows, cells, total }) {
    const id = JSON.stringify([word, columns, rows, cells[0]?.path]);
    if (id !== this.id) Object.assign(this, { id, pair: [], isPaired: false });
    if (this.isPaired || cells.length < total || total < 2) return;
    this.isPaired = true;
    const last = columns.values.length > 1 ? columns.values.length - 1 : total - 1;
    if (this.pair.length < 2) this.pair = [0, last];
  }

  #place({ row, column }) {
    return row * this.props.value.columns.values.length + column;
  }

  #status({ state, cells, total, progress }) {
    const made = cells.length;
    if (state === "done") return made < total ? this.translate("stopped", { made, total }) : "";
    const step = progress ? this.translate("step", progress) : this.translate("waiting");
    return `${this.translate("making", { number: Math.min(made + 1, total), total })} ${step}`;
  }

  #heatSwitch() {
    const box = element("input", { type: "checkbox", checked: this.hasHeat, "data-place": "heat" });
    box.addEventListener("change", () => {
      this.hasHeat = box.checked;
      this.update();
    });
    return element("label", { class: "pw-check" }, box, this.translate("heat", { word: this.props.value.word }));
  }

  #axisLabel(kind, value) {
    if (kind === "none") return "";
    const shown = typeof value === "number" && kind !== "seed" ? formatNumber(value, 5) : String(value);
    return kind === "weight" ? `${this.props.value.word} × ${shown}` : `${this.translate(`kind_${kind}`)} ${shown}`;
  }

  #cellLabel({ row, column }) {
    const { columns, rows } = this.props.value;
    const names = [
      this.#axisLabel(columns.kind, columns.values[column]),
      this.#axisLabel(rows.kind, rows.values[row]),
    ];
    return names.filter(Boolean).join(" · ");
  }

  #table({ columns, rows, cells }, shared) {
    const table = element("table", { class: "pw-compare-table" });
    table.style.setProperty("--pw-columns", columns.values.length);
    const isNamed = rows.kind !== "none";
    const head = element("tr", {}, ...(isNamed ? [element("td", {})] : []));
    for (const value of columns.values) {
      head.append(element("th", { scope: "col" }, this.#axisLabel(columns.kind, value)));
    }
    table.append(head);
    rows.values.forEach((value, row) => {
      const line = element("tr", {});
      if (isNamed) line.append(element("th", { scope: "row" }, this.#axisLabel(rows.kind, value)));
      columns.values.forEach((_, column) => {
        const cell = cells.find((each) => each.row === row && each.column === column);
        line.append(element("td", {}, cell ? this.#cell(cell, shared) : element("div", { class: "pw-waiting" })));
      });
      table.append(line);
    });
    return table;
  }

  #cell(cell, shared) {
    const place = this.#place(cell);
    const letter = this.pair.indexOf(place);
    const label = this.#cellLabel(cell);
    const button = element(
      "button",
      {
        type: "button",
        class: "pw-cell",
        "aria-pressed": String(letter >= 0),
        "aria-label": this.translate("cell", { label }),
        "data-place": `cell-${place}`,
        onclick: () => this.#toggle(place),
      },
      this.#picture(cell),
    );
    if (letter >= 0) button.append(element("span", { class: "pw-badge" }, "AB"[letter]));
    const numbers = element("div", { class: "pw-measure" });
    const highest = highestHeat(this.props.value.cells);
    for (const name of cell.map ? ["mass", "area"] : []) {
      numbers.append(element("span", {}, `${this.translate(name)} ${formatPercent(measure(cell, name, highest))}`));
    }
    for (const { phrase, share } of cell.shares) {
      const text = `${phrase} =${formatPercent(share)}`;
      numbers.append(element("span", { title: this.translate("share_result") }, text));
    }
    const save = element(
      "a",
      {
        href: fileUrl(cell.path),
        download: cell.path.split("/").pop(),
        title: this.translate("download"),
        "aria-label": `${this.translate("download")} ${label}`,
      },
      "⤓",
    );
    const own = warnings(cell).filter((text) => !shared.includes(text));
    const notes = own.length
      ? [element("div", { class: "pw-cell-warning", title: own.join("\n") }, "⚠ ", own[0])]
      : [];
    return element("div", {}, button, element("div", { class: "pw-cell-under" }, numbers, save), ...notes);
  }

  #picture(cell) {
    const { image, sharp } = sharpImage({ src: fileUrl(cell.path), alt: this.#cellLabel(cell) });
    const stage = element("span", { class: "pw-patches pw-still" }, image, sharp);
    stage.style.aspectRatio = `${cell.size[0]} / ${cell.size[1]}`;
    if (this.hasHeat && cell.map) stage.append(this.#overlay(cell.map));
    return stage;
  }

  // All pictures have one color scale, so that their colors can be compared.
  #overlay(map) {
    const canvas = element("canvas", { class: "pw-grid pw-soft", "aria-hidden": "true" });
    const values = Float32Array.from(decodeBytes(map.values), (value) => (value * map.top) / 255);
    const heat = normalize(values, [0, highestHeat(this.props.value.cells)]);
    paintPixels(canvas, map.columns, map.rows, (pixels) => paintMap(pixels, heat, constants.overlay_opacity));
    return canvas;
  }

  #toggle(place) {
    const isChosen = this.pair.includes(place);
    this.pair = isChosen ? this.pair.filter((each) => each !== place) : [...this.pair, place].slice(-2);
    this.update();
  }
}

function warnings(cell) {
  return cell.warnings.map((warning) => warning[currentLanguage()]);
}
