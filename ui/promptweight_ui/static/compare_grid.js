// Comparison grid: one picture per pair of values, each with the word's heat.
import { constants } from "./constants.js";
import { changedPart, DifferenceView } from "./difference_view.js";
import { element, fileUrl, paintPixels, replaceKeepingFocus } from "./elements.js";
import { decodeBytes, normalize, paintMap } from "./heat_painting.js";
import { currentLanguage, formatNumber, formatPercent, onLanguageChange, translator } from "./language.js";
import { baseCell, highestHeat, measure, responseCharts } from "./response_chart.js";
import { runText } from "./run_status.js";
import { sharpImage } from "./upscale.js";

const NOTHING = { cells: [], columns: { values: [] }, rows: { values: [] }, total: 0 };

export class CompareGrid {
  /**
   * @param {HTMLElement} root
   * @param {any} props of the Gradio component: `value`, `texts`, `run_texts`
   * @param {(name: string, listener: () => void) => void} watch
   */
  constructor(root, props, watch) {
    this.props = props;
    /** @type {HTMLElement} */
    this.root = root.querySelector(".pw-compare");
    this.translate = translator(props.texts);
    this.runTranslate = translator(props.run_texts);
    this.hasHeat = false;
    /** @type {number[]} Places in the grid, row by row: pictures may arrive in another order. */
    this.pair = [];
    this.isPaired = false;
    this.id = null;
    this.difference = new DifferenceView(this.translate, {
      label: (cell) => this.#cellLabel(cell),
      picture: (cell) => this.#picture(cell),
    });
    /** @type {any} */
    this.message = null;
    this.receive();
    watch("value", () => this.receive());
    onLanguageChange(() => this.update());
  }

  // A failed run keeps the pictures made before; a run that has not begun keeps those of the former one.
  receive() {
    const { value } = this.props;
    this.message = value?.state === "failed" ? { ...(this.message ?? NOTHING), ...value } : value;
    this.update();
  }

  update() {
    const { message } = this;
    if (!message) {
      this.root.replaceChildren(element("p", { class: "pw-empty-note" }, this.translate("empty")));
      this.id = null;
      return;
    }
    this.#choosePair(message);
    const { cells, total } = message;
    const parts = [element("div", { class: message.error ? "pw-error" : "pw-hint", role: "status" }, this.#status(message))];
    // Warnings of every picture are listed once, under the grid.
    const shared = cells.length > 1 ? warnings(cells[0]).filter((text) => cells.every((cell) => warnings(cell).includes(text))) : [];
    if (message.state !== "running" && cells.length > 1) parts.push(this.#summary(message));
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

  // Two pictures are chosen once, when all are there; a person may choose others afterwards.
  #choosePair({ word, columns, rows, cells, total }) {
    const id = JSON.stringify([word, columns, rows, cells[0]?.path]);
    if (id !== this.id) Object.assign(this, { id, pair: [], isPaired: false });
    if (this.isPaired || cells.length < total || total < 2) return;
    this.isPaired = true;
    const last = columns.values.length > 1 ? columns.values.length - 1 : total - 1;
    if (this.pair.length < 2) this.pair = [0, last];
  }

  // One sentence of what the values changed, once the pixels are compared.
  #summary({ cells, word, columns, rows }) {
    const text = element("p", { class: "pw-summary", "aria-live": "polite" });
    const base = baseCell(this.message);
    if (rows.kind !== "none" || columns.kind !== "weight") return text;
    const others = cells.filter((cell) => cell !== base);
    Promise.all(others.map((cell) => changedPart(base, cell)))
      .then((parts) => {
        const changes = parts
          .map((part, index) => ({ part, label: formatNumber(columns.values[others[index].column], 4) }))
          .map(({ part, label }) => this.translate("change", { label, changed: formatPercent(part, 2) }));
        const masses = cells.map((cell) => cell.mass ?? 0);
        const [low, high] = [Math.min(...masses), Math.max(...masses)].map((mass) => formatPercent(mass, 2));
        const values = { base: formatNumber(columns.values[base.column], 4), changes: changes.join(", "), word, low, high };
        text.textContent = this.translate("effect", values);
      })
      .catch(() => {}); // the pictures are gone: the view of their difference tells it
    return text;
  }

  #place({ row, column }) {
    return row * this.message.columns.values.length + column;
  }

  #status({ state, cells, total, error, ...run }) {
    const made = cells.length;
    if (error) return error[currentLanguage()];
    if (state === "done") return made < total ? this.translate("stopped", { made, total }) : this.#seedText();
    const text = runText({ ...run, progress: run.progress && { ...run.progress, images: 1, left: null } }, this.runTranslate);
    return run.queue ? text : `${this.translate("making", { number: Math.min(made + 1, total), total })} ${text}`;
  }

  #seedText() {
    const { seed, rows, columns } = this.message;
    return seed === undefined || [rows.kind, columns.kind].includes("seed") ? "" : this.translate("seed", { seed });
  }

  #heatSwitch() {
    const box = element("input", { type: "checkbox", checked: this.hasHeat, "data-place": "heat" });
    box.addEventListener("change", () => {
      this.hasHeat = box.checked;
      this.update();
    });
    return element("label", { class: "pw-check" }, box, this.translate("heat", { word: this.message.word }));
  }

  #axisLabel(kind, value) {
    if (kind === "none") return "";
    const shown = typeof value === "number" && kind !== "seed" ? formatNumber(value, 5) : String(value);
    return kind === "weight" ? `${this.message.word} × ${shown}` : `${this.translate(`kind_${kind}`)} ${shown}`;
  }

  #cellLabel({ row, column }) {
    const { columns, rows } = this.message;
    const names = [
      this.#axisLabel(columns.kind, columns.values[column]),
      this.#axisLabel(rows.kind, rows.values[row]),
    ];
    return names.filter(Boolean).join(" · ");
  }

  #table({ columns, rows, cells }, shared) {
    const table = element("table", { class: "pw-compare-table" });
    table.style.setProperty("--pw-columns", columns.values.length);
    table.style.setProperty("--pw-row-head", rows.kind === "none" ? "0rem" : "7rem");
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
    for (const name of cell.map ? ["mass", "area"] : []) {
      const value = formatPercent(measure(this.message, cell, name));
      numbers.append(element("span", {}, `${this.translate(name)} ${value}`));
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
    if (this.hasHeat && cell.map) stage.append(this.#overlay(cell));
    return stage;
  }

  // All pictures of a model have one color scale, so that their colors can be compared.
  #overlay(cell) {
    const { map } = cell;
    const canvas = element("canvas", { class: "pw-grid pw-soft", "aria-hidden": "true" });
    const values = Float32Array.from(decodeBytes(map.values), (value) => (value * map.top) / 255);
    const heat = normalize(values, [0, highestHeat(this.message, cell)]);
    paintPixels(canvas, map.columns, map.rows, (pixels) => paintMap(pixels, heat, constants.overlay_opacity));
    return canvas;
  }

  // The picture takes the place of the one that was chosen before the other.
  #toggle(place) {
    if (!this.pair.includes(place)) this.pair = [...this.pair, place].slice(-2);
    this.update();
  }
}

function warnings(cell) {
  return cell.warnings.map((warning) => warning[currentLanguage()]);
}
