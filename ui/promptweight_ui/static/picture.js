// The picture: a chip for every word, its heat over the picture, and what one can do with both.
"use strict";
window.promptweight ??= {};

promptweight.generation.pipeline_run = (() => {
  const { element: make, language, heat, pictureParts } = promptweight;

  class Picture extends pictureParts.words(pictureParts.heat(pictureParts.view(Object))) {
    constructor(root, props, watch) {
      super();
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
            : this.say("done", { seed, seconds: language.number(message.seconds, 3) });
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

    tellNotes() {
      const notes = (this.message?.warnings ?? []).map((note) => make("li", {}, note[language.current()]));
      const percent = (part) => `${language.number(100 * part, 3)}\u00a0%`;
      for (const { phrase, share, target, weight } of this.message?.found?.[this.image] ?? []) {
        const told = { phrase, share: percent(share), target: percent(target), weight: language.number(weight, 3) };
        notes.push(make("li", { class: "pw-found" }, this.say("found", told)));
      }
      this.notes.replaceChildren(...notes);
    }
  }

  return { mount: (element, props, watch) => new Picture(element, props, watch) };
})();
