// Form of the Generate tab in the storage of a browser.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { startLanguage } from "../../../ui/promptweight_ui/static/language.js";

const NAMES = ["prompt", "model", "sampler", "schedule", "steps", "width"];
const SERVED = ["", "mini", "own", "default", 25, null];
const ABOUT = { models: ["mini", "mini-dit"], examples: { en: { prompt: "a red cat" }, "pt-br": { prompt: "um gato vermelho" } } };

class FakeStorage {
  items = new Map();
  getItem(key) {
    return this.items.get(key) ?? null;
  }
  setItem(key, value) {
    this.items.set(key, value);
  }
}

class BlockedStorage {
  getItem() {
    throw new Error("denied");
  }
  setItem() {
    throw new Error("denied");
  }
}

// The settings of a browser may also forbid to name its storage.
function forbidStorage() {
  for (const name of ["localStorage", "sessionStorage"]) {
    Object.defineProperty(globalThis, name, {
      configurable: true,
      get() {
        throw new Error("denied");
      },
    });
  }
}

function allowStorage() {
  for (const name of ["localStorage", "sessionStorage"]) {
    Object.defineProperty(globalThis, name, { configurable: true, writable: true, value: new FakeStorage() });
  }
}

let visits = 0;

// A page that opens: its module begins anew, the storage is the browser's.
function open() {
  return import(`../../../ui/promptweight_ui/static/form_store.js?${++visits}`);
}

beforeEach(() => {
  allowStorage();
  startLanguage("en");
});

test("the first visit has the example of the language and the values of the server", async () => {
  const page = await open();
  assert.deepEqual(page.restoredForm(NAMES, SERVED, ABOUT), ["a red cat", ...SERVED.slice(1)]);
  assert.equal(page.arrival()[1], null);
  const about = { models: [], examples: { en: { prompt: "a red cat", seed: 2 } } };
  assert.deepEqual(page.restoredForm(["seed", "prompt", "steps"], [1, "", 25], about), [2, "a red cat", 25]);
});

test("values are there again after a reload, also an empty prompt", async () => {
  const before = await open();
  before.restoredForm(NAMES, SERVED, ABOUT);
  for (const prompt of ["um gato azul", ""]) {
    const values = [prompt, "mini-dit", "Euler", "Karras", 7, "64"];
    before.storeForm(NAMES, values);
    const after = await open();
    assert.deepEqual(after.restoredForm(NAMES, SERVED, ABOUT), values);
    assert.equal(after.arrival()[1], prompt);
  }
});

test("values that Gradio reports before the stored ones are there are not stored", async () => {
  const before = await open();
  before.restoredForm(NAMES, SERVED, ABOUT);
  before.storeForm(NAMES, ["um gato azul", ...SERVED.slice(1)]);
  const after = await open();
  after.storeForm(NAMES, SERVED);
  assert.equal(after.restoredForm(NAMES, SERVED, ABOUT)[0], "um gato azul");
});

test("a model that the server no longer offers is dropped with its sampler and schedule", async () => {
  const before = await open();
  before.restoredForm(NAMES, SERVED, ABOUT);
  before.storeForm(NAMES, ["um gato", "gone", "Euler", "Karras", 7, null]);
  const after = await open();
  assert.deepEqual(after.restoredForm(NAMES, SERVED, ABOUT), ["um gato", "mini", "own", "default", 7, null]);
});

test("damaged, foreign and blocked values leave those of the server", async () => {
  for (const text of ["{", "null", "3", '"text"', JSON.stringify({ prompt: 3, steps: "25", model: ["mini"] })]) {
    localStorage.setItem("promptweight.form", text);
    const page = await open();
    assert.deepEqual(page.restoredForm(NAMES, SERVED, ABOUT), ["a red cat", ...SERVED.slice(1)]);
  }
  const block = () => Object.assign(globalThis, { localStorage: new BlockedStorage(), sessionStorage: new BlockedStorage() });
  for (const deny of [block, forbidStorage]) {
    deny();
    const page = await open();
    assert.deepEqual(page.restoredForm(NAMES, SERVED, ABOUT), ["a red cat", ...SERVED.slice(1)]);
    page.storeForm(NAMES, SERVED);
    assert.match(page.arrival()[0], /^\d+(-\d+){3}$/);
  }
});

test("a tab keeps its name, and another tab has another one", async () => {
  const [name] = (await open()).arrival();
  assert.equal((await open()).arrival()[0], name);
  Object.assign(globalThis, { sessionStorage: new FakeStorage() });
  assert.notEqual((await open()).arrival()[0], name);
});
