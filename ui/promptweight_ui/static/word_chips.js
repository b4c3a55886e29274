// Word chips above the picture: one button per word, with its present weight in the prompt.
import { element } from "./elements.js";
import { formatNumber } from "./language.js";
import { wordKey } from "./picture_state.js";
import { promptBox, weightTint, WEIGHT_STEP } from "./prompt.js";

/** Return the weight or the target share of a word as the prompt writes it. */
export function weightText({ weight, share }) {
  return share ? `=${Math.round(share * 1000) / 10}%` : String(Math.round(weight * 100) / 100);
}

function hasSameWeight(one, other) {
  return (one.share ?? null) === (other.share ?? null) && Math.abs(one.weight - other.weight) < 1e-6;
}

export class WordChips {
  /**
   * @param {import("./picture_state.js").PictureState} state
   * @param {string} box the id of the prompt box whose weights the chips change
   * @param {import("./language.js").Translate} translate
   * @param {{onPoint: () => void, onPin: () => void}} handlers
   */
  constructor(state, box, translate, handlers) {
    this.state = state;
    this.box = box;
    this.translate = translate;
    this.handlers = handlers;
    this.chips = element("div", { class: "pw-chips", role: "group" });
    this.active = element("div", { class: "pw-active" });
    this.names = "";
  }

  /** Make the chips anew where the words are others, and show all weights. */
  update() {
    const words = this.state.words;
    const names = words.map(wordKey).join("\n");
    this.chips.setAttribute("aria-label", this.translate("words"));
    if (names !== this.names) {
      this.names = names;
      this.state.forgetMissingWords();
      this.chips.replaceChildren(...words.map((word) => this.#chip(word)));
    }
    this.updateWeights();
  }

  #chip(word) {
    const key = wordKey(word);
    const point = (pointed) => {
      this.state.pointed = pointed;
      this.handlers.onPoint();
    };
    const chip = element(
      "button",
      {
        type: "button",
        class: "pw-chip",
        "data-word": key,
        onpointerenter: (event) => event.pointerType !== "touch" && point(key),
        onpointerleave: (event) => event.pointerType !== "touch" && point(null),
        onfocus: () => point(key),
        onblur: () => point(null),
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
    const turn = (event) => {
      event.preventDefault();
      this.#adjust(word, event.deltaY < 0 ? 1 : -1);
    };
    chip.addEventListener("wheel", turn, { passive: false });
    return chip;
  }

  #keyPressed(event, chip, word) {
    const step = { "+": 1, "=": 1, "-": -1, "−": -1 }[event.key];
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      this.#adjust(word, step);
    } else if (move) {
      event.preventDefault();
      const chips = /** @type {HTMLElement[]} */ ([...this.chips.children]);
      chips[(chips.indexOf(chip) + move + chips.length) % chips.length].focus();
    }
  }

  #adjust(word, direction) {
    return promptBox(this.box)?.adjustWordWeight(word.text, word.occurrence, direction * WEIGHT_STEP);
  }

  /** Show the weights of the prompt as it is now; the picture may have been generated with others. */
  updateWeights() {
    const box = promptBox(this.box);
    const colors = this.state.colors;
    let isChanged = false;
    this.state.words.forEach((word, number) => {
      const chip = /** @type {HTMLElement} */ (this.chips.children[number]);
      if (!chip) return;
      const now = this.state.isRunning ? word : box?.word(word.text, word.occurrence);
      const present = now ?? word;
      const differs = !hasSameWeight(present, word);
      isChanged ||= differs;
      const isPlain = present.weight === 1 && !present.share;
      const isPinned = this.state.pinned.includes(wordKey(word));
      chip.querySelector(".pw-weight").textContent = isPlain && !differs ? "" : weightText(present);
      chip.classList.toggle("pw-changed", differs);
      chip.classList.toggle("pw-gone", Boolean(box) && !now);
      chip.style.setProperty("--tint", isPlain ? "transparent" : weightTint(present.weight, present.share));
      chip.setAttribute("aria-pressed", String(isPinned));
      chip.setAttribute("aria-label", this.translate("word", { word: word.text, weight: weightText(present) }));
      const dot = /** @type {HTMLElement} */ (chip.querySelector(".pw-dot"));
      dot.style.background = isPinned ? (colors.get(wordKey(word)) ?? "") : "";
    });
    this.#updateActive(box, isChanged);
  }

  // The line under the chips: the active word, its weight, and buttons for touch screens.
  #updateActive(box, isChanged) {
    const word = this.state.activeWord;
    if (!word) {
      const hint = isChanged ? "changed" : "hint";
      const children = this.state.words.length ? [element("span", { class: "pw-hint" }, this.translate(hint))] : [];
      this.active.replaceChildren(...children);
      return;
    }
    const now = box?.word(word.text, word.occurrence);
    const present = now ?? word;
    const button = (name, sign, direction) =>
      element(
        "button",
        {
          type: "button",
          class: "pw-step",
          "aria-label": this.translate(name, { word: word.text }),
          disabled: Boolean(box) && !now,
          onclick: () => this.#adjust(word, direction),
        },
        sign,
      );
    const mean = formatNumber(this.state.heatMaps.mean(this.state.view, [word.index]), 2);
    const parts = [
      element("b", {}, word.text),
      button("less", "−", -1),
      element("output", { "aria-label": this.translate("weight") }, weightText(present)),
      button("more", "+", 1),
      element("span", {}, this.translate("mean", { value: mean })),
    ];
    if (box && !now) parts.push(element("span", { class: "pw-hint" }, this.translate("gone")));
    else if (!hasSameWeight(present, word)) {
      parts.push(element("span", { class: "pw-hint" }, this.translate("was", { weight: weightText(word) })));
    }
    this.active.replaceChildren(...parts);
  }
}
