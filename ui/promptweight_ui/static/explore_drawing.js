// Explore, second part: what is drawn anew with every answer of the server.
"use strict";
window.promptweight ??= {};
promptweight.explore ??= {};

promptweight.explore.draws = (() => {
  const { element: make, heat } = promptweight;
  const { percent } = promptweight.explore.numbers;

  return (Base) => class extends Base {
    draw() {
      const { view, layer } = this;
      const word = this.words()[this.set.word]?.text ?? "";
      this.drawControls();
      this.drawWords();
      this.where.title.textContent = this.say("where_title", { word });
      this.where.caption.textContent = this.say("where_text", { most: percent(view.map.top), mean: percent(view.map.mean) });
      this.where.canvas.setAttribute("aria-label", this.say("where_title", { word }));
      this.paint(this.where.canvas, view.map, layer, 0.9);
      this.looks.title.textContent = this.say("looks_title");
      this.looks.canvas.setAttribute("aria-label", this.say("looks_title"));
      this.looks.box.hidden = !view.image;
      if (view.image) {
        const text = layer.joint ? this.say("looks_joint", { percent: percent(view.image.total) }) : this.say("looks_cross");
        this.looks.caption.textContent = text;
        this.paint(this.looks.canvas, view.image.map, layer, 0.9);
      }
      for (const { mark } of [this.where, this.looks]) this.place(mark);
      this.drawBars();
      this.drawHeads(word);
      this.sums.replaceChildren(...promptweight.explore.sums(this, word));
    }

    place(mark) {
      const { rows, columns } = this.layer;
      const [row, column] = [Math.floor(this.patch / columns), this.patch % columns];
      Object.assign(mark.style, {
        left: `${(100 * column) / columns}%`,
        top: `${(100 * row) / rows}%`,
        width: `${100 / columns}%`,
        height: `${100 / rows}%`,
      });
    }

    // Every cell is one patch: nothing is smoothed here.
    paint(canvas, map, { rows, columns }, opacity) {
      canvas.width = columns;
      canvas.height = rows;
      const values = heat.bytes(map.values);
      const low = Math.min(...values);
      const field = Float32Array.from(values, (value) => (value - low) / Math.max(1, 255 - low));
      const context = canvas.getContext("2d");
      const pixels = context.createImageData(columns, rows);
      heat.paintOne(pixels.data, field, this.colors, opacity);
      context.putImageData(pixels, 0, 0);
    }

    drawControls() {
      const { about } = this.message;
      const focused = this.controls.contains(document.activeElement) ? document.activeElement.name : null;
      const layers = about.layers.map((layer, index) => {
        const part = layer.part === "all" ? "" : `${this.say(`part_${layer.part}`)} · `;
        return [index, `${index + 1} · ${part}${layer.columns}×${layer.rows}`];
      });
      const heads = Array.from({ length: this.layer.heads }, (_, index) => [
        index,
        this.say("of", { index: index + 1, number: this.layer.heads }),
      ]);
      const steps = about.steps.map((step) => [step, this.say("of", { index: step + 1, number: this.message.steps })]);
      const pickers = [this.pick("layer", layers), this.pick("step", steps)];
      if (heads.length > 1) pickers.splice(1, 0, this.pick("head", heads));
      this.controls.replaceChildren(...pickers);
      if (focused) this.controls.querySelector(`[name="${focused}"]`)?.focus();
    }

    pick(name, options) {
      const select = make("select", { name: `inside-${name}` });
      for (const [value, text] of options) select.append(make("option", { value: String(value) }, text));
      select.value = String(this.set[name]);
      select.addEventListener("change", () => this.change({ [name]: Number(select.value) }));
      return make("label", {}, this.say(name), select);
    }

    drawWords() {
      const { texts, said } = this.message.about;
      this.reads.hidden = texts.length < 2;
      this.reads.textContent = this.say(this.message.joined ? "reads_first" : "reads_now", { text: texts[said[this.set.step]].text });
      const chips = this.words().flatMap((word, index) => {
        if (word.punctuation) return [];
        const weight = word.weight === 1 ? "" : String(Math.round(word.weight * 100) / 100);
        return [
          make(
            "button",
            {
              type: "button",
              class: "pw-chip",
              "aria-pressed": String(index === this.set.word),
              onclick: () => this.change({ word: index }),
            },
            make("span", { class: "pw-text" }, word.text),
            make("span", { class: "pw-weight" }, weight),
          ),
        ];
      });
      const index = [...this.chips.children].indexOf(document.activeElement);
      this.chips.replaceChildren(...chips);
      if (index >= 0) this.chips.children[index]?.focus();
    }

    drawBars() {
      this.barTitle.textContent = this.say("reads_title");
      const words = this.words();
      const lines = this.view.words.map((value, index) => ({ text: words[index].text, value, chosen: index === this.set.word }));
      const kinds = { bos: 0, eos: 0, pad: 0, image: 0 };
      for (const { kind, probability } of this.view.table) if (kind in kinds) kinds[kind] += probability;
      for (const [kind, value] of Object.entries(kinds)) {
        if (value > 0) lines.push({ text: this.say(`token_${kind}`), value, other: true });
      }
      const top = Math.max(1e-9, ...lines.map(({ value }) => value));
      this.bars.replaceChildren(
        ...lines.map(({ text, value, chosen, other }) =>
          make(
            "div",
            { class: `pw-line${chosen ? " pw-chosen" : ""}${other ? " pw-other" : ""}` },
            make("span", { class: "pw-name", title: text }, text),
            make("span", { class: "pw-track" }, make("span", { class: "pw-fill", style: `width:${(100 * value) / top}%` })),
            make("span", { class: "pw-value" }, percent(value)),
          ),
        ),
      );
    }

    drawHeads(word) {
      const { heads } = this.view;
      if (!heads.length) {
        this.heads.replaceChildren(make("p", { class: "pw-hint" }, this.say("one_head")));
        return;
      }
      const row = make("div", { class: "pw-head-row" });
      heads.forEach((map, index) => {
        const canvas = make("canvas", { class: "pw-small" });
        this.paint(canvas, map, this.layer, 1);
        const label = `${this.say("head")} ${index + 1}`;
        row.append(
          make(
            "button",
            { type: "button", "aria-pressed": String(index === this.set.head), onclick: () => this.change({ head: index }) },
            canvas,
            make("span", {}, label),
          ),
        );
      });
      this.heads.replaceChildren(make("h4", {}, this.say("heads_title", { word })), row, make("p", { class: "pw-hint" }, this.say("heads_text")));
    }
  };
})();
