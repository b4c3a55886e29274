// Measures of a comparison and the difference of two pictures.
import assert from "node:assert/strict";
import { test } from "node:test";

import { pixelDifference } from "../../../ui/promptweight_ui/static/difference_view.js";
import { baseCell, highestHeat, measure } from "../../../ui/promptweight_ui/static/response_chart.js";

const NONE = { kind: "none", values: [null] };

function cell(column, values, top) {
  return { row: 0, column, mass: 0.1, map: { values: Buffer.from(values).toString("base64"), top } };
}

function grid(kind, values, cells) {
  return { columns: { kind, values }, rows: NONE, cells };
}

test("area is measured against the heat of the base", () => {
  const cells = [cell(0, [255, 255, 0, 0], 0.2), cell(1, [255, 110, 100, 0], 0.5)];
  const message = grid("weight", [0, 1], cells);
  assert.equal(highestHeat(message, cells[0]), 0.5);
  assert.deepEqual(cells.map((each) => measure(message, each, "area")), [0, 0.5]);
  assert.equal(measure(message, cells[0], "mass"), 0.1);
});

test("area is measured against the heat of its own model among several", () => {
  const cells = [cell(0, [255, 255, 0, 0], 0.2), cell(1, [255, 110, 100, 0], 0.5)];
  const message = grid("model", ["a", "b"], cells);
  assert.deepEqual(cells.map((each) => measure(message, each, "area")), [0.5, 0.5]);
});

test("each model has a color scale of its own", () => {
  const cells = [cell(0, [255], 0.2), cell(1, [255], 0.5)];
  const message = grid("model", ["a", "b"], cells);
  assert.deepEqual(cells.map((each) => highestHeat(message, each)), [0.2, 0.5]);
});

test("pictures are compared with that of weight 1, else with the first", () => {
  const cells = [cell(2, [255], 0.2), cell(1, [255], 0.5)];
  assert.equal(baseCell(grid("weight", [0, 1, 2], cells)), cells[1]);
  assert.equal(baseCell(grid("weight", [0, 3, 2], cells)), cells[0]);
  assert.equal(baseCell(grid("seed", [1, 2, 3], cells)), cells[0]);
});

test("pictures without maps have no heat", () => {
  const plain = { row: 0, column: 0, mass: 0 };
  assert.equal(highestHeat(grid("weight", [1], [plain]), plain), 1e-12);
});

test("the difference of two pixels is the mean over their colors", () => {
  const field = pixelDifference([0, 0, 0, 255, 10, 10, 10, 255], [255, 255, 255, 255, 10, 10, 10, 0]);
  assert.deepEqual([...field], [1, 0]);
});
