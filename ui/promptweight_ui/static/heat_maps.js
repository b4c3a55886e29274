// Attention maps of a picture, composed in the page for any choice of layers, steps and unit.
//
// The computation is that of `promptweight.maps.AttentionMaps`: mean over the layers and steps of one grid,
// for shares divided by the sum over all words, enlarged to the picture, mean over the grids.
import { comparableScales, decodeBytes, normalize, rangeOf } from "./heat_painting.js";

const LONGER_SIDE = 160; // of the painted map in pixels; the browser enlarges it smoothly from there
const MAX_CACHED_FIELDS = 1200; // of all views, 100 kB each

/**
 * @typedef {{image: number, kind: string, unit: string, group: number | null, part: number | null}} View
 * `group` and `part` are indices; null stands for all parts and for all default layers.
 */

export class HeatMaps {
  /**
   * @param {any} maps the `maps` of a message
   * @param {[number, number]} size width and height of the picture
   */
  constructor(maps, size) {
    this.maps = maps;
    this.words = maps.words;
    const longer = Math.max(...size);
    this.width = Math.max(1, Math.round((LONGER_SIDE * size[0]) / longer));
    this.height = Math.max(1, Math.round((LONGER_SIDE * size[1]) / longer));
    this.cache = new Map();
  }

  /**
   * Return the raw field of every word, and the ranges of all words without punctuation.
   * @param {View} view
   * @returns {{fields: Float32Array[], ranges: [number, number][], painted: Map<string, {heat: Float32Array, scale: [number, number]}>}}
   */
  composed(view) {
    const key = [view.image, view.kind, view.unit, view.group, view.part].join("/");
    if (!this.cache.has(key)) {
      if ((this.cache.size + 1) * this.words.length > MAX_CACHED_FIELDS) this.cache.clear();
      const fields = this.#fields(view);
      const ranges = fields.filter((_, word) => !this.words[word].punctuation).map(rangeOf);
      this.cache.set(key, { fields, ranges, painted: new Map() });
    }
    return this.cache.get(key);
  }

  #fields(view) {
    const grids = new Map();
    for (const plane of this.maps.planes) {
      const isChosen =
        plane.image === view.image &&
        plane.kind === view.kind &&
        (view.part === null || plane.part === view.part) &&
        (view.group === null ? this.maps.groups[plane.group].default[view.kind] : plane.group === view.group);
      if (isChosen) this.#add(grids, plane);
    }
    const fields = this.words.map(() => new Float32Array(this.width * this.height));
    for (const grid of grids.values()) {
      const cells = grid.height * grid.width;
      fields.forEach((field, word) => {
        const map = grid.sums.subarray(word * cells, (word + 1) * cells);
        const small = map.map((sum, cell) =>
          view.unit === "share" ? sum / Math.max(grid.total[cell], 1e-12) : sum / grid.count,
        );
        addEnlarged(small, grid.width, grid.height, field, this.width, this.height, 1 / grids.size);
      });
    }
    return fields;
  }

  #add(grids, plane) {
    const cells = plane.height * plane.width;
    const key = `${plane.height}x${plane.width}`;
    if (!grids.has(key)) {
      grids.set(key, {
        height: plane.height,
        width: plane.width,
        count: 0,
        sums: new Float32Array(cells * this.words.length),
        total: new Float32Array(cells),
      });
    }
    const grid = grids.get(key);
    plane.numbers ??= decodeBytes(plane.maps);
    plane.totals ??= decodeBytes(plane.total);
    const weight = plane.layers * plane.steps;
    grid.count += weight;
    plane.scales.forEach((scale, word) => {
      const factor = (weight * scale) / 255;
      for (let cell = word * cells; cell < (word + 1) * cells; cell++) {
        grid.sums[cell] += factor * plane.numbers[cell];
      }
    });
    const factor = (weight * plane.top) / 255;
    for (let cell = 0; cell < cells; cell++) grid.total[cell] += factor * plane.totals[cell];
  }

  /**
   * Return the heat of words as it is painted, 0 to 1; the maps of several words are added first. The color
   * scale is comparable with those of all words of the prompt.
   * @param {View} view
   * @param {number[]} words
   */
  heat(view, words) {
    return this.#painted(view, words).heat;
  }

  /**
   * Return the values that are painted as 0 and as 1.
   * @param {View} view
   * @param {number[]} words
   */
  scale(view, words) {
    return this.#painted(view, words).scale;
  }

  #painted(view, words) {
    const { fields, ranges, painted } = this.composed(view);
    const key = words.join(",");
    if (!painted.has(key)) {
      const sum = new Float32Array(this.width * this.height);
      for (const word of words) fields[word].forEach((value, pixel) => (sum[pixel] += value));
      const scale = comparableScales([...ranges, rangeOf(sum)]).at(-1);
      painted.set(key, { heat: normalize(sum, scale), scale });
    }
    return painted.get(key);
  }

  /**
   * Return the words at a point, strongest first.
   * @param {View} view
   * @param {number} x 0..1 from the left
   * @param {number} y 0..1 from the top
   */
  wordsAt(view, x, y) {
    const column = Math.min(this.width - 1, Math.max(0, Math.floor(x * this.width)));
    const row = Math.min(this.height - 1, Math.max(0, Math.floor(y * this.height)));
    return this.composed(view)
      .fields.map((field, word) => ({ word, value: field[row * this.width + column] }))
      .filter(({ word }) => !this.words[word].punctuation)
      .sort((one, other) => other.value - one.value);
  }

  /**
   * Return the mean over the picture of the words' attention.
   * @param {View} view
   * @param {number[]} words
   */
  mean(view, words) {
    const { fields } = this.composed(view);
    const sum = words.reduce((total, word) => total + fields[word].reduce((a, b) => a + b, 0), 0);
    return sum / (this.width * this.height);
  }
}

/**
 * Add `factor` times a small map to a large one, enlarged by quadratic B-splines as in
 * `promptweight.render.interpolation`.
 * @param {Float32Array} small
 * @param {number} width
 * @param {number} height
 * @param {Float32Array} large
 * @param {number} largeWidth
 * @param {number} largeHeight
 * @param {number} factor
 */
export function addEnlarged(small, width, height, large, largeWidth, largeHeight, factor) {
  const columns = Array.from({ length: largeWidth }, (_, x) => splineWeights(x, width, largeWidth));
  for (let y = 0; y < largeHeight; y++) {
    const line = new Float32Array(width);
    for (const [row, weight] of splineWeights(y, height, largeHeight)) {
      for (let x = 0; x < width; x++) line[x] += factor * weight * small[row * width + x];
    }
    for (let x = 0; x < largeWidth; x++) {
      for (const [column, weight] of columns[x]) large[y * largeWidth + x] += weight * line[column];
    }
  }
}

// The cells that a pixel is a mean of, along one side: [[cell, weight]].
function splineWeights(pixel, cells, pixels) {
  if (cells === pixels) return [[pixel, 1]];
  const place = ((pixel + 0.5) * cells) / pixels - 0.5;
  const nearest = Math.round(place);
  const offset = place - nearest;
  const weights = [(0.5 - offset) ** 2 / 2, 0.75 - offset ** 2, (0.5 + offset) ** 2 / 2];
  return weights.map((weight, index) => [Math.min(cells - 1, Math.max(0, nearest + index - 1)), weight]);
}
