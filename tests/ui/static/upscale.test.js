// Lanczos resampling of small pictures.
import assert from "node:assert/strict";
import { test } from "node:test";

import { resample } from "../../../ui/promptweight_ui/static/upscale.js";

test("a flat picture stays flat", () => {
  const large = resample(new Uint8ClampedArray(4 * 3 * 2).fill(90), 3, 2, 9, 8);
  assert.equal(large.length, 4 * 9 * 8);
  assert.ok(large.every((value) => Math.abs(value - 90) < 1e-3));
});

test("edges keep their side", () => {
  const pixels = [0, 0, 0, 255, 255, 255].flatMap((value) => [value, value, value, 255]);
  const large = resample(pixels, 6, 1, 24, 1);
  assert.ok(large[0] < 20);
  assert.ok(large[4 * 23] > 235);
});
