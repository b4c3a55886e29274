// Attention view of the Explore tab: the attention of one patch, requested from the server for each selection.
import { AttentionDrawing } from "./attention_drawing.js";
import { element } from "./elements.js";
import { publish } from "./explored.js";
import { decodeBytes } from "./heat_painting.js";
import { currentLanguage, onLanguageChange, translator } from "./language.js";
import { runText } from "./run_status.js";

const indexOfHighest = (values) => values.indexOf(Math.max(...values));

export class AttentionView {
  /**
   * @param {HTMLElement} root
   * @param {any} props of the Gradio component: `value`, `texts`, `run_texts`
   * @param {(name: string, listener: () => void) => void} watch
   * @param {any} server `values`, `wall`, `film` and `guidance`
   */
  constructor(root, props, watch, server) {
    this.props = props;
    this.server = server;
    /** @type {HTMLElement} */
    this.root = root.querySelector(".pw-explore");
    this.translate = translator(props.texts);
    this.runTranslate = translator(props.run_texts);
    this.key = null;
    this.answer = null;
    this.requests = 0;
    this.isFirst = true;
    this.selection = { layer: 0, head: 0, step: 0, word: 0, x: 0.5, y: 0.5 };
    this.receive();
    watch("value", () => this.receive());
    onLanguageChange(() => this.receive());
  }

  receive() {
    const message = this.props.value;
    this.message = message;
    if (message?.state !== "ready") {
      const text = this.#emptyText(message);
      this.root.replaceChildren(element("p", { class: "pw-empty-note", role: "status" }, text));
      this.key = null;
      publish("attention", null);
      return;
    }
    if (this.key !== message.key) this.#begin(message);
    this.drawing = new AttentionDrawing(message, this.translate, {
      onChange: (changes) => this.change(changes),
      onPoint: (x, y) => this.point(x, y),
      onMove: (columns, rows) => this.move(columns, rows),
      request: (name, query) => this.server[name]({ key: message.key, ...query }),
    });
    this.root.replaceChildren(...this.drawing.elements);
    if (this.answer) this.#draw();
    else this.request();
  }

  #emptyText(message) {
    if (message?.state === "failed") return message.error[currentLanguage()];
    if (message?.state !== "running") return this.translate("inside_empty");
    const run = { ...message, progress: message.progress && { ...message.progress, images: 1 } };
    return `${this.translate("inside_making")} ${runText(run, this.runTranslate)}`;
  }

  // The first selection: the finest layer, a step in the middle, the most weighted word, the middle patch.
  #begin({ key, about }) {
    this.key = key;
    this.answer = null;
    this.isFirst = true;
    const cells = about.layers.map(({ rows, columns }) => rows * columns);
    const step = about.fixed_step ?? about.steps[Math.floor(about.steps.length / 2)];
    const words = this.words(step)
      .map((word, index) => ({ ...word, index }))
      .filter((word) => !word.punctuation)
      .sort((a, b) => Math.abs(b.weight - 1) - Math.abs(a.weight - 1) || b.text.length - a.text.length);
    const layer = cells.lastIndexOf(Math.max(...cells));
    this.selection = { layer, head: 0, step, word: words[0]?.index ?? 0, x: 0.5, y: 0.5 };
  }

  get layer() {
    return this.message.about.layers[this.selection.layer];
  }

  /** The words of the text at a step: a prompt may change during sampling. */
  words(step = this.selection.step) {
    const { texts, text_at_step } = this.message.about;
    return texts[text_at_step[step]].words;
  }

  get patch() {
    const { rows, columns } = this.layer;
    const row = Math.min(rows - 1, Math.floor(this.selection.y * rows));
    return row * columns + Math.min(columns - 1, Math.floor(this.selection.x * columns));
  }

  async request() {
    const { selection, drawing } = this;
    if (!this.words().length) {
      drawing.drawSelection(selection);
      drawing.showError("no_words");
      return;
    }
    selection.head = Math.min(selection.head, this.layer.heads - 1);
    const { layer, head, step, word } = selection;
    const request = ++this.requests;
    const query = { key: this.key, layer, head, step, word, patch: this.patch };
    const values = await this.server.values(query).catch(() => ({ error: "offline" }));
    if (request !== this.requests) return;
    if (values.error) {
      this.drawing.showError(values.error);
      return;
    }
    if (this.isFirst) {
      this.isFirst = false;
      this.#selectHighest(values);
      await this.request();
      return;
    }
    this.answer = { selection: { ...selection }, values, patch: query.patch };
    this.#draw();
  }

  #draw() {
    const { selection, values, patch } = this.answer;
    this.drawing.showError(null);
    this.drawing.draw(selection, values, patch);
    const { steps, about } = this.message;
    publish("attention", {
      values,
      selection,
      steps,
      word: this.words(selection.step)[selection.word].text,
      keys: values.table.reduce((sum, { count }) => sum + (count ?? 1), 0),
      layer: about.layers[selection.layer],
      scale: about.guidance_scale,
      isFixed: about.fixed_step !== undefined,
    });
  }

  // The view begins at the head and the patch with the most attention to the word.
  #selectHighest({ heads, map }) {
    const { selection, layer } = this;
    selection.head = heads.length ? indexOfHighest(heads.map((each) => each.top)) : 0;
    const best = indexOfHighest([...decodeBytes((heads[selection.head] ?? map).values)]);
    selection.x = ((best % layer.columns) + 0.5) / layer.columns;
    selection.y = (Math.floor(best / layer.columns) + 0.5) / layer.rows;
  }

  change(changes) {
    const before = this.words()[this.selection.word]?.text;
    Object.assign(this.selection, changes);
    const words = this.words();
    if ("step" in changes && words[this.selection.word]?.text !== before) {
      const same = words.findIndex(({ text }) => text === before);
      this.selection.word = Math.max(0, same >= 0 ? same : words.findIndex((word) => !word.punctuation));
    }
    this.request();
  }

  /** Select the patch at a point, x and y in 0..1. */
  point(x, y) {
    const before = this.patch;
    const clamp = (value) => Math.min(0.9999, Math.max(0, value));
    Object.assign(this.selection, { x: clamp(x), y: clamp(y) });
    this.isFirst = false;
    if (this.patch !== before) this.request();
  }

  /** Select the patch some columns to the right and some rows below. */
  move(columns, rows) {
    const step = (value, cells, by) => (Math.min(cells - 1, Math.max(0, Math.floor(value * cells) + by)) + 0.5) / cells;
    const { x, y } = this.selection;
    this.change({ x: step(x, this.layer.columns, columns), y: step(y, this.layer.rows, rows) });
  }
}
