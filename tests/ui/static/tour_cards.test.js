// Tour: its cards have all texts in both languages, its numbers are those of the page, its progress survives bad data.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { NOTEBOOKS, notebookPath } from "../../../ui/promptweight_ui/static/notebooks.js";
import { startLanguage } from "../../../ui/promptweight_ui/static/language.js";
import { CARDS, liveValues, restoredProgress, rightGuesses, storedProgress } from "../../../ui/promptweight_ui/static/tour_cards.js";

const ROOT = new URL("../../../", import.meta.url);
const strings = (language) => JSON.parse(readFileSync(new URL(`ui/promptweight_ui/strings/${language}.json`, ROOT), "utf8"));
const close = (value, expected) => assert.ok(Math.abs(value - expected) < 1e-9, `${value} is not ${expected}`);
const card = (name) => CARDS.find((each) => each.name === name);

// Three keys whose softmax with d = 4 is 1/2, 1/4 and twice 1/8: q·k ÷ 2 is the logarithm of the share.
const line = (share, more = {}) => ({ kind: "text", chosen: false, probability: share, product: 2 * Math.log(share), contribution: [0.1, -0.3], ...more });
const ATTENTION = {
  values: {
    dimensions: 4,
    table: [
      line(1 / 4, { kind: "bos" }),
      line(1 / 2, { chosen: true, text: "cat" }),
      { kind: "pad", count: 2, chosen: false, probability: 1 / 4, products: [2 * Math.log(1 / 8), 2 * Math.log(1 / 8)] },
    ],
    output: [0.2, -0.9],
    heads: [{ top: 0.5 }, { top: 0.25 }],
    projections: { key: { width: 128 }, query: { width: 64 } },
  },
  selection: { step: 12 },
  steps: 25,
  word: "cat",
  keys: 4,
  layer: { joint: false, rows: 16, columns: 8 },
  scale: 4.5,
};
const shown = (changes = {}) => ({ vectors: null, text: null, attention: { ...ATTENTION, ...changes } });

test("a card has its texts in both languages, and no text is without a card", () => {
  for (const language of ["en", "pt-br"]) {
    const texts = Object.keys(strings(language)).filter((key) => /^tour_[a-z]+_(title|text|question|choice_\d|answer|live|live_joint|live_fixed)$/.test(key));
    const expected = CARDS.flatMap(({ name, choices }) => [
      ...["title", "text", "question", "answer", "live"].map((part) => `tour_${name}_${part}`),
      ...Array.from({ length: choices }, (_, index) => `tour_${name}_choice_${index + 1}`),
    ]);
    assert.deepEqual(texts.sort(), [...expected, "tour_cross_live_joint", "tour_steps_live_fixed"].sort());
  }
});

test("every card has two to four choices, one of them right", () => {
  assert.ok(CARDS.length >= 10 && CARDS.length <= 15);
  assert.equal(new Set(CARDS.map(({ name }) => name)).size, CARDS.length);
  for (const { choices, right } of CARDS) assert.ok(choices >= 2 && choices <= 4 && right >= 0 && right < choices);
});

test("the placeholders of a text are values of its card", () => {
  const text = {
    matrix: [[1, 0, 0], [0.7, 0.3, 0], [0.5, 0.3, 0.2]],
    labels: [{ kind: "bos" }, { kind: "text" }, { kind: "text" }],
    names: ["⟨start⟩", "red", "cat"],
    isMasked: true,
  };
  const answer = { selection: { token: 1 }, embedding: [0.5], position: [0.25], sum: [0.75] };
  const all = { ...shown(), text, vectors: { answer, names: text.names, d: 8 } };
  for (const language of ["en", "pt-br"]) {
    for (const each of CARDS) {
      const values = liveValues(each, all);
      const names = strings(language)[`tour_${each.name}_live`].matchAll(/\{(\w+)\}/g);
      for (const [, name] of names) assert.ok(name in values, `${each.name}: ${name}`);
    }
  }
});

test("no numbers without a section, without a selected word, or without the mask", () => {
  for (const each of CARDS) assert.equal(liveValues(each, { vectors: null, text: null, attention: null }), null);
  const table = ATTENTION.values.table.map((each) => ({ ...each, chosen: false }));
  for (const each of CARDS.filter(({ part }) => part === "attention")) {
    assert.equal(liveValues(each, shown({ values: { ...ATTENTION.values, table } })), null);
  }
  const text = { matrix: [[1, 0], [0.5, 0.5]], labels: [{ kind: "text" }, { kind: "text" }], names: ["a", "b"], isMasked: false };
  assert.equal(liveValues(card("mask"), { text }), null);
});

test("the shares of softmax and weight are those of the formula", () => {
  close(liveValues(card("softmax"), shown()).share_word, 1 / 2);
  const { share_before, share_after } = liveValues(card("weight"), shown());
  close(share_before, 1 / 2);
  close(share_after, 1 / (1 + 1 / 2)); // 2p ÷ (1 + p)
});

test("the numbers of a computation are those of the table", () => {
  const { signed_product, signed_scaled, root } = liveValues(card("root"), shown());
  close(root, 2);
  close(signed_product, 2 * Math.log(1 / 2));
  close(signed_scaled, Math.log(1 / 2));
  const { part, total } = liveValues(card("values"), shown());
  assert.deepEqual([part, total], [0.3, 0.9]);
  close(liveValues(card("limits"), shown()).share_rest, 1 / 2);
  assert.deepEqual(liveValues(card("cost"), { text: { labels: [1, 2, 3] } }), { n: 3, square: 9, double: 6, fourfold: 36 });
});

test("a joint layer has a text of its own", () => {
  const table = [...ATTENTION.values.table, { kind: "image", count: 4, chosen: false, probability: 0.4, products: [0, 0, 0, 0] }];
  const values = liveValues(card("cross"), shown({ layer: { joint: true }, values: { ...ATTENTION.values, table } }));
  assert.deepEqual(values, { key: "cross_live_joint", share_image: 0.4 });
});

test("stored progress is restored, and damaged progress begins anew", () => {
  const progress = { card: 3, guesses: { tokens: 2, root: 0 } };
  assert.deepEqual(restoredProgress(JSON.parse(JSON.stringify(storedProgress(progress)))), progress);
  for (const stored of [null, 3, "cost", [], { card: 7, guesses: null }, { card: "gone", guesses: { tokens: 9, root: "1", other: 0 } }]) {
    assert.deepEqual(restoredProgress(stored), { card: 0, guesses: {} });
  }
  assert.equal(rightGuesses(progress), 1);
});

test("every notebook is in the repository", () => {
  for (const language of ["en", "pt-br"]) {
    startLanguage(language);
    for (const key of Object.keys(NOTEBOOKS)) assert.ok(existsSync(new URL(notebookPath(key), ROOT)), notebookPath(key));
  }
  for (const { notebook } of CARDS) assert.ok(!notebook || notebook in NOTEBOOKS);
});
