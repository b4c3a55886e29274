// Difference of two pictures below the comparison grid: one wiped over the other, and a map of what differs.
import { context2d, element, fileUrl, paintPixels } from "./elements.js";
import { colorIndex, colorTable } from "./heat_painting.js";
import { formatPercent } from "./language.js";

const LONGER_SIDE = 256; // of the difference map in pixels
const VISIBLE = 0.05; // difference of a pixel, 0..1, from which it counts as changed
const MIN_SCALE = 0.1; // difference shown in the brightest color where none is larger

export class DifferenceView {
  /**
   * @param {import("./language.js").Translate} translate
   * @param {{label: (cell: any) => string, picture: (cell: any) => HTMLElement}} parts
   */
  constructor(translate, parts) {
    this.translate = translate;
    this.parts = parts;
    this.position = 50; // of the edge between the two pictures, in % from the left
  }

  /** Return the comparison of two cells. */
  compare(first, second) {
    return element("section", { class: "pw-versus" }, this.#wipe(first, second), this.#difference(first, second));
  }

  #wipe(first, second) {
    const slider = element("input", { type: "range", min: 0, max: 100, "data-place": "slider" });
    slider.setAttribute("aria-label", this.translate("wipe"));
    const under = element("div", { class: "pw-side" }, this.parts.picture(second));
    const over = element("div", { class: "pw-side pw-over" }, this.parts.picture(first));
    const edge = element("div", { class: "pw-edge" });
    const stage = element("div", { class: "pw-wipe" }, under, over, edge);
    const move = (position) => {
      this.position = position;
      slider.value = position;
      over.style.clipPath = `inset(0 ${100 - position}% 0 0)`;
      edge.style.left = `${position}%`;
    };
    const drag = (event) => {
      const box = stage.getBoundingClientRect();
      move(Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width)));
    };
    stage.addEventListener("pointerdown", (event) => {
      stage.setPointerCapture(event.pointerId);
      drag(event);
    });
    stage.addEventListener("pointermove", (event) => event.buttons && drag(event));
    slider.addEventListener("input", () => move(Number(slider.value)));
    move(this.position);
    const [a, b] = [first, second].map(this.parts.label);
    const names = element(
      "div",
      { class: "pw-names" },
      element("span", {}, `A · ${a}`),
      element("span", {}, `B · ${b}`),
    );
    return element("figure", {}, element("h4", {}, this.translate("wipe_title")), names, stage, slider);
  }

  #difference(first, second) {
    const canvas = element("canvas", { class: "pw-difference", role: "img" });
    const summary = element("figcaption", { "aria-live": "polite" });
    Promise.all([first, second].map((cell) => loadImage(fileUrl(cell.path))))
      .then((images) => this.#paint(canvas, summary, images, first.size))
      .catch(() => (summary.textContent = this.translate("offline")));
    const names = element("div", { class: "pw-names" }, this.translate("difference_text"));
    return element("figure", {}, element("h4", {}, this.translate("difference_title")), names, canvas, summary);
  }

  #paint(canvas, summary, images, size) {
    const [field, width, height] = compared(images, size);
    const mean = field.reduce((sum, value) => sum + value, 0) / field.length;
    const highest = Math.max(MIN_SCALE, ...field);
    const colors = colorTable();
    paintPixels(canvas, width, height, (pixels) => {
      field.forEach((value, pixel) => {
        const color = 3 * colorIndex(value / highest);
        pixels.set([...colors.subarray(color, color + 3), 255], 4 * pixel);
      });
    });
    const values = { mean: formatPercent(mean), changed: formatPercent(visiblePart(field)) };
    summary.textContent = mean === 0 ? this.translate("same") : this.translate("difference_summary", values);
    canvas.setAttribute("aria-label", `${this.translate("difference_title")}: ${summary.textContent}`);
  }
}

/**
 * Return the part of the pixels that visibly differ between two cells, 0 to 1.
 * @returns {Promise<number>}
 */
export async function changedPart(first, second) {
  const [one, other] = await Promise.all([first, second].map((cell) => loadImage(fileUrl(cell.path))));
  const [field] = compared([one, other], first.size);
  return visiblePart(field);
}

function visiblePart(field) {
  return field.filter((value) => value > VISIBLE).length / field.length;
}

// The difference of each pixel of two images, in a size that is quick to compare.
function compared(images, size) {
  const scale = Math.min(1, LONGER_SIDE / Math.max(...size));
  const [width, height] = size.map((side) => Math.max(1, Math.round(side * scale)));
  const [one, other] = images.map((image) => {
    const context = context2d(element("canvas", { width, height }), { willReadFrequently: true });
    context.drawImage(image, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  });
  return /** @type {[Float32Array, number, number]} */ ([pixelDifference(one, other), width, height]);
}

/**
 * Return the mean difference of the three colors of each pixel, 0 to 1.
 * @param {ArrayLike<number>} one RGBA bytes
 * @param {ArrayLike<number>} other RGBA bytes
 */
export function pixelDifference(one, other) {
  const field = new Float32Array(one.length / 4);
  for (let pixel = 0; pixel < field.length; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      field[pixel] += Math.abs(one[4 * pixel + channel] - other[4 * pixel + channel]) / 765;
    }
  }
  return field;
}

/** @returns {Promise<HTMLImageElement>} */
function loadImage(url) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = reject;
    image.src = url;
  });
}
