// Color scale and painting of heat maps: the same bytes as `promptweight.render` computes.
import { constants } from "./constants.js";

const { comparable_range, flat_range, visibility_start, visibility_rise } = constants;

/** Return the bytes of a base64 text. */
export const decodeBytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// numpy and the pixels of a canvas round halves to even numbers; Math.round rounds them up.
function roundHalfEven(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

const tables = new Map();

/**
 * Return a color map as 256 RGB colors, lowest heat first: 768 bytes.
 * @param {string} name a key of `constants.colormaps`
 * @returns {Uint8Array}
 */
export function colorTable(name = constants.colormap) {
  if (!tables.has(name)) {
    const samples = constants.colormaps[name].split(" ").map((color) => Number.parseInt(color, 16));
    const table = new Uint8Array(768);
    for (let index = 0; index < 256; index++) {
      const place = (index * (samples.length - 1)) / 255;
      const before = Math.min(samples.length - 2, Math.floor(place));
      for (let channel = 0; channel < 3; channel++) {
        const [low, high] = [before, before + 1].map((sample) => (samples[sample] >> (16 - 8 * channel)) & 255);
        table[3 * index + channel] = roundHalfEven(low + (high - low) * (place - before));
      }
    }
    tables.set(name, table);
  }
  return tables.get(name);
}

/**
 * Return the lowest and the highest value.
 * @param {Iterable<number>} field
 * @returns {[number, number]}
 */
export function rangeOf(field) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of field) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/**
 * Return a color scale [low, high] for each of several maps that are shown side by side.
 * @param {[number, number][]} ranges the lowest and the highest value of each map
 * @returns {[number, number][]}
 */
export function comparableScales(ranges) {
  const widest = Math.max(0, ...ranges.map(([low, high]) => high - low));
  return ranges.map(([low, high]) => [low, Math.max(high, low + widest * comparable_range)]);
}

/**
 * Return `field` moved to 0..1; zeros where the scale is flat.
 * @param {Float32Array} field
 * @param {[number, number]} scale the values shown as 0 and 1
 */
export function normalize(field, [low, high]) {
  if (!(high - low > flat_range * Math.max(Math.abs(low), Math.abs(high)))) return field.map(() => 0);
  return field.map((value) => Math.min(1, Math.max(0, (value - low) / (high - low))));
}

/** Return the index of the color of a heat of 0..1: 0 to 255. */
export const colorIndex = (heat) => roundHalfEven(255 * heat);

/** Return the opacity of a heat of 0..1, before the opacity of the whole map. */
export function visibility(heat) {
  const rising = Math.min(1, Math.max(0, (heat - visibility_start) / visibility_rise));
  return rising * rising * (3 - 2 * rising);
}

/**
 * Paint one map in the colors of a color map.
 * @param {Uint8ClampedArray} pixels RGBA bytes
 * @param {Float32Array} field heat of 0..1
 * @param {number} opacity 0..1
 * @param {Uint8Array} colors 256 RGB colors
 */
export function paintMap(pixels, field, opacity, colors = colorTable()) {
  field.forEach((heat, pixel) => {
    const color = 3 * colorIndex(heat);
    pixels.set([colors[color], colors[color + 1], colors[color + 2], 255 * opacity * visibility(heat)], 4 * pixel);
  });
}

/**
 * Paint several maps in one color each, mixed in proportion to their visibility.
 * @param {Uint8ClampedArray} pixels RGBA bytes
 * @param {Float32Array[]} fields heat of 0..1
 * @param {number} opacity 0..1
 */
export function paintMaps(pixels, fields, opacity) {
  const colors = constants.word_colors;
  for (let pixel = 0; pixel < pixels.length / 4; pixel++) {
    let [red, green, blue, total, highest] = [0, 0, 0, 0, 0];
    fields.forEach((field, number) => {
      const seen = visibility(field[pixel]);
      const color = colors[number % colors.length];
      red += seen * color[0];
      green += seen * color[1];
      blue += seen * color[2];
      total += seen;
      highest = Math.max(highest, seen);
    });
    total = Math.max(total, 1e-6);
    pixels.set([red / total, green / total, blue / total, 255 * opacity * highest], 4 * pixel);
  }
}
