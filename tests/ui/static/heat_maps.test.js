// Attention maps composed in the page: the choice of planes, units, and the enlargement of Python.
import assert from "node:assert/strict";
import { test } from "node:test";

import { addEnlarged, HeatMaps } from "../../../ui/promptweight_ui/static/heat_maps.js";
import { vectors } from "./vectors.js";

const encode = (bytes) => Buffer.from(bytes).toString("base64");

const VIEW = { image: 0, kind: "words", unit: "probability", group: null, part: null };

/** Maps of two words and a comma on a grid of 1 × 2, in two groups of layers and two parts of the steps. */
function payload() {
  const plane = (group, part, maps) => ({
    image: 0, kind: "words", group, part, height: 1, width: 2, layers: 1, steps: 1, scales: [1, 1, 1],
    maps: encode(maps), total: encode([255, 255]), top: 2,
  });
  const group = (name, isDefault) => ({ part: name, height: 1, width: 2, default: { words: isDefault } });
  return {
    words: ["gato", "rato", ","].map((text) => ({ text, weight: 1, occurrence: 0, punctuation: text === "," })),
    groups: [group("up", true), group("down", false)],
    parts: [[0, 1], [1, 2]],
    kinds: ["words"],
    planes: [
      plane(0, 0, [255, 0, 0, 255, 255, 255]),
      plane(0, 1, [0, 255, 0, 255, 255, 255]),
      plane(1, 0, [255, 255, 0, 0, 255, 255]),
    ],
  };
}

const close = (value, expected) => assert.ok(Math.abs(value - expected) < 1e-5, `${value} is not ${expected}`);

test("maps are enlarged as in Python", () => {
  const small = Float32Array.from(vectors.fields[0]);
  for (const { size: [height, width], values } of vectors.enlarged) {
    const large = new Float32Array(width * height);
    addEnlarged(small, vectors.width, vectors.height, large, width, height, 1);
    large.forEach((value, pixel) => close(value, values[pixel]));
  }
});

test("the default view takes the default layers and all steps", () => {
  const maps = new HeatMaps(payload(), [32, 16]);
  close(maps.mean(VIEW, [0]), 0.5);
  close(maps.mean(VIEW, [1]), 0.5);
});

test("a view of one group and one part takes only their planes", () => {
  const maps = new HeatMaps(payload(), [32, 16]);
  close(maps.mean({ ...VIEW, group: 1 }, [0]), 1);
  close(maps.mean({ ...VIEW, group: 1 }, [1]), 0);
  const [first] = maps.composed({ ...VIEW, part: 0 }).fields;
  assert.ok(first[0] > 0.99);
  assert.ok(first[maps.width - 1] < 0.01);
});

test("shares are fractions of the sum over all words", () => {
  const maps = new HeatMaps(payload(), [32, 16]);
  close(maps.mean({ ...VIEW, unit: "share" }, [1]), 0.25);
});

test("words at a point are ranked without punctuation", () => {
  const maps = new HeatMaps(payload(), [32, 16]);
  const ranked = maps.wordsAt({ ...VIEW, part: 0 }, 0.99, 0.5);
  assert.deepEqual(ranked.map(({ word }) => word), [1, 0]);
});

test("the heat of several words is that of their sum", () => {
  const maps = new HeatMaps(payload(), [32, 16]);
  const heat = maps.heat({ ...VIEW, part: 0 }, [0, 1]); // 1 - x and x: constant
  assert.ok(Math.max(...heat) < 1e-6);
});

test("the size keeps the shape of the picture", () => {
  const { width, height } = new HeatMaps(payload(), [512, 256]);
  assert.deepEqual([width, height], [160, 80]);
});

test("views of many words do not fill the memory of the page", () => {
  const maps = new HeatMaps(payload(), [32, 16]);
  maps.words = maps.words.concat(Array.from({ length: 700 }, () => maps.words[2]));
  for (const part of [0, 1, null]) maps.composed({ ...VIEW, part });
  assert.equal(maps.cache.size, 1);
  const few = new HeatMaps(payload(), [32, 16]);
  for (const part of [0, 1, null]) few.composed({ ...VIEW, part });
  assert.equal(few.cache.size, 3);
});
