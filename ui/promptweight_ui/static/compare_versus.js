// Compare, below: two pictures against each other, one wiped over the other, and what differs.
"use strict";
window.promptweight ??= {};

promptweight.compareParts ??= {};
Object.assign(promptweight.compareParts, (() => {
  const { element: make } = promptweight;
  const { percent } = promptweight.compareParts;
  const DIFFERENCE = 256; // longer side of the difference map

  // Where the server hands out the file of a picture.
  const address = (cell) => {
    const root = (window.gradio_config?.root ?? "").replace(/\/$/, "");
    return `${root}/gradio_api/file=${cell.path.split("/").map(encodeURIComponent).join("/")}`;
  };

  const versus = (Base) => class extends Base {
    versus(one, two) {
      const top = this.top();
      const slide = make("input", { type: "range", min: 0, max: 100, value: this.slide ?? 50, "data-place": "slide" });
      slide.setAttribute("aria-label", this.say("slide"));
      const under = make("div", { class: "pw-side" }, this.picture(two, top));
      const over = make("div", { class: "pw-side pw-over" }, this.picture(one, top));
      const edge = make("div", { class: "pw-edge" });
      const stage = make("div", { class: "pw-wipe" }, under, over, edge);
      const set = (value) => {
        this.slide = value;
        slide.value = value;
        over.style.clipPath = `inset(0 ${100 - value}% 0 0)`;
        edge.style.left = `${value}%`;
      };
      const drag = (event) => {
        const box = stage.getBoundingClientRect();
        set(Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width)));
      };
      stage.addEventListener("pointerdown", (event) => {
        stage.setPointerCapture(event.pointerId);
        drag(event);
      });
      stage.addEventListener("pointermove", (event) => event.buttons && drag(event));
      slide.addEventListener("input", () => set(Number(slide.value)));
      set(this.slide ?? 50);
      const names = make("div", { class: "pw-names" }, make("span", {}, `A · ${this.label(one)}`), make("span", {}, `B · ${this.label(two)}`));
      const left = make("figure", {}, make("h4", {}, this.say("slide_title")), names, stage, slide);
      return make("section", { class: "pw-versus" }, left, this.difference(one, two));
    }

    difference(one, two) {
      const canvas = make("canvas", { class: "pw-difference", role: "img" });
      const told = make("figcaption", { "aria-live": "polite" });
      const load = (cell) =>
        new Promise((resolve, reject) => {
          const image = new Image();
          image.onload = () => resolve(image);
          image.onerror = reject;
          image.src = address(cell);
        });
      Promise.all([load(one), load(two)])
        .then((images) => this.subtract(canvas, told, images, one))
        .catch(() => (told.textContent = this.say("offline")));
      return make("figure", {}, make("h4", {}, this.say("difference_title")), make("div", { class: "pw-names" }, this.say("difference_text")), canvas, told);
    }

    subtract(canvas, told, images, one) {
      const scale = Math.min(1, DIFFERENCE / Math.max(...one.size));
      const [width, height] = one.size.map((side) => Math.max(1, Math.round(side * scale)));
      const [first, second] = images.map((image) => {
        const context = make("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
        context.drawImage(image, 0, 0, width, height);
        return context.getImageData(0, 0, width, height).data;
      });
      const field = new Float32Array(width * height);
      for (let pixel = 0; pixel < field.length; pixel++) {
        for (let color = 0; color < 3; color++) field[pixel] += Math.abs(first[4 * pixel + color] - second[4 * pixel + color]) / 765;
      }
      const mean = field.reduce((sum, value) => sum + value, 0) / field.length;
      const changed = field.filter((value) => value > 0.05).length / field.length;
      const top = Math.max(0.1, ...field);
      canvas.width = width;
      canvas.height = height;
      const context = canvas.getContext("2d");
      const pixels = context.createImageData(width, height);
      field.forEach((value, pixel) => {
        const place = 3 * Math.round((255 * value) / top);
        pixels.data.set([...this.colors.subarray(place, place + 3), 255], 4 * pixel);
      });
      context.putImageData(pixels, 0, 0);
      const text = mean === 0 ? this.say("same") : this.say("difference_told", { mean: percent(mean), changed: percent(changed) });
      told.textContent = text;
      canvas.setAttribute("aria-label", `${this.say("difference_title")}: ${text}`);
    }
  };

  return { address, versus };
})());
