// State of the picture: messages of a run, selected words and view settings.
import assert from "node:assert/strict";
import { test } from "node:test";

import { constants } from "../../../ui/promptweight_ui/static/constants.js";
import { PictureState, wordKey } from "../../../ui/promptweight_ui/static/picture_state.js";

const word = (text) => ({ text, weight: 1, occurrence: 0, punctuation: text === "," });

function message(texts = ["gato", ",", "rato"], state = "done") {
  const images = [{ size: [32, 32] }, { size: [32, 32] }];
  return { state, seconds: 1, warnings: ["x"], images, maps: mapsOf(texts) };
}

function mapsOf(texts) {
  return { words: texts.map(word), groups: [{}], parts: [[0, 1]], kinds: ["words"], planes: [] };
}

function running(image, changes = {}) {
  const progress = image && { image, images: 3, step: 1, steps: 2, left: null };
  return { state: "running", queue: null, progress, slow: null, finished: [], live: [], maps: null, ...changes };
}

function received(...messages) {
  const state = new PictureState();
  for (const each of messages) state.receive(each);
  return state;
}

test("a run that begins keeps the images", () => {
  const state = received(message(), running(null));
  assert.equal(state.isRunning, true);
  assert.equal(state.images.length, 2);
  assert.equal(state.hasHeat, true);
});

test("a run that was stopped before its first image keeps the images", () => {
  const state = received(message(), running(1), { state: "stopped", images: [], maps: null });
  assert.equal(state.isRunning, false);
  assert.equal(state.images.length, 2);
  assert.deepEqual(state.words.map(({ text }) => text), ["gato", "rato"]);
});

test("a run that failed keeps the images before it and tells the error", () => {
  const live = { live: [{ size: [8, 8] }], maps: mapsOf(["um"]) };
  const state = received(message(), running(1, live), { state: "failed", error: { en: "no", "pt-br": "não" } });
  assert.equal(state.isRunning, false);
  assert.equal(state.images.length, 2);
  assert.equal(state.error.en, "no");
  assert.equal(received(message(), running(1), { state: "failed", error: {} }, message()).error, null);
});

test("a run that failed keeps its finished images", () => {
  const made = [{ size: [8, 8], seed: "1" }];
  const state = received(message(), running(2, { finished: made }), { state: "failed", error: { en: "no" } });
  assert.deepEqual(state.images, made);
  assert.equal(state.hasHeat, false);
});

test("a step without a preview keeps the preview of its image", () => {
  const live = { live: [{ size: [8, 8] }], maps: mapsOf(["um"]) };
  const state = received(message(), running(1, live), running(1), running(null, { slow: 9 }));
  assert.deepEqual([state.images.length, state.run.slow, state.run.progress.image], [1, 9, 1]);
  assert.deepEqual(state.words.map(({ text }) => text), ["um"]);
  state.receive(running(2, { finished: [{ size: [8, 8] }] }));
  assert.deepEqual([state.images.length, state.hasHeat], [1, false]);
});

test("only the newest image has heat while others are made", () => {
  const live = { finished: [{ size: [8, 8] }], live: [{ size: [8, 8] }], maps: mapsOf(["um"]) };
  const state = received(running(2, live));
  assert.deepEqual([state.image, state.hasHeat, state.view.image], [1, true, 0]);
  state.chosenImage = 0;
  assert.equal(state.hasHeat, false);
});

test("the chosen image stays in range", () => {
  const state = received(message());
  state.chosenImage = 1;
  state.receive({ ...message(), images: [{ size: [32, 32] }] });
  assert.equal(state.image, 0);
});

test("painted words are the pinned ones, then the one under the pointer", () => {
  const state = received(message());
  const [cat, rat] = ["gato", "rato"].map((text) => wordKey(word(text)));
  state.pointed = rat;
  assert.deepEqual(state.paintedIndices, [2]);
  assert.equal(state.opacity, constants.overlay_opacity);
  state.togglePin(cat);
  assert.deepEqual(state.paintedIndices, [0, 2]);
  assert.equal(state.opacity, constants.overlay_words_opacity);
  assert.equal(new Set(state.colors.values()).size, 2);
  state.isTogether = true;
  assert.equal(state.opacity, constants.overlay_opacity);
  assert.equal(new Set(state.colors.values()).size, 1);
  state.chosenOpacity = 0.2;
  assert.equal(state.opacity, 0.2);
});

test("phrases come before words and are painted as one", () => {
  const content = message(["um", "gato", "vermelho", ",", "rato"]);
  content.maps.phrases = [[1, 2]];
  const state = received(content);
  assert.deepEqual(state.words.map(({ text }) => text), ["gato vermelho", "um", "gato", "vermelho", "rato"]);
  state.pointed = state.words[0].key;
  assert.deepEqual(state.paintedIndices, [1, 2]);
  assert.equal(state.isOneMap, true);
  state.togglePin(state.words[2].key);
  assert.deepEqual(state.paintedIndices, [1, 2]);
});

test("selected words that are gone are forgotten", () => {
  const state = received(message());
  state.togglePin(wordKey(word("gato")));
  state.togglePin(wordKey(word("rato")));
  state.receive(message(["um", "rato"]));
  state.forgetMissingWords();
  assert.deepEqual(state.pinned, [wordKey(word("rato"))]);
  assert.equal(state.activeWord.text, "rato");
});

test("no message is an empty state", () => {
  const state = received(null, "x");
  assert.equal(state.state, "empty");
  assert.deepEqual([state.words, state.images, state.painted], [[], [], []]);
});
