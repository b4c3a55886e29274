// Prompt boxes: weights highlighted where they stand, remarks and token counts below, weights changed by keys.
//
// The text area stays the browser's own. Behind it lies a copy of its text, letter on letter, whose letters are
// invisible and whose marks shine through. The server reads the prompt, so that there is one grammar only.
"use strict";
window.promptweight ??= {};

promptweight.prompt = (() => {
  const { element: make, language } = promptweight;
  const PAUSE = 140; // milliseconds without typing after which the prompt is read
  const STEP = 0.1;
  const boxes = new Map();

  class Box {
    constructor(reading, props, server) {
      this.reading = reading;
      this.props = props;
      this.server = server;
      this.understood = { spans: [], words: [], remarks: [], tokens: null };
      this.asked = 0;
      this.turn = Promise.resolve();
      this.say = (key, values) => language.say(props.texts, key, values);
      boxes.set(props.box, this);
      this.findArea();
      document.addEventListener("promptweight-language", () => this.read());
    }

    // Gradio may draw the box after this script, and draw it anew later.
    findArea() {
      const area = document.querySelector(`#${CSS.escape(this.props.box)} textarea`);
      if (area && area !== this.area) {
        this.area = area;
        this.back = make("div", { class: "pw-back", "aria-hidden": "true" });
        area.before(this.back);
        area.classList.add("pw-area");
        area.spellcheck = false;
        area.addEventListener("input", () => this.typed());
        area.addEventListener("scroll", () => this.place());
        area.addEventListener("keydown", (event) => this.key(event));
        new ResizeObserver(() => this.place()).observe(area);
        this.text = area.value;
        this.read();
      }
      if (!this.area?.isConnected) requestAnimationFrame(() => this.findArea());
    }

    // The copy has the measures of the text area.
    place() {
      const style = getComputedStyle(this.area);
      const copied = ["font", "letterSpacing", "lineHeight", "padding", "borderWidth", "textAlign", "tabSize"];
      for (const name of copied) this.back.style[name] = style[name];
      Object.assign(this.back.style, {
        left: `${this.area.offsetLeft}px`,
        top: `${this.area.offsetTop}px`,
        width: `${this.area.clientWidth + this.area.clientLeft * 2}px`,
        height: `${this.area.offsetHeight}px`,
      });
      this.back.scrollTop = this.area.scrollTop;
    }

    typed() {
      this.shiftMarks();
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.read(), PAUSE);
    }

    // Until the server has answered, marks move along with the text after the place that changed.
    shiftMarks() {
      const [before, after] = [this.text ?? "", this.area.value];
      const most = Math.min(before.length, after.length);
      let same = 0;
      while (same < most && before[same] === after[same]) same++;
      const move = (place) => (place <= same ? place : Math.max(same, place + after.length - before.length));
      for (const mark of [...this.understood.spans, ...this.understood.remarks]) {
        mark.start = move(mark.start);
        mark.end = move(mark.end);
      }
      this.text = after;
      this.draw();
    }

    refresh() {
      if (this.area && this.area.value !== this.text) this.typed();
      this.findArea();
    }

    async read() {
      if (!this.area) return;
      const text = this.area.value;
      const number = ++this.asked;
      let answer;
      try {
        answer = await this.server.read({ text, language: language.current(), model: this.props.model });
      } catch {
        answer = { error: this.say("offline") };
      }
      if (number !== this.asked || text !== this.area.value) return;
      this.text = text;
      this.answered = text; // the text that `understood` is about
      this.understood = { spans: [], words: [], remarks: [], tokens: null, ...answer };
      this.draw();
      this.tell();
      document.dispatchEvent(new CustomEvent("promptweight-read", { detail: { box: this.props.box } }));
      if (!answer.error && answer.tokens === null) {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.read(), 1500); // the model is being loaded
      }
    }

    draw() {
      const text = this.area.value;
      const { spans, remarks } = this.understood;
      const edges = new Set([0, text.length]);
      for (const { start, end } of [...spans, ...remarks]) edges.add(start).add(end);
      const places = [...edges].filter((place) => place <= text.length).sort((one, other) => one - other);
      const pieces = places.slice(0, -1).map((start, index) => {
        const end = places[index + 1];
        const within = (mark) => mark.start <= start && end <= mark.end;
        const span = spans.find(within);
        const remark = remarks.find(within);
        const piece = make("span", {}, text.slice(start, end));
        if (span) {
          piece.className = "pw-weighted";
          piece.style.setProperty("--tint", tint(span.weight, span.share));
        }
        if (remark) piece.classList.add("pw-remarked", `pw-${remark.severity}`);
        return piece;
      });
      this.back.replaceChildren(...pieces, "\u200b"); // a line's end at the end needs a letter after it
      this.place();
    }

    // What stands under the box: remarks, then token counts.
    tell() {
      const { remarks, tokens, error } = this.understood;
      const list = remarks.map((remark) => {
        const quoted = this.area.value.slice(remark.start, remark.end).slice(0, 24);
        const jump = make("button", {
          type: "button",
          class: `pw-remark pw-${remark.severity}`,
          onclick: () => {
            this.area.focus();
            this.area.setSelectionRange(remark.start, remark.end);
          },
        });
        jump.append(make("b", {}, this.say(remark.severity)), " ", make("q", {}, quoted), " ", remark.message);
        return make("li", {}, jump);
      });
      const counts = make("div", { class: "pw-counts" });
      if (error) counts.append(make("span", { class: "pw-error" }, error));
      else if (tokens === null) counts.append(make("span", {}, this.say("loading")));
      for (const each of tokens ?? []) {
        const line = [this.say("tokens", each)];
        if (tokens.length > 1) line.unshift(`${each.encoder}:`);
        if (each.chunks > 1) line.push(`· ${this.say("chunks", each)}`);
        counts.append(make("span", { class: "pw-count" }, line.join(" ")));
        if (each.cut) {
          counts.append(make("span", { class: "pw-cut" }, this.say("cut", { text: each.cut.slice(0, 120) })));
        }
      }
      if (this.area.value) counts.append(make("span", { class: "pw-keys" }, this.say("keys")));
      const remarkList = make("ul", { class: "pw-remarks", "aria-live": "polite" }, ...list);
      this.reading.querySelector(".pw-reading").replaceChildren(counts, remarkList);
    }

    key(event) {
      const up = event.key === "ArrowUp";
      if (!(event.ctrlKey || event.metaKey) || event.altKey || !(up || event.key === "ArrowDown")) return;
      event.preventDefault();
      const step = up ? STEP : -STEP;
      this.inTurn(() => this.nudge(this.area.selectionStart, this.area.selectionEnd, step));
    }

    // Weights change one after the other, each on what the one before has written.
    inTurn(change) {
      this.turn = this.turn.then(change, change);
      return this.turn;
    }

    async nudge(start, end, step) {
      const text = this.area.value;
      const answer = await this.server.nudge({ text, start, end, step, language: language.current() });
      if (answer.error || this.area.value !== text) return;
      this.write(answer.text);
      this.area.setSelectionRange(answer.start, answer.end);
    }

    // Puts a new text in by typing what differs, so that the browser's own undo takes it back.
    write(text) {
      const before = this.area.value;
      if (text === before) return;
      const most = Math.min(before.length, text.length);
      let start = 0;
      while (start < most && before[start] === text[start]) start++;
      let tail = 0;
      while (tail < most - start && before[before.length - 1 - tail] === text[text.length - 1 - tail]) tail++;
      const focused = document.activeElement;
      this.area.focus({ preventScroll: true });
      this.area.setSelectionRange(start, before.length - tail);
      const typed = text.slice(start, text.length - tail);
      document.execCommand(typed ? "insertText" : "delete", false, typed);
      if (focused && focused !== this.area) focused.focus({ preventScroll: true });
    }

    // The word as the prompt now has it; undefined when it is gone.
    word(text, occurrence) {
      const folded = text.toLowerCase();
      return this.understood.words.find(
        (word) => word.text.toLowerCase() === folded && word.occurrence === occurrence,
      );
    }

    // Changes the weight of a word, wherever it stands now.
    nudgeWord(text, occurrence, step) {
      return this.inTurn(async () => {
        if (this.area.value !== this.text || this.timer) await this.read();
        const word = this.word(text, occurrence);
        if (!word) return;
        await this.nudge(word.start, word.end, step);
        await this.read();
      });
    }
  }

  // The colour behind a weighted word: warm above 1, cool below, purple under 0; stronger further away from 1.
  // A word with a target share is green: what weight that takes is found by the run.
  function tint(weight, share) {
    if (share) return "rgb(20 184 166 / 0.42)";
    const strength = Math.min(1, Math.abs(Math.log2(Math.max(Math.abs(weight), 0.05))) / 1.2);
    const color = weight < 0 ? "168 85 247" : weight > 1 ? "249 115 22" : "59 130 246";
    return `rgb(${color} / ${(0.18 + 0.5 * strength).toFixed(2)})`;
  }

  function mount(element, props, server) {
    new Box(element, props, server);
  }

  return {
    mount,
    tint,
    refresh: (name) => boxes.get(name)?.refresh(),
    box: (name) => boxes.get(name),
    // Tokens are counted as that model has them.
    count: (model) =>
      boxes.forEach((box) => {
        box.props.model = model;
        box.read();
      }),
    STEP,
  };
})();
