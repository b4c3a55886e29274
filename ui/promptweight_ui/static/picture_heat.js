// The heat over the picture: which words are painted and in which colours, and what acts at a place.
"use strict";
window.promptweight ??= {};

promptweight.pictureParts ??= {};
promptweight.pictureParts.heat = (() => {
  const { element: make, heat } = promptweight;

  return (Base) => class extends Base {
    view() {
      const { unit, kind, group, part } = this.set;
      return { image: this.message?.state === "running" ? 0 : this.image, unit, kind, group, part };
    }

    // Which words are painted: the pinned ones, and the one pointed at.
    painted() {
      const words = this.words();
      const keys = this.pointed && !this.pinned.includes(this.pointed) && this.pinned.length === 0
        ? [this.pointed]
        : this.pointed && !this.pinned.includes(this.pointed)
          ? [...this.pinned, this.pointed]
          : this.pinned;
      return keys.map((key) => words.find((word) => this.same(word) === key)).filter(Boolean);
    }

    paintedColors() {
      const painted = this.painted();
      const colors = new Map();
      if (painted.length === 1 || this.set.together) {
        painted.forEach((word) => colors.set(this.same(word), "var(--color-accent)"));
      } else {
        painted.forEach((word, number) => {
          const color = this.props.word_colors[number % this.props.word_colors.length];
          colors.set(this.same(word), `rgb(${color.join(" ")})`);
        });
      }
      return colors;
    }

    paint() {
      const painted = this.painted();
      const canvas = this.canvas;
      const names = painted.map((word) => word.text).join(", ");
      canvas.setAttribute("aria-label", painted.length ? this.say("heat", { words: names }) : this.say("pixels"));
      if (!this.heat) {
        canvas.width = canvas.height = 1;
        return;
      }
      canvas.width = this.heat.width;
      canvas.height = this.heat.height;
      if (painted.length) this.paintOn(canvas.getContext("2d"), painted);
    }

    paintOn(context, painted) {
      const pixels = context.createImageData(this.heat.width, this.heat.height);
      const view = this.view();
      const { opacity, together } = this.set;
      if (painted.length === 1 || together) {
        const field = this.heat.shown(view, painted.map((word) => word.index));
        heat.paintOne(pixels.data, field, this.colors, opacity);
      } else {
        const fields = painted.map((word) => this.heat.shown(view, [word.index]));
        heat.paintSeveral(pixels.data, fields, this.props.word_colors, opacity);
      }
      context.putImageData(pixels, 0, 0);
    }

    // ---- the words at a place of the picture ----

    look(event) {
      const edges = this.canvas.getBoundingClientRect();
      this.lookAt((event.clientX - edges.left) / edges.width, (event.clientY - edges.top) / edges.height);
    }

    lookAt(x, y) {
      if (!this.heat) return;
      this.place = [Math.min(1, Math.max(0, x)), Math.min(1, Math.max(0, y))];
      this.cross.hidden = false;
      this.cross.style.left = `${100 * this.place[0]}%`;
      this.cross.style.top = `${100 * this.place[1]}%`;
      const ranked = this.heat.at(this.view(), ...this.place).slice(0, 5);
      const most = Math.max(ranked[0]?.value ?? 0, 1e-12);
      const rows = ranked.map(({ word, value }) => {
        const bar = make("span", { class: "pw-rank" });
        bar.style.setProperty("--part", `${(100 * value) / most}%`);
        bar.append(this.heat.words[word].text);
        return make("li", {}, bar, make("span", { class: "pw-value" }, heat.short(value)));
      });
      this.here.replaceChildren(make("h4", {}, this.say("here")), make("ol", {}, ...rows));
    }

    lookAway() {
      this.cross.hidden = true;
      this.here.replaceChildren(
        this.heat ? make("span", { class: "pw-hint" }, this.say("pixels")) : "",
      );
    }

    moveCross(event) {
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!move || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      const [x, y] = this.place ?? [0.5, 0.5];
      this.lookAt(x + move[0] / 16, y + move[1] / 16);
    }
  };
})();
