// Token vectors of the Explore tab: embedding, position and sum of a token, and how similar the words are.
import { element, replaceKeepingFocus } from "./elements.js";
import { publish } from "./explored.js";
import { currentLanguage, formatFixed, onLanguageChange, translator } from "./language.js";
import { runText } from "./run_status.js";
import { colorCell } from "./text_matrix.js";
import { largest, vector } from "./vector_strip.js";

const STAGES = ["embedding", "sum", "output"];

export class TokenVectors {
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
    this.message = null;
    this.status = null;
    this.answer = null;
    this.error = null;
    this.selection = { chunk: 0, token: 0, stage: STAGES[0] };
    this.receive();
    watch("value", () => this.receive());
    onLanguageChange(() => this.draw());
  }

  receive() {
    const { value } = this.props;
    this.status = value && value.state !== "ready" ? value : null;
    if (!this.status && value) {
      this.message = value;
      this.answer = null;
      const labels = value.about.chunks[0];
      const first = labels.findIndex(({ kind }) => kind === "text");
      this.selection = { chunk: 0, token: Math.max(0, first), stage: STAGES[0] };
      this.request();
    }
    this.draw();
  }

  async request() {
    const { key } = this.message;
    const selection = { ...this.selection };
    const answer = await this.server.values({ key, ...selection }).catch(() => ({ error: "offline" }));
    const isCurrent = Object.keys(selection).every((name) => selection[name] === this.selection[name]);
    if (key !== this.message.key || !isCurrent) return;
    this.error = answer.error ?? null;
    if (!answer.error) this.answer = { ...answer, selection };
    this.draw();
  }

  #select(changes) {
    Object.assign(this.selection, changes);
    this.request();
  }

  draw() {
    const status = this.status && (this.status.error?.[currentLanguage()] ?? runText(this.status, this.runTranslate));
    if (!this.message) {
      const note = element("p", { class: "pw-empty-note", role: "status" }, status ?? this.translate("vectors_empty"));
      this.root.replaceChildren(note);
      return;
    }
    const text = this.status?.state === "failed" ? status : this.error && this.translate(this.error);
    const errors = text ? [element("p", { class: "pw-error", role: "status" }, text)] : [];
    const { dimensions } = this.message.about.vectors;
    const parts = [element("p", {}, this.translate("vectors_text", { d: dimensions })), ...this.#chunkPicker(), this.#tokens()];
    if (this.answer) parts.push(this.#strips(), this.#similarity());
    replaceKeepingFocus(this.root, [...errors, ...parts]);
    const { answer } = this;
    publish("vectors", answer && { answer, names: this.#names(answer.selection.chunk), d: dimensions });
  }

  #names(chunk) {
    return this.message.about.chunks[chunk].map(({ kind, text }) => (kind === "text" ? text : this.translate(`token_${kind}`)));
  }

  #chunkPicker() {
    const number = this.message.about.chunks.length;
    if (number < 2) return [];
    const options = Array.from({ length: number }, (_, index) => [String(index), this.translate("of", { index: index + 1, number })]);
    const act = (value) => this.#select({ chunk: Number(value), token: 0 });
    return [this.#picker("chunk", this.translate("chunk"), options, String(this.selection.chunk), act)];
  }

  #picker(name, label, options, value, act) {
    const entries = options.map(([each, text]) => element("option", { value: each }, text));
    const select = element("select", { name: `vectors-${name}`, onchange: () => act(select.value) }, ...entries);
    select.value = value;
    return element("div", { class: "pw-pickers" }, element("label", {}, label, select));
  }

  #tokens() {
    const { chunk, token } = this.selection;
    const ids = this.message.about.vectors.ids[chunk];
    const chips = this.#names(chunk).map((name, index) =>
      element(
        "button",
        {
          type: "button",
          class: "pw-chip pw-token",
          name: `token-${index}`,
          "aria-pressed": String(index === token),
          onclick: () => this.#select({ token: index }),
        },
        element("span", {}, name, element("small", {}, ids[index])),
      ),
    );
    return element("div", { class: "pw-chips", role: "group", "aria-label": this.translate("vectors_tokens") }, ...chips);
  }

  #strips() {
    const { embedding, position, sum, selection } = this.answer;
    const { dimensions, ids } = this.message.about.vectors;
    const { chunk, token } = selection;
    const highest = largest(embedding, position ?? [], sum);
    const lines = [["embedding", embedding], ...(position ? [["position", position], ["sum", sum]] : [])];
    const values = { id: ids[chunk][token], position: token };
    const strips = lines.map(([name, numbers]) => vector(this.translate(`vectors_${name}`, values), numbers, highest));
    return element(
      "section",
      { class: "pw-strips" },
      element("h4", {}, this.translate("vectors_title", { token: this.#names(chunk)[token] })),
      ...strips,
      element("p", { class: "pw-hint" }, this.translate("vectors_first", { shown: embedding.length, d: dimensions })),
      element("p", {}, this.translate(position ? "vectors_order" : "vectors_no_order")),
    );
  }

  #similarity() {
    const { similarity, selection } = this.answer;
    const words = this.message.about.vectors.words[selection.chunk];
    if (words.length < 2) return element("p", { hidden: true });
    const stages = this.message.about.vectors.positions ? STAGES : STAGES.filter((stage) => stage !== "sum");
    const options = stages.map((stage) => [stage, this.translate(`cosine_${stage}`)]);
    const readout = element("p", { class: "pw-readout", "aria-live": "polite" }, this.translate(`cosine_text_${selection.stage}`));
    const table = element("table", { class: "pw-matrix" }, element("caption", {}, this.translate("cosine_caption")));
    const head = words.map((word) => element("th", { scope: "col", title: word }, element("span", {}, word)));
    table.append(element("tr", {}, element("td", {}), ...head));
    words.forEach((one, row) => {
      const cells = words.map((other, column) => {
        const value = similarity[row][column];
        const text = formatFixed(Math.round(100 * value) / 100 || 0, 2).replace("-", "−"); // no −0
        const show = () => (readout.textContent = this.translate("cosine_cell", { one, other, value: text }));
        const cell = element("td", { tabIndex: 0, onpointerenter: show, onfocus: show }, text);
        colorCell(cell, Math.max(0, value));
        return cell;
      });
      table.append(element("tr", {}, element("th", { scope: "row", title: one }, one), ...cells));
    });
    const act = (stage) => this.#select({ stage });
    const picker = this.#picker("stage", this.translate("cosine_stage"), options, this.selection.stage, act);
    return element(
      "section",
      { class: "pw-explain pw-cosine" },
      element("h4", {}, this.translate("cosine_title")),
      picker,
      element("div", { class: "pw-scroll" }, table),
      readout,
    );
  }
}
