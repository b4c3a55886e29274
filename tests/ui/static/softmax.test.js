// Softmax of a row with other settings, and the cost of attention.
import assert from "node:assert/strict";
import { test } from "node:test";

import { matrixCost } from "../../../ui/promptweight_ui/static/block_diagram.js";
import { chosenShare, recordedWeight, softmaxRow } from "../../../ui/promptweight_ui/static/softmax.js";
import { formatPower } from "../../../ui/promptweight_ui/static/softmax_table.js";

const D = 4;
// Products ÷ √4 of log 1, log 2, and log 3 and log 4 in one line, so that the shares are 1, 2 and 7 of 10.
const LINES = [
  { chosen: false, probability: 0.1, product: 0, bias: 0 },
  { chosen: true, probability: 0.2, product: 2 * Math.log(2), bias: 0 },
  { chosen: false, probability: 0.7, products: [2 * Math.log(3), 2 * Math.log(4)], biases: [0, 0] },
];

function assertClose(actual, expected) {
  assert.equal(actual.length, expected.length);
  actual.forEach((value, index) => assert.ok(Math.abs(value - expected[index]) < 1e-12, `${actual} is not ${expected}`));
}

test("the recorded row has the shares of its logits", () => {
  const { shares, logits, logSum } = softmaxRow(LINES, D);
  assertClose(shares, [0.1, 0.2, 0.7]);
  assertClose(logits, [0, Math.log(2), Math.log(4)]);
  assertClose([logSum], [Math.log(10)]);
  assertClose([chosenShare(LINES, shares)], [0.2]);
});

test("a weight multiplies e^logit of the word and with it every share", () => {
  assertClose(softmaxRow(LINES, D, { weight: 5 }).shares, [1 / 18, 10 / 18, 7 / 18]);
  assertClose(softmaxRow(LINES, D, { weight: 0 }).shares, [1 / 8, 0, 7 / 8]);
  assertClose(softmaxRow(LINES, D, { weight: 1 }).shares, [0.1, 0.2, 0.7]);
});

test("a weight takes the place of the recorded one", () => {
  const lines = LINES.map((line) => (line.chosen ? { ...line, bias: Math.log(5) } : line));
  assertClose([recordedWeight(lines)], [5]);
  assertClose(softmaxRow(lines, D).shares, [1 / 18, 10 / 18, 7 / 18]);
  assertClose(softmaxRow(lines, D, { weight: 1 }).shares, [0.1, 0.2, 0.7]);
});

test("a bias of null is that of weight 0", () => {
  const lines = LINES.map((line) => (line.chosen ? { ...line, bias: null } : line));
  assert.equal(recordedWeight(lines), 0);
  assertClose(softmaxRow(lines, D).shares, [1 / 8, 0, 7 / 8]);
});

test("without the division by √d, and at half the temperature, the logits are doubled", () => {
  const squares = [1 / 30, 4 / 30, 25 / 30];
  assertClose(softmaxRow(LINES, D, { isScaled: false }).shares, squares);
  assertClose(softmaxRow(LINES, D, { temperature: 0.5 }).shares, squares);
});

test("large logits do not overflow", () => {
  const lines = [
    { chosen: true, probability: 1, product: 4000 },
    { chosen: false, probability: 0, product: 3998 },
  ];
  const { shares, logSum } = softmaxRow(lines, 1, { isScaled: false });
  assertClose(shares, [1 / (1 + Math.exp(-2)), 1 / (1 + Math.exp(2))]);
  assert.equal(formatPower(logSum), "1.71·10¹⁷³⁷");
  assert.equal(formatPower(Math.log(250)), "250");
  assert.equal(formatPower(-Infinity), "0");
});

test("twice the tokens cost four times as much", () => {
  assert.deepEqual(matrixCost(77), { numbers: 5929, bytes: 11858 });
  assert.deepEqual(matrixCost(4096), { numbers: 16777216, bytes: 33554432 });
});
