// Chips under the picture: a button for each phrase and each word, with its present weight in the prompt.
import { element } from "./elements.js";
import { formatNumber, formatPercent } from "./language.js";
import { promptBox, weightTint, WEIGHT_STEP } from "./prompt.js";

const WHEEL_STEP = 60; // pixels of scrolling over the chip with the focus that change its weight by one step

/** Return the weight or the target share of a word. */
export function weightText({ weight, share }) {
  return share ? `=${formatPercent(share, 3)}` : formatNumber(Math.round(weight * 100) / 100, 4);
}

function hasSameWeight(one, other) {
  return (one.share ?? null) === (other.share ?? null) && Math.abs(one.weight - other.weight) < 1e-6;
}

export class WordChips {
  /**
   * @param {import("./picture_state.js").PictureState} state
   * @param {string} box the id of the prompt box whose weights the chips change
   * @param {import("./language.js").Translate} translate
   * @param {{onPoint: () => void, onPin: () => void, isFaint: () => boolean}} handlers
   */
  constructor(state, box, translate, handlers) {
    this.state = state;
    this.box = box;
    this.translate = translate;
    this.handlers = handlers;
    this.chips = element("div", { class: "pw-chips", role: "group" });
    this.active = element("div", { class: "pw-active" });
    this.hint = element("span", { class: "pw-hint" });
    this.#makeActive();
    this.names = "";
  }

  /** Make the chips anew where the words are others, and show all weights. */
  update() {
    const { words } = this.state;
    const names = words.map((word) => word.key).join("\n");
    this.chips.setAttribute("aria-label", this.translate("words"));
    if (names !== this.names) {
      this.names = names;
      this.state.forgetMissingWords();
      this.chips.replaceChildren(...words.map((word, index) => this.#chip(word, index)));
    }
    this.updateWeights();
  }

  #chip(word, index) {
    const { key } = word;
    const point = (pointed) => {
      this.state.pointed = pointed;
      this.handlers.onPoint();
    };
    const chip = element(
      "button",
      {
        type: "button",
        class: word.indices.length > 1 ? "pw-chip pw-phrase" : "pw-chip",
        "data-word": key,
        tabIndex: index ? -1 : 0,
        onpointerenter: (event) => event.pointerType !== "touch" && point(key),
        onpointerleave: (event) => event.pointerType !== "touch" && point(null),
        onfocus: () => {
          for (const each of this.chips.querySelectorAll("button")) each.tabIndex = each === chip ? 0 : -1;
          point(key);
        },
        // The focus that moves to the buttons for the weight leaves the word under them.
        onblur: (event) => this.active.contains(event.relatedTarget) || point(null),
        onclick: () => {
          this.state.togglePin(key);
          this.handlers.onPin();
        },
        onkeydown: (event) => this.#keyPressed(event, chip, word),
      },
      element("span", { class: "pw-dot" }),
      element("span", { class: "pw-text" }, word.text),
      element("span", { class: "pw-weight" }),
    );
    let turned = 0;
    const turn = (event) => {
      if (document.activeElement !== chip || event.ctrlKey) return; // the page scrolls
      event.preventDefault();
      turned += event.deltaY;
      if (Math.abs(turned) < WHEEL_STEP) return;
      this.#adjust(word, turned < 0 ? 1 : -1);
      turned = 0;
    };
    chip.addEventListener("wheel", turn, { passive: false });
    return chip;
  }

  #keyPressed(event, chip, word) {
    const step = { "+": 1, "=": 1, "-": -1, "−": -1 }[event.key];
    const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || !(step || move)) return;
    event.preventDefault();
    if (step) this.#adjust(word, step);
    else {
      const chips = /** @type {HTMLElement[]} */ ([...this.chips.children]);
      chips[(chips.indexOf(chip) + move + chips.length) % chips.length].focus();
    }
  }

  #adjust(word, direction) {
    return promptBox(this.box)?.adjustWordWeight(this.#parts(word), direction * WEIGHT_STEP);
  }

  #parts({ indices }) {
    const { words } = this.state.heatMaps;
    return indices.map((index) => words[index]);
  }

  // The word in the prompt as it is now; undefined if the prompt no longer has it.
  #present(word) {
    const box = promptBox(this.box);
    return box ? box.phrase(this.#parts(word)) : word;
  }

  /** Show the weights of the prompt as it is now; the picture may have been generated with others. */
  updateWeights() {
    const { state } = this;
    const { colors } = state;
    let isChanged = false;
    state.words.forEach((word, number) => {
      const chip = /** @type {HTMLElement} */ (this.chips.children[number]);
      if (!chip) return;
      const now = state.isRunning ? word : this.#present(word);
      const present = now ?? word;
      const differs = !hasSameWeight(present, word);
      isChanged ||= differs;
      const isPlain = present.weight === 1 && !present.share;
      const isPinned = state.pinned.includes(word.key);
      const weight = isPlain && !differs ? "" : weightText(present);
      chip.querySelector(".pw-weight").textContent = weight;
      chip.classList.toggle("pw-changed", differs);
      chip.classList.toggle("pw-gone", !now);
      chip.style.setProperty("--tint", isPlain ? "transparent" : weightTint(present.weight, present.share));
      chip.setAttribute("aria-pressed", String(isPinned));
      const dot = /** @type {HTMLElement} */ (chip.querySelector(".pw-dot"));
      dot.style.background = isPinned ? (colors.get(word.key) ?? "") : "";
    });
    this.#updateActive(isChanged);
  }

  // The elements stay the same while the word does, so that no click on them is lost.
  #makeActive() {
    const button = (sign, direction) =>
      element(
        "button",
        {
          type: "button",
          class: "pw-step",
          onclick: () => {
            const word = this.state.activeWord;
            if (word) this.#adjust(word, direction);
          },
          onblur: (event) => {
            const stays = this.active.contains(event.relatedTarget) || this.chips.contains(event.relatedTarget);
            if (stays || !this.state.pointed) return;
            this.state.pointed = null;
            this.handlers.onPoint();
          },
        },
        sign,
      );
    this.word = element("b", {});
    this.less = button("−", -1);
    this.weight = element("output", {});
    this.more = button("+", 1);
    this.mean = element("span", {});
    this.steps = [this.word, this.less, this.weight, this.more, this.mean];
    this.active.replaceChildren(...this.steps, this.hint);
  }

  // The line under the chips: the active word, its weight, and buttons for touch screens.
  #updateActive(isChanged) {
    const { state, translate } = this;
    const word = state.activeWord;
    for (const each of this.steps) each.hidden = !word;
    if (!word) {
      this.hint.textContent = state.words.length ? translate(isChanged ? "changed" : "hint") : "";
      return;
    }
    const now = this.#present(word);
    const present = now ?? word;
    this.word.textContent = word.text;
    this.weight.textContent = weightText(present);
    this.weight.setAttribute("aria-label", translate("weight"));
    this.less.setAttribute("aria-label", translate("less", { word: word.text }));
    this.more.setAttribute("aria-label", translate("more", { word: word.text }));
    this.less.disabled = this.more.disabled = !now;
    const mean = state.hasHeat ? state.heatMaps.mean(state.view, word.indices) : null;
    this.mean.textContent = mean === null ? "" : translate(`mean_${state.unit}`, { value: formatPercent(mean, 2) });
    this.hint.textContent = this.#hintText(word, present, now);
  }

  #hintText(word, present, now) {
    if (!now) return this.translate("gone");
    if (!hasSameWeight(present, word)) return this.translate("was", { weight: weightText(word) });
    return this.handlers.isFaint() ? this.translate("faint") : "";
  }
}
