// What stands under the picture: the settings of the view, and what can be downloaded.
"use strict";
window.promptweight ??= {};

promptweight.pictureParts ??= {};
promptweight.pictureParts.view = (() => {
  const { element: make } = promptweight;

  function save(source, name, isTemporary = false) {
    const link = make("a", { href: source, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    if (isTemporary) setTimeout(() => URL.revokeObjectURL(source), 10_000);
  }

  return (Base) => class extends Base {
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
  };
})();
