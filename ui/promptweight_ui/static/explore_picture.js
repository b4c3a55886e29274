// Explore, second part: a patch of the picture, the words and patches it reads, and the arithmetic behind it.
"use strict";
window.promptweight ??= {};
promptweight.explore ??= {};

promptweight.explore.picture = (() => {
  const { element: make, language, heat } = promptweight;
  const { draws } = promptweight.explore;

  class Inside extends draws(Object) {
    constructor(root, props, watch, server) {
      super();
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
  }

  const mount = (element, props, watch, server) => new Inside(element, props, watch, server);
  return { mount };
})();
