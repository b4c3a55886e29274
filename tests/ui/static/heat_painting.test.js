// Painting of heat maps: the same pixels as the command line and notebooks.
import assert from "node:assert/strict";
import { test } from "node:test";

import {
  colorIndex,
  colorTable,
  comparableScales,
  decodeBytes,
  normalize,
  paintMap,
  paintMaps,
  rangeOf,
  visibility,
} from "../../../ui/promptweight_ui/static/heat_painting.js";
import { constants } from "../../../ui/promptweight_ui/static/constants.js";
import { vectors } from "./vectors.js";

const fields = vectors.fields.map((values) => Float32Array.from(values));
const scales = comparableScales(fields.map(rangeOf));
const heats = fields.map((field, word) => normalize(field, scales[word]));
const SIZE = vectors.width * vectors.height;

/** The RGB bytes of RGBA pixels over a gray level, as the browser composes them. */
function compose(pixels, level) {
  return Array.from({ length: 3 * SIZE }, (_, index) => {
    const pixel = 4 * Math.floor(index / 3);
    const opacity = pixels[pixel + 3] / 255;
    return pixels[pixel + (index % 3)] * opacity + level * (1 - opacity);
  });
}

/** Compare pixels with those that Python painted; the opacity of a canvas is rounded to a byte. */
function assertPaintedLike(pixels, expected) {
  for (const [name, level] of [["black", 0], ["white", 255]]) {
    const bytes = decodeBytes(expected[name]);
    const differences = compose(pixels, level).map((value, index) => Math.abs(value - bytes[index]));
    assert.ok(Math.max(...differences) <= 1, `over ${name}: off by ${Math.max(...differences)}`);
  }
}

test("color maps have the colors of Python", () => {
  assert.deepEqual(Object.keys(constants.colormaps), Object.keys(vectors.colormaps));
  for (const [name, bytes] of Object.entries(vectors.colormaps)) {
    assert.deepEqual(colorTable(name), decodeBytes(bytes), name);
  }
});

test("color scales are those of Python", () => {
  scales.forEach((scale, word) => {
    scale.forEach((value, end) => assert.ok(Math.abs(value - vectors.scales[word][end]) < 1e-7));
  });
});

test("one map has the pixels of the command line", () => {
  heats.forEach((heat, word) => {
    const pixels = new Uint8ClampedArray(4 * SIZE);
    paintMap(pixels, heat, constants.overlay_opacity);
    assertPaintedLike(pixels, vectors.overlays[word]);
  });
});

test("maps of several words have the pixels of the command line", () => {
  const pixels = new Uint8ClampedArray(4 * SIZE);
  paintMaps(pixels, heats.slice(0, 3), constants.overlay_words_opacity);
  assertPaintedLike(pixels, vectors.words_overlay);
});

test("one map has the colors of notebooks", () => {
  const colors = decodeBytes(vectors.notebook.colors);
  assert.deepEqual(colorTable(), colors);
  heats.forEach((heat, word) => {
    const indices = decodeBytes(vectors.notebook.maps[word]);
    assert.deepEqual([...heat].map(colorIndex), [...indices]);
    const pixels = new Uint8ClampedArray(4 * SIZE);
    paintMap(pixels, heat, 1);
    indices.forEach((index, pixel) => {
      assert.deepEqual([...pixels.subarray(4 * pixel, 4 * pixel + 3)], [...colors.subarray(3 * index, 3 * index + 3)]);
    });
  });
});

test("a nearly constant map stays in the lower half of the colors", () => {
  assert.deepEqual(comparableScales([[0, 1], [0.25, 0.5], [0, 0.75]]), [[0, 1], [0.25, 0.75], [0, 0.75]]);
  assert.deepEqual(comparableScales([]), []);
});

test("a constant map is empty", () => {
  const field = new Float32Array([0.3, 0.3]);
  assert.deepEqual([...normalize(field, rangeOf(field))], [0, 0]);
});

test("visibility rises from 0 to 1", () => {
  const values = [0, 0.12, 0.3, 0.5, 0.75, 1].map(visibility);
  assert.deepEqual([values[0], values[1], values.at(-1)], [0, 0, 1]);
  assert.deepEqual(values, values.toSorted((a, b) => a - b));
});
