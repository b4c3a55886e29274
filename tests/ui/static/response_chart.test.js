// Measures of a comparison and the difference of two pictures.
import assert from "node:assert/strict";
import { test } from "node:test";

import { pixelDifference } from "../../../ui/promptweight_ui/static/difference_view.js";
import { highestHeat, measure } from "../../../ui/promptweight_ui/static/response_chart.js";

const cell = (values, top, mass = 0.1) => ({ mass, map: { values: Buffer.from(values).toString("base64"), top } });

test("area is measured against the highest heat of all pictures", () => {
  const cells = [cell([255, 255, 0, 0], 0.2), cell([255, 110, 100, 0], 0.5)];
  const highest = highestHeat(cells);
  assert.equal(highest, 0.5);
  assert.deepEqual(cells.map((each) => measure(each, "area", highest)), [0, 0.5]);
  assert.equal(measure(cells[0], "mass", highest), 0.1);
});

test("pictures without maps have no heat", () => {
  assert.equal(highestHeat([{ mass: 0 }]), 1e-12);
});

test("the difference of two pixels is the mean over their colors", () => {
  const field = pixelDifference([0, 0, 0, 255, 10, 10, 10, 255], [255, 255, 255, 255, 10, 10, 10, 0]);
  assert.deepEqual([...field], [1, 0]);
});
