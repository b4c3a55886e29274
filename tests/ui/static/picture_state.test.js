// State of the picture: messages of a run, selected words and view settings.
import assert from "node:assert/strict";
import { test } from "node:test";

import { constants } from "../../../ui/promptweight_ui/static/constants.js";
import { PictureState, wordKey } from "../../../ui/promptweight_ui/static/picture_state.js";

const word = (text) => ({ text, weight: 1, occurrence: 0, punctuation: text === "," });

function message(texts = ["gato", ",", "rato"], state = "done") {
  const maps = { words: texts.map(word), groups: [{}], parts: [[0, 1]], kinds: ["words"], planes: [] };
  return { state, progress: null, warnings: ["x"], images: [{ size: [32, 32] }, { size: [32, 32] }], maps };
}

const running = { state: "running", progress: null, images: [], maps: null };

function received(...messages) {
  const state = new PictureState();
  for (const each of messages) state.receive(each);
  return state;
}

test("a run that begins keeps the images and drops the warnings", () => {
  const state = received(message(), running);
  assert.equal(state.isRunning, true);
  assert.equal(state.images.length, 2);
  assert.deepEqual(state.message.warnings, []);
});

test("a run that made nothing keeps the images", () => {
  const state = received(message(), running, { ...message(), state: "stopped", images: [], maps: null });
  assert.equal(state.message.isEmpty, true);
  assert.equal(state.images.length, 2);
  assert.deepEqual(state.words.map(({ text }) => text), ["gato", "rato"]);
});

test("the chosen image stays in range", () => {
  const state = received(message());
  state.image = 1;
  state.receive({ ...message(), images: [{ size: [32, 32] }] });
  assert.equal(state.image, 0);
});

test("painted words are the pinned ones, then the one under the pointer", () => {
  const state = received(message());
  const [cat, rat] = ["gato", "rato"].map((text) => wordKey(word(text)));
  state.pointed = rat;
  assert.deepEqual(state.painted.map(({ index }) => index), [2]);
  assert.equal(state.opacity, constants.overlay_opacity);
  state.togglePin(cat);
  assert.deepEqual(state.painted.map(({ index }) => index), [0, 2]);
  assert.equal(state.opacity, constants.overlay_words_opacity);
  assert.equal(new Set(state.colors.values()).size, 2);
  state.isTogether = true;
  assert.equal(state.opacity, constants.overlay_opacity);
  assert.equal(new Set(state.colors.values()).size, 1);
  state.chosenOpacity = 0.2;
  assert.equal(state.opacity, 0.2);
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
  assert.equal(state.message, null);
  assert.deepEqual([state.words, state.images, state.painted], [[], [], []]);
});
