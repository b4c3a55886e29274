// Explore, second part: a patch of the picture, the words and patches it reads, and the arithmetic behind it.
"use strict";
window.promptweight ??= {};
promptweight.explore ??= {};

promptweight.explore.picture = (() => {
  const { element: make, language, heat } = promptweight;
  const fixed = (value, digits) => {
    const settings = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    return value.toLocaleString(language.current() === "pt-br" ? "pt-BR" : "en-US", settings);
  };
  const percent = (value) => {
    const hundredths = value * 100;
    return `${fixed(hundredths, hundredths >= 9.95 ? 0 : hundredths >= 0.095 ? 1 : 2)}\u00a0%`;
  };
  const signed = (value) => fixed(value, Math.abs(value) >= 100 ? 0 : 2).replace("-", "−");

  class Inside {
    constructor(root, props, watch, server) {
      Object.assign(this, { props, server, root: root.querySelector(".pw-explore") });
      this.colors = heat.bytes(props.colors);
      this.say = (key, values) => language.say(props.texts, key, values);
      this.set = null;
      this.view = null;
      this.show();
      watch("value", () => this.show());
      document.addEventListener("promptweight-language", () => this.show(true));
    }

    show(spoken = false) {
      const message = this.props.value;
      this.message = message;
      if (!message || message.state !== "ready") {
        const text = message?.state === "running" ? this.running(message) : this.say("inside_empty");
        this.root.replaceChildren(make("p", { class: "pw-empty-note", role: "status" }, text));
        this.key = null;
        return;
      }
      if (this.key !== message.key) this.begin(message);
      this.build();
      if (this.view && spoken) this.draw();
      else this.ask();
    }

    running({ progress }) {
      return progress ? this.say("inside_progress", progress) : this.say("inside_waiting");
    }

    // The first look: the finest layer at a step in the middle, the most weighted word, the middle patch.
    begin({ key, about }) {
      this.key = key;
      this.view = null;
      const cells = about.layers.map(({ rows, columns }) => rows * columns);
      const step = about.steps[Math.floor(about.steps.length / 2)];
      const words = this.words(step).map((word, index) => ({ ...word, index })).filter((word) => !word.punctuation);
      const telling = [...words].sort((a, b) => Math.abs(b.weight - 1) - Math.abs(a.weight - 1) || b.text.length - a.text.length);
      this.set = {
        layer: cells.lastIndexOf(Math.max(...cells)),
        head: 0,
        step,
        word: telling[0]?.index ?? 0,
        x: 0.5,
        y: 0.5,
      };
      this.untouched = true;
    }

    get layer() {
      return this.message.about.layers[this.set.layer];
    }

    // The words of the text that is read at a step: a prompt may change on the way.
    words(step = this.set.step) {
      const { texts, said } = this.message.about;
      return texts[said[step]].words;
    }

    get patch() {
      const { rows, columns } = this.layer;
      const row = Math.min(rows - 1, Math.floor(this.set.y * rows));
      return row * columns + Math.min(columns - 1, Math.floor(this.set.x * columns));
    }

    async ask() {
      if (!this.words().length) {
        this.drawControls();
        this.drawWords();
        this.note.textContent = this.say("no_words");
        return;
      }
      const { layer, step, word } = this.set;
      const head = (this.set.head = Math.min(this.set.head, this.layer.heads - 1));
      const asked = { key: this.key, layer, head, step, word, patch: this.patch };
      const number = (this.asked = (this.asked ?? 0) + 1);
      const view = await this.server.look(asked).catch(() => ({ error: "offline" }));
      if (number !== this.asked) return;
      if (view.error) {
        this.note.textContent = this.say(view.error);
        return;
      }
      this.note.textContent = "";
      this.view = view;
      // The head and the patch that read the word most are the place to begin with.
      if (this.untouched) {
        this.untouched = false;
        const tops = view.heads.length ? view.heads.map((map) => map.top) : [view.map.top];
        this.set.head = tops.indexOf(Math.max(...tops));
        const values = heat.bytes((view.heads[this.set.head] ?? view.map).values);
        const best = values.indexOf(Math.max(...values));
        const { rows, columns } = this.layer;
        this.set.x = ((best % columns) + 0.5) / columns;
        this.set.y = (Math.floor(best / columns) + 0.5) / rows;
        this.ask();
        return;
      }
      this.draw();
    }

    change(changes) {
      const before = this.words()[this.set.word]?.text;
      Object.assign(this.set, changes);
      if ("step" in changes) {
        // The same word in the text of the other step, where it is there, too.
        const words = this.words();
        const same = words.findIndex(({ text }) => text === before);
        if (words[this.set.word]?.text !== before) this.set.word = Math.max(0, same >= 0 ? same : words.findIndex((word) => !word.punctuation));
      }
      this.ask();
    }

    // ---- what stands on the page, made once for a picture ----

    build() {
      this.note = make("p", { class: "pw-error", role: "status" });
      this.controls = make("div", { class: "pw-pickers" });
      this.reads = make("p", { class: "pw-hint", "aria-live": "polite", hidden: true });
      this.chips = make("div", { class: "pw-chips", role: "group", "aria-label": this.say("words") });
      this.where = this.figure("where", true);
      this.looks = this.figure("looks", true);
      this.bars = make("div", { class: "pw-bars" });
      this.barTitle = make("h4", {});
      const reads = make("figure", {}, this.barTitle, this.bars, make("figcaption", {}, this.say("reads_text")));
      this.heads = make("div", { class: "pw-heads" });
      this.sums = make("div", { class: "pw-sums" });
      const figures = make("div", { class: "pw-figures" }, this.where.box, this.looks.box, reads);
      const left = this.message.about.left_out;
      const less = left ? [make("p", { class: "pw-hint" }, this.say("left_out", { number: left }))] : [];
      this.root.replaceChildren(this.controls, this.reads, this.chips, ...less, this.note, figures, this.heads, this.sums);
    }

    figure(name, clickable) {
      const image = make("img", { src: this.message.image.src, alt: "", draggable: false });
      const sharp = make("canvas", { class: "pw-sharp", hidden: true, "aria-hidden": "true" });
      image.addEventListener("load", () => {
        sharp.hidden = !promptweight.upscale?.draw(image, sharp);
      });
      const canvas = make("canvas", { class: "pw-grid", role: "img", tabIndex: clickable ? 0 : -1 });
      const mark = make("div", { class: "pw-mark" });
      const stage = make("div", { class: "pw-patches" }, image, sharp, canvas, mark);
      const title = make("h4", {});
      const caption = make("figcaption", {});
      if (clickable) {
        stage.addEventListener("pointerdown", (event) => this.point(event, stage));
        stage.addEventListener("pointermove", (event) => event.buttons && this.point(event, stage));
        canvas.addEventListener("keydown", (event) => this.move(event));
      }
      return { name, canvas, mark, title, caption, box: make("figure", {}, title, stage, caption) };
    }

    point(event, stage) {
      const box = stage.getBoundingClientRect();
      const limit = (value) => Math.min(0.9999, Math.max(0, value));
      const before = this.patch;
      this.set.x = limit((event.clientX - box.left) / box.width);
      this.set.y = limit((event.clientY - box.top) / box.height);
      this.untouched = false;
      if (this.patch !== before) this.ask();
    }

    move(event) {
      const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!by) return;
      event.preventDefault();
      const { rows, columns } = this.layer;
      const step = (value, cells, way) =>
        (Math.min(cells - 1, Math.max(0, Math.floor(value * cells) + way)) + 0.5) / cells;
      this.change({ x: step(this.set.x, columns, by[0]), y: step(this.set.y, rows, by[1]) });
    }

    // ---- what changes with every answer ----

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
  }

  const mount = (element, props, watch, server) => new Inside(element, props, watch, server);
  return { mount, percent, signed, fixed };
})();
