// The picture: a chip for every word, its heat over the picture, and what one can do with both.
"use strict";
window.promptweight ??= {};

promptweight.picture = (() => {
  const { element: make, language, heat } = promptweight;
  const same = (word) => `${word.text}#${word.occurrence}`;
  const shortNumber = (value) => (value >= 0.1 ? value.toFixed(2) : value.toPrecision(2));
  const shownWeight = (weight) => String(Math.round(weight * 100) / 100);

  class Picture {
    constructor(root, props, watch) {
      this.props = props;
      this.root = root.querySelector(".pw-picture");
      this.colors = heat.bytes(props.colors);
      this.say = (key, values) => language.say(props.texts, key, values);
      this.message = null;
      this.heat = null;
      this.image = 0;
      this.pinned = []; // words by their keys: they stay while the picture is made anew
      this.pointed = null;
      this.set = {
        unit: "probability",
        kind: "words",
        group: null,
        part: null,
        opacity: 0.85,
        together: false,
        threshold: 0.4,
      };
      this.queued = null;
      this.build();
      this.show(props.value);
      this.followQueue();
      watch("value", () => this.show(props.value));
      document.addEventListener("promptweight-language", () => this.speak());
      document.addEventListener("promptweight-read", (event) => {
        if (event.detail.box === props.box) this.tellWeights();
      });
    }

    // ---- what is on the page, made once ----

    build() {
      this.bar = make("div", { class: "pw-bar" }, make("div", { class: "pw-bar-done" }));
      this.status = make("div", { class: "pw-status", role: "status" });
      this.chips = make("div", { class: "pw-chips", role: "group" });
      this.active = make("div", { class: "pw-active" });
      this.picture = make("img", { class: "pw-image", draggable: false });
      this.canvas = make("canvas", { class: "pw-heat", tabIndex: 0, role: "img" });
      this.cross = make("div", { class: "pw-cross", hidden: true });
      this.empty = make("p", { class: "pw-empty" });
      this.sharp = make("canvas", { class: "pw-sharp", hidden: true, "aria-hidden": "true" });
      this.picture.addEventListener("load", () => {
        this.sharp.hidden = !promptweight.upscale.draw(this.picture, this.sharp);
      });
      const layers = [this.picture, this.sharp, this.canvas, this.cross, this.empty];
      this.stage = make("div", { class: "pw-stage" }, ...layers);
      this.thumbs = make("div", { class: "pw-thumbs", role: "group" });
      this.here = make("div", { class: "pw-here", "aria-live": "polite" });
      this.controls = make("div", { class: "pw-controls" });
      this.notes = make("ul", { class: "pw-notes" });
      const side = make("div", { class: "pw-under" }, this.thumbs, this.here, this.controls);
      this.root.replaceChildren(this.status, this.bar, this.chips, this.active, this.stage, side, this.notes);

      this.stage.addEventListener("pointermove", (event) => this.look(event));
      this.stage.addEventListener("pointerdown", (event) => this.look(event));
      this.stage.addEventListener("pointerleave", () => this.lookAway());
      this.canvas.addEventListener("blur", () => this.lookAway());
      this.canvas.addEventListener("keydown", (event) => this.moveCross(event));
    }

    // ---- a new message ----

    show(message) {
      if (!message || typeof message !== "object") message = null;
      const before = this.message;
      if (message?.state === "running" && !message.images.length && before) {
        // A run begins: what was there stays until there is something to see.
        message = { ...before, state: "running", progress: message.progress, warnings: [] };
      } else if (message && message.state !== "running" && !message.images.length && before?.images.length) {
        message = { ...message, images: before.images, maps: before.maps, nothing: true };
      }
      this.message = message;
      const images = message?.images ?? [];
      this.image = Math.min(this.image, Math.max(0, images.length - 1));
      if (message?.state === "running") this.image = 0;
      const maps = message?.maps;
      if (maps !== before?.maps || images.length !== before?.images?.length) {
        this.heat = maps?.words?.length && images.length ? new heat.Heat(maps, images[0].size) : null;
        this.set.part = null;
        if (this.set.group !== null && !maps?.groups?.[this.set.group]) this.set.group = null;
        if (!maps?.kinds?.includes(this.set.kind)) this.set.kind = "words";
      }
      this.speak();
    }

    // Gradio writes the place in the queue, "queue: 2/3", into an element of its own.
    followQueue() {
      const element = document.getElementById(this.props.queue);
      if (!element) return;
      new MutationObserver(() => {
        const place = /queue: (\d+)\/(\d+)/.exec(element.textContent);
        this.queued = place && { place: place[1], length: place[2] };
        this.tellStatus();
      }).observe(element, { subtree: true, childList: true, characterData: true });
    }

    // Everything that holds a text or a value is written anew; cheap next to a step of a model.
    speak() {
      this.tellStatus();
      this.tellPicture();
      this.tellChips();
      this.tellControls();
      this.tellNotes();
      this.paint();
    }

    tellStatus() {
      const { message } = this;
      const progress = message?.progress;
      this.root.dataset.state = message?.state ?? "empty";
      this.root.classList.toggle("pw-queued", Boolean(this.queued));
      let done = 0;
      let text = "";
      if (message?.state === "running") {
        text = this.say("waiting");
        if (progress) {
          done = ((progress.picture - 1) * progress.steps + progress.step) / (progress.pictures * progress.steps);
          text = this.say(progress.pictures > 1 ? "progress_several" : "progress", progress);
          if (progress.left !== null) text += ` · ${this.say("left", { seconds: Math.ceil(progress.left) })}`;
        }
      } else if (message?.nothing) text = this.say("nothing");
      else if (message) {
        const seed = message.images[this.image]?.seed;
        text =
          message.state === "stopped" && this.image === message.images.length - 1
            ? this.say("stopped", { step: message.stopped_after, steps: message.steps, seed })
            : this.say("done", { seed, seconds: message.seconds });
      }
      this.status.textContent = this.queued ? this.say("queued", this.queued) : text;
      this.bar.firstChild.style.width = `${100 * done}%`;
      this.bar.hidden = message?.state !== "running";
    }

    source(image) {
      if (image.src) return image.src;
      const root = (window.gradio_config?.root ?? "").replace(/\/$/, "");
      return `${root}/gradio_api/file=${image.path.split("/").map(encodeURIComponent).join("/")}`;
    }

    tellPicture() {
      const images = this.message?.images ?? [];
      const image = images[this.image];
      this.stage.classList.toggle("pw-has-picture", Boolean(image));
      this.empty.textContent = image ? "" : this.say("empty");
      this.empty.hidden = Boolean(image);
      this.picture.hidden = this.canvas.hidden = !image;
      if (!image) {
        this.sharp.hidden = true;
        this.picture.removeAttribute("src");
        this.picture.alt = "";
      } else {
        const source = this.source(image);
        if (this.picture.getAttribute("src") !== source) this.picture.src = source;
        this.stage.style.aspectRatio = `${image.size[0]} / ${image.size[1]}`;
        const progress = this.message.progress;
        this.picture.alt = progress
          ? this.say("live_alt", progress)
          : this.say("alt", { number: this.image + 1, total: images.length, prompt: this.message.prompt ?? "" });
      }
      this.thumbs.replaceChildren(
        ...(images.length < 2 ? [] : images).map((each, number) =>
          make(
            "button",
            {
              type: "button",
              "aria-pressed": String(number === this.image),
              "aria-label": this.say("number", { number: number + 1 }),
              onclick: () => {
                this.image = number;
                this.speak();
                this.thumbs.children[number]?.focus();
              },
            },
            make("img", { src: this.source(each), alt: "" }),
          ),
        ),
      );
    }

    // ---- words ----

    words() {
      return (this.heat?.words ?? []).map((word, index) => ({ ...word, index })).filter((word) => !word.punctuation);
    }

    tellChips() {
      const words = this.words();
      const names = words.map(same).join("\n");
      this.chips.setAttribute("aria-label", this.say("words"));
      if (names !== this.chipNames) {
        this.chipNames = names;
        this.pinned = this.pinned.filter((key) => words.some((word) => same(word) === key));
        this.pointed = words.some((word) => same(word) === this.pointed) ? this.pointed : null;
        this.chips.replaceChildren(...words.map((word) => this.chip(word)));
      }
      this.tellWeights();
    }

    chip(word) {
      const key = same(word);
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
        const weight = now?.weight ?? word.weight;
        const differs = Math.abs(weight - word.weight) > 1e-6;
        changed ||= differs;
        chip.querySelector(".pw-weight").textContent = weight === 1 && !differs ? "" : shownWeight(weight);
        chip.classList.toggle("pw-changed", differs);
        chip.classList.toggle("pw-gone", Boolean(box) && !now);
        chip.style.setProperty("--tint", weight === 1 ? "transparent" : promptweight.prompt.tint(weight));
        const pinned = this.pinned.includes(same(word));
        chip.setAttribute("aria-pressed", String(pinned));
        chip.setAttribute("aria-label", this.say("word", { word: word.text, weight: shownWeight(weight) }));
        chip.querySelector(".pw-dot").style.background = pinned ? (colors.get(same(word)) ?? "") : "";
      });
      this.tellActive(changed);
    }

    // The line under the chips: the word that one looks at, its weight, and buttons for fingers.
    tellActive(changed) {
      const box = promptweight.prompt.box(this.props.box);
      const words = this.words();
      const key = this.pointed ?? (this.pinned.includes(this.last) ? this.last : this.pinned.at(-1));
      const word = words.find((each) => same(each) === key);
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
      const weight = now?.weight ?? word.weight;
      const parts = [
        make("b", {}, word.text),
        button("less", "−", -1),
        make("output", { "aria-label": this.say("weight") }, shownWeight(weight)),
        button("more", "+", 1),
        make("span", {}, this.say("mean", { value: shortNumber(this.heat.mean(this.view(), [word.index])) })),
      ];
      if (box && !now) parts.push(make("span", { class: "pw-hint" }, this.say("gone")));
      else if (Math.abs(weight - word.weight) > 1e-6) {
        parts.push(make("span", { class: "pw-hint" }, this.say("was", { weight: shownWeight(word.weight) })));
      }
      this.active.replaceChildren(...parts);
    }

    // ---- heat ----

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
      return keys.map((key) => words.find((word) => same(word) === key)).filter(Boolean);
    }

    paintedColors() {
      const painted = this.painted();
      const colors = new Map();
      if (painted.length === 1 || this.set.together) {
        painted.forEach((word) => colors.set(same(word), "var(--color-accent)"));
      } else {
        painted.forEach((word, number) => {
          const color = this.props.word_colors[number % this.props.word_colors.length];
          colors.set(same(word), `rgb(${color.join(" ")})`);
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
        return make("li", {}, bar, make("span", { class: "pw-value" }, shortNumber(value)));
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

    // ---- settings of the view, and downloads ----

    tellControls() {
      if (!this.heat) {
        this.controls.replaceChildren();
        this.here.replaceChildren();
        return;
      }
      if (this.cross.hidden) this.lookAway();
      const { groups, parts, kinds } = this.heat.maps;
      const rows = [this.units(kinds)];
      const sliders = [
        this.slider("opacity", 0, 100, 100 * this.set.opacity, (value) => `${value} %`, (value) => {
          this.set.opacity = value / 100;
        }),
      ];
      if (groups.length > 1) {
        sliders.push(
          this.slider(
            "layers",
            0,
            groups.length,
            this.set.group === null ? 0 : this.set.group + 1,
            (value) => (value ? this.groupName(groups[value - 1]) : this.say("layers_usual")),
            (value) => (this.set.group = value ? value - 1 : null),
          ),
        );
      }
      if (parts.length > 1) {
        sliders.push(
          this.slider(
            "steps",
            0,
            parts.length,
            this.set.part === null ? 0 : this.set.part + 1,
            (value) => (value ? this.partName(parts[value - 1]) : this.say("steps_all")),
            (value) => (this.set.part = value ? value - 1 : null),
          ),
        );
      }
      rows.push(make("div", { class: "pw-sliders" }, ...sliders));
      if (this.message.state !== "running") rows.push(this.downloads());
      const focused = this.controls.contains(document.activeElement) ? document.activeElement.name : null;
      this.controls.replaceChildren(...rows);
      if (focused) this.controls.querySelector(`[name="${focused}"]`)?.focus();
    }

    groupName({ part, height, width }) {
      return `${this.say(`layers_${part}`)} ${height}×${width}`;
    }

    partName([first, end]) {
      return end - first === 1 ? String(end) : `${first + 1}–${end}`;
    }

    units(kinds) {
      const toggle = (name, pressed, act) =>
        make(
          "button",
          { type: "button", name, class: "pw-toggle", "aria-pressed": String(pressed), onclick: () => this.change(act) },
          this.say(name),
        );
      const group = make(
        "div",
        { class: "pw-units", role: "group", "aria-label": this.say("unit") },
        toggle("probability", this.set.unit === "probability", () => (this.set.unit = "probability")),
        toggle("share", this.set.unit === "share", () => (this.set.unit = "share")),
      );
      const more = [];
      if (kinds.includes("refined")) {
        const on = this.set.kind === "refined";
        more.push(toggle("refined", on, () => (this.set.kind = on ? "words" : "refined")));
      }
      if (this.pinned.length > 1) {
        more.push(toggle("together", this.set.together, () => (this.set.together = !this.set.together)));
      }
      return make("div", { class: "pw-row" }, group, ...more);
    }

    change(act) {
      act();
      this.tellControls();
      this.tellWeights();
      this.paint();
    }

    slider(name, min, max, value, text, act) {
      const shown = make("output", {}, text(Math.round(value)));
      const input = make("input", { type: "range", name, min, max, step: 1, value: Math.round(value) });
      input.setAttribute("aria-label", this.say(name));
      input.setAttribute("aria-valuetext", shown.textContent);
      input.addEventListener("input", () => {
        act(Number(input.value));
        shown.textContent = text(Number(input.value));
        input.setAttribute("aria-valuetext", shown.textContent);
        this.tellWeights();
        this.paint();
      });
      return make("label", { class: "pw-slider" }, make("span", {}, this.say(name)), input, shown);
    }

    downloads() {
      const image = this.message.images[this.image];
      const button = (name, act) =>
        make(
          "button",
          {
            type: "button",
            class: "pw-button",
            name,
            disabled: name !== "save" && !this.painted().length,
            title: name !== "save" && !this.painted().length ? this.say("none_pinned") : "",
            onclick: act,
          },
          this.say(name),
        );
      return make(
        "div",
        { class: "pw-row pw-downloads" },
        make("span", {}, this.say("download")),
        button("save", () => save(this.source(image), image.name)),
        button("save_overlay", () => this.saveOverlay(image)),
        button("save_mask", () => this.saveMask(image)),
        this.slider("threshold", 5, 95, 100 * this.set.threshold, (value) => `${value} %`, (value) => {
          this.set.threshold = value / 100;
        }),
      );
    }

    fileName(image, ending) {
      const words = this.painted().map((word) => word.text).join("-").replace(/[^\p{L}\p{N}-]+/gu, "_");
      return `${(image.name ?? "picture.png").replace(/\.png$/, "")}.${words.slice(0, 60)}.${ending}.png`;
    }

    saveOverlay(image) {
      const longer = Math.max(512, ...image.size);
      const factor = longer / Math.max(...image.size);
      const canvas = make("canvas", { width: image.size[0] * factor, height: image.size[1] * factor });
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.drawImage(this.sharp.hidden ? this.picture : this.sharp, 0, 0, canvas.width, canvas.height);
      context.drawImage(this.canvas, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => save(URL.createObjectURL(blob), this.fileName(image, "overlay"), true));
    }

    // White where the heat of the chosen words reaches the threshold, in the picture's own size.
    saveMask(image) {
      const field = this.heat.shown(this.view(), this.painted().map((word) => word.index));
      const small = make("canvas", { width: this.heat.width, height: this.heat.height });
      const pixels = small.getContext("2d").createImageData(small.width, small.height);
      field.forEach((value, pixel) => pixels.data.set([255 * value, 255 * value, 255 * value, 255], 4 * pixel));
      small.getContext("2d").putImageData(pixels, 0, 0);
      const canvas = make("canvas", { width: image.size[0], height: image.size[1] });
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.drawImage(small, 0, 0, canvas.width, canvas.height);
      const mask = context.getImageData(0, 0, canvas.width, canvas.height);
      for (let place = 0; place < mask.data.length; place += 4) {
        const value = mask.data[place] >= 255 * this.set.threshold ? 255 : 0;
        mask.data.set([value, value, value, 255], place);
      }
      context.putImageData(mask, 0, 0);
      canvas.toBlob((blob) => save(URL.createObjectURL(blob), this.fileName(image, "mask"), true));
    }

    tellNotes() {
      const notes = this.message?.warnings ?? [];
      this.notes.replaceChildren(...notes.map((note) => make("li", {}, note)));
    }
  }

  function save(source, name, isTemporary = false) {
    const link = make("a", { href: source, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    if (isTemporary) setTimeout(() => URL.revokeObjectURL(source), 10_000);
  }

  return { mount: (element, props, watch) => new Picture(element, props, watch) };
})();
