// Tour through the Explore tab: a card at the edge of the window, beside the section that it names.
import { readStored, writeStored } from "./browser_storage.js";
import { element, pressButton, replaceKeepingFocus } from "./elements.js";
import { explored, onExplored } from "./explored.js";
import { formatFixed, formatNumber, onLanguageChange, translator } from "./language.js";
import { notebookNote } from "./notebooks.js";
import { formatShare, formatSigned } from "./softmax_table.js";
import { CARDS, liveValues, restoredProgress, rightGuesses, storedProgress } from "./tour_cards.js";

const STORED = "promptweight.tour";
const HERE = "pw-tour-here";
const SECTIONS = { vectors: "#explore-vectors", text: "#explore-text", attention: "#explore-inside" };
/** Buttons of the tab that fill a section. */
const BUTTONS = { vectors: "explore-encode", text: "explore-encode", attention: "explore-go" };

export class ExploreTour {
  /**
   * @param {HTMLElement} root
   * @param {any} props of the Gradio component: `texts`, and `notebook_texts` with the titles of the notebooks
   */
  constructor(root, props) {
    this.translate = translator(props.texts);
    this.notebookTranslate = translator(props.notebook_texts);
    this.progress = restoredProgress(readStored("localStorage", STORED));
    this.start = element("button", { type: "button", class: "pw-button pw-tour-start", onclick: () => this.open() });
    this.dialog = element("section", {
      class: "pw-tour",
      role: "dialog",
      "aria-labelledby": "pw-tour-title",
      tabIndex: -1,
      hidden: true,
    });
    this.parts = { head: element("div", {}), guess: element("div", {}), answer: element("div", { role: "status" }), foot: element("footer", {}) };
    this.dialog.append(...Object.values(this.parts));
    root.querySelector(".pw-explore").replaceChildren(this.start, this.dialog);
    document.addEventListener("keydown", (event) => this.#press(event));
    onLanguageChange(() => this.draw());
    onExplored(() => this.#refresh());
    this.draw();
  }

  get card() {
    return CARDS[this.progress.card];
  }

  get isOpen() {
    return !this.dialog.hidden;
  }

  open() {
    this.dialog.hidden = false;
    this.#show(this.progress.card);
  }

  close() {
    this.dialog.hidden = true;
    this.#mark();
    this.draw();
    this.start.focus();
  }

  // Shows a card, with the focus on it, so that a screen reader begins with its title.
  #show(card) {
    this.progress.card = card;
    this.#store();
    this.draw();
    this.dialog.scrollTop = 0;
    this.dialog.focus({ preventScroll: true });
    const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#mark()?.scrollIntoView({ block: "start", behavior: isStill ? "auto" : "smooth" });
  }

  #guess(choice) {
    this.progress.guesses[this.card.name] = choice;
    this.#store();
    this.draw();
    this.dialog.scrollTop = this.dialog.scrollHeight; // on a phone the answer is below the card's edge
  }

  #again() {
    this.progress.guesses = {};
    this.#show(0);
  }

  #store() {
    writeStored("localStorage", STORED, storedProgress(this.progress));
  }

  #press(event) {
    if (event.key !== "Escape" || !this.isOpen || !this.dialog.checkVisibility()) return;
    event.preventDefault();
    this.close();
  }

  // Other numbers are on the page: the section may be new, and the answer names them.
  #refresh() {
    if (!this.isOpen) return;
    this.#mark();
    this.#drawAnswer();
  }

  // Frames the section of the card, or the component in which it will be, and returns it.
  #mark() {
    for (const old of document.querySelectorAll(`.${HERE}`)) old.classList.remove(HERE);
    if (!this.isOpen) return null;
    const target = document.querySelector(this.card.target) ?? document.querySelector(SECTIONS[this.card.part]);
    target?.classList.add(HERE);
    return target;
  }

  draw() {
    const { translate, card, progress } = this;
    const number = { index: progress.card + 1, number: CARDS.length };
    const isBegun = progress.card > 0 || Object.keys(progress.guesses).length > 0;
    this.start.textContent = translate(isBegun ? "continue" : "start", number);
    if (!this.isOpen) return;
    const close = element("button", { type: "button", name: "tour-close", class: "pw-button", onclick: () => this.close() }, translate("close"));
    replaceKeepingFocus(this.parts.head, [
      element("header", {}, element("small", {}, translate("number", number)), close),
      element("h3", { id: "pw-tour-title" }, translate(`${card.name}_title`)),
      element("p", {}, translate(`${card.name}_text`)),
    ]);
    this.#drawGuess();
    this.#drawAnswer();
    this.#drawFoot();
  }

  #drawGuess() {
    const { translate, card } = this;
    const guess = this.progress.guesses[card.name];
    const choices = Array.from({ length: card.choices }, (_, index) => {
      const isAnswered = guess !== undefined;
      const sign = !isAnswered ? "" : index === card.right ? "✓ " : index === guess ? "✗ " : "";
      const properties = {
        type: "button",
        name: `tour-choice-${index}`,
        class: "pw-button",
        "aria-pressed": String(index === guess),
        onclick: () => !isAnswered && this.#guess(index),
        ...(isAnswered && { "aria-disabled": "true" }),
      };
      return element("button", properties, `${sign}${translate(`${card.name}_choice_${index + 1}`)}`);
    });
    const question = element("p", { id: "pw-tour-question" }, translate(`${card.name}_question`));
    const group = element("div", { class: "pw-tour-choices", role: "group", "aria-labelledby": question.id }, ...choices);
    replaceKeepingFocus(this.parts.guess, [question, group]);
  }

  #drawAnswer() {
    const { translate, card } = this;
    const guess = this.progress.guesses[card.name];
    if (guess === undefined) {
      this.parts.answer.replaceChildren();
      return;
    }
    const live = liveValues(card, explored());
    const verdict = element("strong", {}, translate(guess === card.right ? "right" : "wrong"));
    const parts = [element("p", {}, verdict, ` ${translate(`${card.name}_answer`)}`)];
    if (live) parts.push(element("p", { class: "pw-readout" }, translate(String(live.key ?? `${card.name}_live`), written(live))));
    else if (!explored()[card.part]) parts.push(this.#fill());
    if (card.notebook) parts.push(notebookNote(card.notebook, this.notebookTranslate));
    replaceKeepingFocus(this.parts.answer, parts);
  }

  // A button that fills the section of the card.
  #fill() {
    const { part } = this.card;
    const act = () => {
      pressButton(BUTTONS[part]);
      document.querySelector(SECTIONS[part]).scrollIntoView({ block: "start" });
    };
    const text = this.translate(part === "attention" ? "explore" : "encode");
    return element("button", { type: "button", name: "tour-fill", class: "pw-button", onclick: act }, text);
  }

  #drawFoot() {
    const { translate, progress } = this;
    const button = (name, act, more = {}) =>
      element("button", { type: "button", name: `tour-${name}`, class: "pw-button", onclick: act, ...more }, translate(name));
    const isLast = progress.card === CARDS.length - 1;
    const next = isLast ? button("again", () => this.#again()) : button("next", () => this.#show(progress.card + 1));
    const back = button("back", () => this.#show(progress.card - 1), { disabled: progress.card === 0 });
    const score = element("small", {}, translate("score", { right: rightGuesses(progress), number: CARDS.length }));
    replaceKeepingFocus(this.parts.foot, [back, ...(isLast ? [score] : []), next]);
  }
}

/** Return values as a text takes them, written as their names say. */
function written(live) {
  const write = (name, value) => {
    if (Array.isArray(value)) return value.map((each) => (typeof each === "number" ? formatShare(each) : each)).join(", ");
    if (typeof value !== "number") return value;
    if (name.startsWith("share")) return formatShare(value);
    if (name.startsWith("signed")) return formatSigned(value);
    if (name === "root") return formatFixed(value, 2);
    return formatNumber(value, Number.isInteger(value) ? 12 : 3);
  };
  return Object.fromEntries(Object.entries(live).map(([name, value]) => [name, write(name, value)]));
}
