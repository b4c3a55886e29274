// Text matrix of the Explore tab: self-attention of the text encoder as a table of colors.
import { CHUNK, costTable, LARGE } from "./block_diagram.js";
import { element, replaceKeepingFocus } from "./elements.js";
import { publish } from "./explored.js";
import { colorIndex, colorTable } from "./heat_painting.js";
import { currentLanguage, onLanguageChange, translator } from "./language.js";
import { notebookNote } from "./notebooks.js";
import { runText } from "./run_status.js";
import { formatShare } from "./softmax_table.js";

const MAX_NUMBERED = 20; // tokens up to which the cells hold numbers and can have the focus

export class TextMatrix {
  /**
   * @param {HTMLElement} root
   * @param {any} props of the Gradio component: `value`, `texts`, `run_texts`
   * @param {(name: string, listener: () => void) => void} watch
   * @param {any} server `values`
   */
  constructor(root, props, watch, server) {
    this.props = props;
    this.server = server;
    /** @type {HTMLElement} */
    this.root = root.querySelector(".pw-explore");
    this.translate = translator(props.texts);
    this.runTranslate = translator(props.run_texts);
    this.about = null;
    this.selection = { chunk: 0, layer: null, head: null, lifted: false };
    this.matrix = null;
    this.error = null;
    this.receive();
    watch("value", () => this.receive());
    onLanguageChange(() => this.draw());
  }

  receive() {
    const { value } = this.props;
    this.status = value && value.state !== "ready" ? value : null;
    if (this.status) {
      this.draw();
      return;
    }
    this.message = value;
    this.about = value?.about ?? null;
    this.matrix = null;
    this.selection = { chunk: 0, layer: this.about ? this.about.layers - 1 : null, head: null, lifted: false };
    this.draw();
    if (this.about) this.request();
  }

  async request() {
    const { key } = this.message;
    const selection = { ...this.selection };
    const answer = await this.server.values({ key, ...selection }).catch(() => ({ error: "offline" }));
    const isCurrent = Object.keys(selection).every((name) => selection[name] === this.selection[name]);
    if (key !== this.message?.key || !isCurrent) return;
    this.error = answer.error ?? null;
    this.matrix = answer.matrix ?? this.matrix;
    this.draw();
  }

  draw() {
    this.#publish();
    if (!this.about) {
      const text = this.status ? this.#statusText() : this.translate("text_empty");
      this.root.replaceChildren(element("p", { class: "pw-empty-note", role: "status" }, text));
      return;
    }
    const { causal, left_out } = this.about;
    const mask = this.selection.lifted ? "text_lifted" : causal ? "text_causal" : "text_both_ways";
    const notes = [mask, "text_rows", "text_start"].map((key) => this.translate(key));
    if (left_out) notes.push(this.translate("text_left_out", { number: left_out }));
    this.readout = element("div", { class: "pw-readout", "aria-live": "polite" }, this.translate("text_point"));
    const explanation = element("div", { class: "pw-explain" }, this.readout, ...notes.map((note) => element("p", {}, note)), notebookNote("kinds", this.translate), this.#costs());
    const body = element("div", { class: "pw-explore-two" }, this.#table(), explanation);
    const error = this.status ? this.#statusText() : this.error && this.translate(this.error);
    const errors = error ? [element("p", { class: "pw-error", role: "status" }, error)] : [];
    replaceKeepingFocus(this.root, [...errors, this.#pickers(), body]);
  }

  #names() {
    const labels = this.about.chunks[this.selection.chunk];
    return labels.map(({ kind, text }) => (kind === "text" ? text : this.translate(`token_${kind}`)));
  }

  #publish() {
    const labels = this.about?.chunks[this.selection.chunk];
    const isShown = labels && this.matrix?.length === labels.length;
    const isMasked = Boolean(this.about?.causal) && !this.selection.lifted;
    publish("text", isShown ? { matrix: this.matrix, labels, names: this.#names(), isMasked } : null);
  }

  #statusText() {
    if (this.status.state === "failed") return this.status.error[currentLanguage()];
    return runText(this.status, this.runTranslate);
  }

  #pickers() {
    const { chunks, layers, heads } = this.about;
    const row = element("div", { class: "pw-pickers" });
    if (chunks.length > 1) row.append(this.#picker("chunk", chunks.length, false));
    row.append(this.#picker("layer", layers, true));
    if (heads > 1) row.append(this.#picker("head", heads, true));
    if (this.about.unmasked) row.append(this.#mask());
    return row;
  }

  #mask() {
    const input = element("input", {
      type: "checkbox",
      name: "text-mask",
      checked: !this.selection.lifted,
      onchange: () => {
        this.selection.lifted = !input.checked;
        this.request();
      },
    });
    return element("label", { class: "pw-check" }, input, this.translate("mask"));
  }

  #costs() {
    const tokens = this.about.chunks[this.selection.chunk].length;
    /** @type {[string, number][]} */
    const rows = [
      [this.translate("cost_prompt"), tokens],
      [this.translate("cost_chunk"), CHUNK],
      [this.translate("cost_large"), LARGE],
    ];
    const text = element("p", { class: "pw-hint" }, this.translate("cost_text"));
    return element("section", {}, element("h4", {}, this.translate("cost_title")), costTable(rows, this.translate), text);
  }

  #picker(name, number, hasMean) {
    const select = element("select", { name: `text-${name}` });
    if (hasMean) select.append(element("option", { value: "" }, this.translate("text_mean")));
    for (let index = 0; index < number; index++) {
      const text = this.translate("of", { index: index + 1, number });
      select.append(element("option", { value: String(index) }, text));
    }
    select.value = String(this.selection[name] ?? "");
    select.addEventListener("change", () => {
      this.selection[name] = select.value === "" ? null : Number(select.value);
      this.request();
    });
    return element("label", {}, this.translate(name), select);
  }

  #table() {
    const labels = this.about.chunks[this.selection.chunk];
    const names = this.#names();
    const matrix = this.matrix?.length === names.length ? this.matrix : null;
    // The start token gets most of the attention, so the color scale leaves its column out.
    const others = (matrix ?? []).flatMap((row) => row.filter((_, column) => labels[column].kind !== "bos"));
    const highest = Math.max(1e-6, ...others);
    const isLarge = names.length > MAX_NUMBERED;
    const table = element("table", { class: `pw-matrix${isLarge ? " pw-large" : ""}` });
    const head = element("tr", {}, element("td", {}));
    for (const name of names) {
      head.append(element("th", { scope: "col", title: name }, element("span", {}, name)));
    }
    table.append(element("caption", {}, this.translate("text_caption")), head);
    names.forEach((query, row) => {
      const line = element("tr", {}, element("th", { scope: "row", title: query }, query));
      names.forEach((key, column) => {
        const value = matrix?.[row][column] ?? 0;
        const isMasked = this.about.causal && !this.selection.lifted && column > row;
        const text = isMasked
          ? this.translate("text_masked", { query, key })
          : this.translate("text_cell", { query, key, percent: formatShare(value) });
        const show = () => (this.readout.textContent = text);
        const cell = element("td", {
          tabIndex: isLarge || isMasked ? -1 : 0,
          class: isMasked ? "pw-masked" : "",
          onpointerenter: show,
          onfocus: show,
        });
        if (!isMasked) colorCell(cell, value / highest);
        if (!isMasked && !isLarge && matrix) cell.textContent = Math.round(value * 100);
        line.append(cell);
      });
      table.append(line);
    });
    return element("div", { class: "pw-scroll" }, table);
  }
}

/** Color a cell by a value of 0..1, its text in the color that contrasts more. */
export function colorCell(cell, value) {
  const color = 3 * colorIndex(Math.min(1, value));
  const [red, green, blue] = colorTable().subarray(color, color + 3);
  cell.style.background = `rgb(${red} ${green} ${blue})`;
  cell.style.color = 0.3 * red + 0.6 * green + 0.1 * blue > 120 ? "#000" : "#fff";
}
