// The chips above the picture: a word each, with the weight that the prompt gives it now.
"use strict";
window.promptweight ??= {};

promptweight.pictureParts ??= {};
promptweight.pictureParts.words = (() => {
  const { element: make, heat } = promptweight;
  const shownWeight = (weight) => String(Math.round(weight * 100) / 100);
  const shownShare = (share) => `=${Math.round(share * 1000) / 10}%`;
  const shown = ({ weight, share }) => (share ? shownShare(share) : shownWeight(weight));
  const isSame = (one, other) => (one.share ?? null) === (other.share ?? null) && Math.abs(one.weight - other.weight) < 1e-6;

  return (Base) => class extends Base {
    // What a word is called while the picture is made anew.
    same(word) {
      return `${word.text}#${word.occurrence}`;
    }

    words() {
      return (this.heat?.words ?? []).map((word, index) => ({ ...word, index })).filter((word) => !word.punctuation);
    }

    tellChips() {
      const words = this.words();
      const names = words.map((word) => this.same(word)).join("\n");
      this.chips.setAttribute("aria-label", this.say("words"));
      if (names !== this.chipNames) {
        this.chipNames = names;
        this.pinned = this.pinned.filter((key) => words.some((word) => this.same(word) === key));
        this.pointed = words.some((word) => this.same(word) === this.pointed) ? this.pointed : null;
        this.chips.replaceChildren(...words.map((word) => this.chip(word)));
      }
      this.tellWeights();
    }

    chip(word) {
      const key = this.same(word);
      const chip = make("button", { type: "button", class: "pw-chip" });
      chip.dataset.word = key;
      chip.append(make("span", { class: "pw-dot" }), make("span", { class: "pw-text" }, word.text));
      chip.append(make("span", { class: "pw-weight" }));
      const point = (key) => {
        this.pointed = key;
        this.tellWeights();
        this.paint();
      };
      chip.addEventListener("pointerenter", (event) => event.pointerType !== "touch" && point(key));
      chip.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && point(null));
      chip.addEventListener("focus", () => point(key));
      chip.addEventListener("blur", () => point(null));
      chip.addEventListener("click", () => {
        const place = this.pinned.indexOf(key);
        if (place < 0) this.pinned.push(key);
        else this.pinned.splice(place, 1);
        this.last = key;
        this.tellWeights();
        this.tellControls();
        this.paint();
      });
      chip.addEventListener(
        "wheel",
        (event) => {
          event.preventDefault();
          this.nudge(word, event.deltaY < 0 ? 1 : -1);
        },
        { passive: false },
      );
      chip.addEventListener("keydown", (event) => {
        const step = { "+": 1, "=": 1, "-": -1, "−": -1 }[event.key];
        const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (step && !event.ctrlKey && !event.metaKey) {
          event.preventDefault();
          this.nudge(word, step);
        } else if (move) {
          event.preventDefault();
          const chips = [...this.chips.children];
          chips[(chips.indexOf(chip) + move + chips.length) % chips.length].focus();
        }
      });
      return chip;
    }

    nudge(word, direction) {
      const { prompt } = promptweight;
      return prompt.box(this.props.box)?.nudgeWord(word.text, word.occurrence, direction * prompt.STEP);
    }

    // Chips show the weights that the prompt has now; the picture may have been made with others.
    tellWeights() {
      const box = promptweight.prompt.box(this.props.box);
      const colors = this.paintedColors();
      let changed = false;
      this.words().forEach((word, number) => {
        const chip = this.chips.children[number];
        if (!chip) return;
        const now = this.message?.state === "running" ? word : box?.word(word.text, word.occurrence);
        const present = now ?? word;
        const differs = !isSame(present, word);
        changed ||= differs;
        const isPlain = present.weight === 1 && !present.share;
        chip.querySelector(".pw-weight").textContent = isPlain && !differs ? "" : shown(present);
        chip.classList.toggle("pw-changed", differs);
        chip.classList.toggle("pw-gone", Boolean(box) && !now);
        const tint = isPlain ? "transparent" : promptweight.prompt.tint(present.weight, present.share);
        chip.style.setProperty("--tint", tint);
        const pinned = this.pinned.includes(this.same(word));
        chip.setAttribute("aria-pressed", String(pinned));
        chip.setAttribute("aria-label", this.say("word", { word: word.text, weight: shown(present) }));
        chip.querySelector(".pw-dot").style.background = pinned ? (colors.get(this.same(word)) ?? "") : "";
      });
      this.tellActive(changed);
    }

    // The line under the chips: the word that one looks at, its weight, and buttons for fingers.
    tellActive(changed) {
      const box = promptweight.prompt.box(this.props.box);
      const words = this.words();
      const key = this.pointed ?? (this.pinned.includes(this.last) ? this.last : this.pinned.at(-1));
      const word = words.find((each) => this.same(each) === key);
      if (!word) {
        const hint = changed ? "changed" : "hint";
        this.active.replaceChildren(words.length ? make("span", { class: "pw-hint" }, this.say(hint)) : "");
        return;
      }
      const now = box?.word(word.text, word.occurrence);
      const button = (name, sign, direction) =>
        make(
          "button",
          {
            type: "button",
            class: "pw-step",
            "aria-label": this.say(name, { word: word.text }),
            disabled: Boolean(box) && !now,
            onclick: () => this.nudge(word, direction),
          },
          sign,
        );
      const present = now ?? word;
      const parts = [
        make("b", {}, word.text),
        button("less", "−", -1),
        make("output", { "aria-label": this.say("weight") }, shown(present)),
        button("more", "+", 1),
        make("span", {}, this.say("mean", { value: heat.short(this.heat.mean(this.view(), [word.index])) })),
      ];
      if (box && !now) parts.push(make("span", { class: "pw-hint" }, this.say("gone")));
      else if (!isSame(present, word)) {
        parts.push(make("span", { class: "pw-hint" }, this.say("was", { weight: shown(word) })));
      }
      this.active.replaceChildren(...parts);
    }
  };
})();
