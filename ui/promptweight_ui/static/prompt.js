// Prompt boxes: weights highlighted in place, diagnostics and token counts below, keys that change weights.
//
// The text area stays the browser's own. Behind it lies a copy of its text whose letters are transparent and
// whose marks are visible. The server parses the prompt, so there is only one grammar.
import { afterPress, element } from "./elements.js";
import { currentLanguage, onLanguageChange, translator } from "./language.js";

export const WEIGHT_STEP = 0.1;
const PAUSE = 140; // milliseconds without typing before the prompt is parsed
const LOADING_PAUSE = 1500; // milliseconds before token counts are requested again from a model that loads
const REMARK_PAUSE = 900; // milliseconds without typing before remarks are listed: a bracket may still be closed
const boxes = new Map();
const listeners = new Set();
const modelListeners = new Set();
const NOTHING = { spans: [], words: [], diagnostics: [], unknown: [], tokens: null, error: null };

/**
 * Call `listener` with the id of a box whenever its prompt has been parsed.
 * @param {(box: string) => void} listener
 */
export function onPromptParsed(listener) {
  listeners.add(listener);
}

/**
 * Call `listener` with the name of the model whenever another one is selected.
 * @param {(model: string) => void} listener
 */
export function onModelChange(listener) {
  modelListeners.add(listener);
}

export class PromptBox {
  /**
   * @param {HTMLElement} report the element for diagnostics and token counts
   * @param {any} props of the Gradio component: `box`, `model`, `texts`
   * @param {any} server `parse` and `adjust_weight`
   */
  constructor(report, props, server) {
    this.report = report;
    this.props = props;
    this.server = server;
    this.parsed = { ...NOTHING };
    this.parsedText = null;
    this.text = "";
    this.requests = 0;
    this.lastChange = Promise.resolve();
    this.timer = 0;
    this.remarkTimer = 0;
    this.hasTyped = false;
    /** The number of characters of the last paste that did not fit. */
    this.cutLength = 0;
    this.drawnRemarks = "";
    this.drawRemarks = this.#drawRemarks.bind(this);
    this.counts = element("div", { class: "pw-counts" });
    this.remarks = element("ul", { class: "pw-diagnostics", "aria-live": "polite" });
    report.querySelector(".pw-prompt-report").replaceChildren(this.counts, this.remarks);
    this.translate = translator(props.texts);
    /** @type {HTMLTextAreaElement | null} */
    this.area = null;
    boxes.set(props.box, this);
    this.findArea();
    onLanguageChange(() => this.parse());
  }

  // Gradio may create the text area after this object, and create it again later.
  findArea() {
    /** @type {HTMLTextAreaElement | null} */
    const area = document.querySelector(`#${CSS.escape(this.props.box)} textarea`);
    if (area && area !== this.area) {
      this.area = area;
      this.highlight = element("div", { class: "pw-back", "aria-hidden": "true", dir: "auto" });
      area.before(this.highlight);
      area.classList.add("pw-area");
      area.spellcheck = false;
      area.addEventListener("input", () => this.textChanged());
      area.addEventListener("scroll", () => this.alignHighlight());
      area.addEventListener("keydown", (event) => this.keyPressed(event));
      area.addEventListener("paste", (event) => this.#pasted(event));
      area.addEventListener("blur", () => afterPress(this.drawRemarks));
      area.dir = "auto";
      new ResizeObserver(() => this.alignHighlight()).observe(area);
      this.text = area.value;
      this.parse();
    }
    if (!this.area?.isConnected) requestAnimationFrame(() => this.findArea());
  }

  alignHighlight() {
    const style = getComputedStyle(this.area);
    const copied = ["font", "letterSpacing", "lineHeight", "padding", "borderWidth", "textAlign", "tabSize"];
    for (const name of copied) this.highlight.style[name] = style[name];
    Object.assign(this.highlight.style, {
      left: `${this.area.offsetLeft}px`,
      top: `${this.area.offsetTop}px`,
      width: `${this.area.clientWidth + this.area.clientLeft * 2}px`,
      height: `${this.area.offsetHeight}px`,
    });
    this.highlight.scrollTop = this.area.scrollTop;
  }

  textChanged() {
    this.hasTyped = true;
    this.shiftMarks();
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.parse(), PAUSE);
  }

  // Until the server has answered, marks move along with the text after the change.
  shiftMarks() {
    const [before, after] = [this.text, this.area.value];
    const start = commonPrefix(before, after);
    const shift = (place) => (place <= start ? place : Math.max(start, place + after.length - before.length));
    const { spans, diagnostics, unknown } = this.parsed;
    for (const mark of [...spans, ...diagnostics, ...unknown]) {
      mark.start = shift(mark.start);
      mark.end = shift(mark.end);
    }
    this.text = after;
    this.drawMarks();
  }

  refresh() {
    if (this.area && this.area.value !== this.text) this.textChanged();
    this.findArea();
  }

  // Gradio resolves a call of a server that is gone with undefined.
  async #ask(name, request) {
    const answer = await this.server[name]({ ...request, language: currentLanguage() }).catch(() => null);
    return answer ?? { error: this.translate("offline") };
  }

  async parse() {
    if (!this.area) return;
    const text = this.area.value;
    const request = ++this.requests;
    const answer = await this.#ask("parse", { text, model: this.props.model });
    if (request !== this.requests || text !== this.area.value) return;
    this.text = this.parsedText = text;
    this.parsed = { ...NOTHING, ...answer };
    this.drawMarks();
    this.drawCounts();
    window.clearTimeout(this.remarkTimer);
    this.remarkTimer = window.setTimeout(() => afterPress(this.drawRemarks), this.hasTyped ? REMARK_PAUSE : 0);
    for (const listener of listeners) listener(this.props.box);
    if (!answer.error && answer.tokens === null) {
      window.clearTimeout(this.timer);
      this.timer = window.setTimeout(() => this.parse(), LOADING_PAUSE);
    }
  }

  drawMarks() {
    const text = this.area.value;
    const { spans, diagnostics, unknown } = this.parsed;
    const edges = new Set([0, text.length]);
    for (const { start, end } of [...spans, ...diagnostics, ...unknown]) edges.add(start).add(end);
    const places = [...edges].filter((place) => place <= text.length).sort((one, other) => one - other);
    const pieces = places.slice(0, -1).map((start, index) => {
      const end = places[index + 1];
      const covers = (mark) => mark.start <= start && end <= mark.end;
      const span = spans.find(covers);
      const diagnostic = diagnostics.find(covers);
      const piece = element("span", {}, text.slice(start, end));
      if (span) {
        piece.className = "pw-weighted";
        piece.style.setProperty("--tint", weightTint(span.weight, span.share));
      }
      if (diagnostic) piece.classList.add("pw-marked", `pw-${diagnostic.severity}`);
      else if (unknown.some(covers)) piece.classList.add("pw-marked", "pw-unknown");
      return piece;
    });
    this.highlight.replaceChildren(...pieces, "\u200b"); // a final line break needs a letter after it
    this.alignHighlight();
  }

  drawCounts() {
    const { tokens, error } = this.parsed;
    const parts = [];
    if (error) parts.push(element("span", { class: "pw-error" }, error));
    else if (tokens === null) parts.push(element("span", {}, this.translate("loading")));
    for (const each of tokens ?? []) {
      const line = [this.translate("tokens", each)];
      if (tokens.length > 1) line.unshift(`${each.encoder}:`);
      if (each.chunks > 1) line.push(`· ${this.translate("chunks", each)}`);
      parts.push(element("span", { class: "pw-count" }, line.join(" ")));
      if (each.cut) {
        parts.push(element("span", { class: "pw-cut" }, this.translate("cut", { text: each.cut.slice(0, 120) })));
      }
    }
    if (this.area.value) parts.push(element("span", { class: "pw-keys" }, this.translate("keys")));
    this.counts.replaceChildren(...parts);
  }

  #drawRemarks() {
    const { diagnostics, unknown } = this.parsed;
    // The elements stay while the remarks do: a click takes the focus from the prompt, which draws them again.
    const drawn = JSON.stringify([diagnostics, unknown, this.cutLength, this.props.model, currentLanguage()]);
    if (drawn === this.drawnRemarks) return;
    this.drawnRemarks = drawn;
    const remarks = diagnostics.map((diagnostic) => {
      const text = [element("b", {}, this.translate(diagnostic.severity)), " ", diagnostic.message];
      return element("li", {}, this.#jump(diagnostic, `pw-diagnostic pw-${diagnostic.severity}`, text));
    });
    if (unknown.length) remarks.push(element("li", { class: "pw-diagnostic pw-info" }, ...this.#unknownText(unknown)));
    if (this.cutLength) {
      const text = this.translate("pasted", { length: this.cutLength });
      remarks.unshift(element("li", { class: "pw-diagnostic pw-error" }, text));
    }
    this.remarks.replaceChildren(...remarks);
  }

  // A button that selects a range of the text.
  #jump({ start, end }, name, children) {
    const onclick = () => {
      this.area.focus();
      this.area.setSelectionRange(start, end);
    };
    return element("button", { type: "button", class: name, onclick }, ...children);
  }

  // The unknown words, each with the nearest known ones, which replace it by a click.
  #unknownText(unknown) {
    const parts = [element("b", {}, this.translate("unknown", { model: this.props.model })), " "];
    unknown.forEach((word, index) => {
      if (index) parts.push(", ");
      parts.push(this.#jump(word, "pw-word", [word.text]));
      const near = word.near.map((text) =>
        element("button", { type: "button", class: "pw-word", onclick: () => this.#replace(word, text) }, `→ ${text}`),
      );
      parts.push(...near.flatMap((button) => [" ", button]));
    });
    return parts;
  }

  #replace({ start, end, text }, other) {
    const { value } = this.area;
    if (value.slice(start, end) === text) this.write(value.slice(0, start) + other + value.slice(end));
  }

  /** Insert a word at the caret, with spaces around it. */
  insert(word) {
    const { value, selectionStart: start, selectionEnd: end } = this.area;
    const before = value.slice(0, start);
    const after = value.slice(end);
    const text = `${before && !/\s$/.test(before) ? " " : ""}${word}${after && !/^[\s,.)]/.test(after) ? " " : ""}`;
    this.write(before + text + after);
    this.area.focus();
    this.area.setSelectionRange(start + text.length, start + text.length);
  }

  // The browser cuts what does not fit without a word.
  #pasted(event) {
    const pasted = event.clipboardData?.getData("text") ?? "";
    const { value, selectionStart: start, selectionEnd: end, maxLength } = this.area;
    const left = maxLength < 0 ? 0 : value.length - (end - start) + pasted.length - maxLength;
    this.cutLength = Math.max(0, left);
  }

  keyPressed(event) {
    const isUp = event.key === "ArrowUp";
    if (!(event.ctrlKey || event.metaKey) || event.altKey || !(isUp || event.key === "ArrowDown")) return;
    event.preventDefault();
    const step = isUp ? WEIGHT_STEP : -WEIGHT_STEP;
    this.enqueue(() => this.adjustWeight(this.area.selectionStart, this.area.selectionEnd, step));
  }

  // Changes run one after the other, each on the text that the one before has written.
  enqueue(change) {
    this.lastChange = this.lastChange.then(change, change);
    return this.lastChange;
  }

  async adjustWeight(start, end, step) {
    const text = this.area.value;
    const answer = await this.#ask("adjust_weight", { text, start, end, step });
    if (answer.error || this.area.value !== text) return;
    this.write(answer.text);
    this.area.setSelectionRange(answer.start, answer.end);
  }

  /** Put another text in place of the prompt; only the difference is typed, so that the browser's undo reverts it. */
  write(text) {
    const before = this.area.value;
    if (text === before) return;
    const start = commonPrefix(before, text);
    const limit = Math.min(before.length, text.length) - start;
    let tail = 0;
    while (tail < limit && before[before.length - 1 - tail] === text[text.length - 1 - tail]) tail++;
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    this.area.focus({ preventScroll: true });
    this.area.setSelectionRange(start, before.length - tail);
    const typed = text.slice(start, text.length - tail);
    document.execCommand(typed ? "insertText" : "delete", false, typed);
    if (focused && focused !== this.area) focused.focus({ preventScroll: true });
  }

  /**
   * Return some neighboring words as the prompt now has them: their range, and the weight of the first;
   * undefined when the prompt no longer has them.
   * @param {{text: string, occurrence: number}[]} words
   */
  phrase(words) {
    const found = words.map(({ text, occurrence }) => {
      const folded = text.toLowerCase();
      return this.parsed.words.find((word) => word.text.toLowerCase() === folded && word.occurrence === occurrence);
    });
    return found.every(Boolean) ? { ...found[0], end: found.at(-1).end } : undefined;
  }

  /** Change the weight of neighboring words at their present place. */
  adjustWordWeight(words, step) {
    return this.enqueue(async () => {
      if (this.area.value !== this.text || this.timer) await this.parse();
      const found = this.phrase(words);
      if (!found) return;
      await this.adjustWeight(found.start, found.end, step);
      await this.parse();
    });
  }
}

function commonPrefix(one, other) {
  const limit = Math.min(one.length, other.length);
  let same = 0;
  while (same < limit && one[same] === other[same]) same++;
  return same;
}

/**
 * Return the background of a weighted word: orange above 1, blue below, purple under 0, stronger further away
 * from 1. A word with a target share is green: its weight is not known before the run.
 */
export function weightTint(weight, share) {
  if (share) return "rgb(20 184 166 / 0.42)";
  const distance = weight > 0 ? Math.abs(Math.log2(Math.max(weight, 0.05))) / 1.2 : 1; // none is further than 0
  const strength = Math.min(1, distance);
  const color = weight < 0 ? "168 85 247" : weight > 1 ? "249 115 22" : "59 130 246";
  return `rgb(${color} / ${(0.18 + 0.5 * strength).toFixed(2)})`;
}

/**
 * Return the prompt box of that id.
 * @param {string} id
 * @returns {PromptBox | undefined}
 */
export const promptBox = (id) => boxes.get(id);

/** Take the tokens and the known words of that model in every box. */
export function selectModel(model) {
  for (const box of boxes.values()) {
    box.props.model = model;
    box.parse();
  }
  for (const listener of modelListeners) listener(model);
}
