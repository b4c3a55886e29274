// Prompt boxes: weights highlighted in place, diagnostics and token counts below, keys that change weights.
//
// The text area stays the browser's own. Behind it lies a copy of its text whose letters are transparent and
// whose marks are visible. The server parses the prompt, so there is only one grammar.
import { element } from "./elements.js";
import { currentLanguage, onLanguageChange, translator } from "./language.js";

export const WEIGHT_STEP = 0.1;
const PAUSE = 140; // milliseconds without typing before the prompt is parsed
const LOADING_PAUSE = 1500; // milliseconds before token counts are requested again from a model that loads
const boxes = new Map();
const listeners = new Set();
const NOTHING = { spans: [], words: [], diagnostics: [], tokens: null, error: null };

/**
 * Call `listener` with the id of a box whenever its prompt has been parsed.
 * @param {(box: string) => void} listener
 */
export function onPromptParsed(listener) {
  listeners.add(listener);
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
      this.highlight = element("div", { class: "pw-back", "aria-hidden": "true" });
      area.before(this.highlight);
      area.classList.add("pw-area");
      area.spellcheck = false;
      area.addEventListener("input", () => this.textChanged());
      area.addEventListener("scroll", () => this.alignHighlight());
      area.addEventListener("keydown", (event) => this.keyPressed(event));
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
    this.shiftMarks();
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.parse(), PAUSE);
  }

  // Until the server has answered, marks move along with the text after the change.
  shiftMarks() {
    const [before, after] = [this.text, this.area.value];
    const start = commonPrefix(before, after);
    const shift = (place) => (place <= start ? place : Math.max(start, place + after.length - before.length));
    for (const mark of [...this.parsed.spans, ...this.parsed.diagnostics]) {
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

  async parse() {
    if (!this.area) return;
    const text = this.area.value;
    const request = ++this.requests;
    let answer;
    try {
      answer = await this.server.parse({ text, language: currentLanguage(), model: this.props.model });
    } catch {
      answer = { error: this.translate("offline") };
    }
    if (request !== this.requests || text !== this.area.value) return;
    this.text = this.parsedText = text;
    this.parsed = { ...NOTHING, ...answer };
    this.drawMarks();
    this.drawReport();
    for (const listener of listeners) listener(this.props.box);
    if (!answer.error && answer.tokens === null) {
      window.clearTimeout(this.timer);
      this.timer = window.setTimeout(() => this.parse(), LOADING_PAUSE);
    }
  }

  drawMarks() {
    const text = this.area.value;
    const { spans, diagnostics } = this.parsed;
    const edges = new Set([0, text.length]);
    for (const { start, end } of [...spans, ...diagnostics]) edges.add(start).add(end);
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
      return piece;
    });
    this.highlight.replaceChildren(...pieces, "\u200b"); // a final line break needs a letter after it
    this.alignHighlight();
  }

  drawReport() {
    const { diagnostics, tokens, error } = this.parsed;
    const list = diagnostics.map((diagnostic) => {
      const quoted = this.area.value.slice(diagnostic.start, diagnostic.end).slice(0, 24);
      const jump = element("button", {
        type: "button",
        class: `pw-diagnostic pw-${diagnostic.severity}`,
        onclick: () => {
          this.area.focus();
          this.area.setSelectionRange(diagnostic.start, diagnostic.end);
        },
      });
      jump.append(element("b", {}, this.translate(diagnostic.severity)), " ", element("q", {}, quoted), " ", diagnostic.message);
      return element("li", {}, jump);
    });
    const counts = element("div", { class: "pw-counts" });
    if (error) counts.append(element("span", { class: "pw-error" }, error));
    else if (tokens === null) counts.append(element("span", {}, this.translate("loading")));
    for (const each of tokens ?? []) {
      const line = [this.translate("tokens", each)];
      if (tokens.length > 1) line.unshift(`${each.encoder}:`);
      if (each.chunks > 1) line.push(`· ${this.translate("chunks", each)}`);
      counts.append(element("span", { class: "pw-count" }, line.join(" ")));
      if (each.cut) {
        counts.append(element("span", { class: "pw-cut" }, this.translate("cut", { text: each.cut.slice(0, 120) })));
      }
    }
    if (this.area.value) counts.append(element("span", { class: "pw-keys" }, this.translate("keys")));
    const diagnosticList = element("ul", { class: "pw-diagnostics", "aria-live": "polite" }, ...list);
    this.report.querySelector(".pw-prompt-report").replaceChildren(counts, diagnosticList);
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
    const answer = await this.server.adjust_weight({ text, start, end, step, language: currentLanguage() });
    if (answer.error || this.area.value !== text) return;
    this.write(answer.text);
    this.area.setSelectionRange(answer.start, answer.end);
  }

  // Types only the difference into the text area, so that the browser's own undo reverts it.
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

  /** Return a word as the prompt now has it; undefined when the prompt no longer has it. */
  word(text, occurrence) {
    const folded = text.toLowerCase();
    return this.parsed.words.find((word) => word.text.toLowerCase() === folded && word.occurrence === occurrence);
  }

  /** Change the weight of a word at its present place. */
  adjustWordWeight(text, occurrence, step) {
    return this.enqueue(async () => {
      if (this.area.value !== this.text || this.timer) await this.parse();
      const word = this.word(text, occurrence);
      if (!word) return;
      await this.adjustWeight(word.start, word.end, step);
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
  const strength = Math.min(1, Math.abs(Math.log2(Math.max(Math.abs(weight), 0.05))) / 1.2);
  const color = weight < 0 ? "168 85 247" : weight > 1 ? "249 115 22" : "59 130 246";
  return `rgb(${color} / ${(0.18 + 0.5 * strength).toFixed(2)})`;
}

/**
 * Return the prompt box of that id.
 * @param {string} id
 * @returns {PromptBox | undefined}
 */
export const promptBox = (id) => boxes.get(id);

/** Count tokens as that model does, in every box. */
export function countTokensFor(model) {
  for (const box of boxes.values()) {
    box.props.model = model;
    box.parse();
  }
}
