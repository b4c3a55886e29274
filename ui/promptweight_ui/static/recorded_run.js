// Recorded run of the Explore tab: answers the requests of its components as the server does, without one.
//
// Python records inputs and matrices of the layers at one step (explore/recording.py); q, k, v and the softmax row
// of a patch are computed here. Recorded numbers have 16 bits, so results differ from the server's in the third digit.
import { decodeBytes } from "./heat_painting.js";
import { biasOf } from "./softmax.js";

const SHOWN_INPUTS = 64; // numbers of an input that are drawn, as in explore/projections.py
const SHOWN_OUTPUTS = 32;

/** Return the float16 numbers of a base64 text. */
export function decodeHalves(text) {
  const bytes = decodeBytes(text);
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 2 }, (_, index) => {
    const bits = view.getUint16(2 * index, true);
    const sign = bits & 0x8000 ? -1 : 1;
    const [exponent, fraction] = [(bits >> 10) & 0x1f, bits & 0x3ff];
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}

const dot = (one, other) => one.reduce((sum, value, index) => sum + value * other[index], 0);

/** Return the rows of a matrix that is stored row by row. */
const rowsOf = (values, width) => Array.from({ length: values.length / width }, (_, row) => values.subarray(row * width, (row + 1) * width));

/** Return e^z ÷ Σ e^z. */
function softmax(logits) {
  const highest = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - highest));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}

const rounded = (value, digits = 4) => Number(value.toPrecision(digits));
const vector = (values) => Array.from(values.slice(0, SHOWN_OUTPUTS), (value) => rounded(value));
const encodeBytes = (bytes) => btoa(String.fromCharCode(...bytes));

/** Return values from 0 on as bytes, and the value of 255. */
function mapValues(values) {
  const top = Math.max(...values);
  const bytes = values.map((value) => Math.round((value / Math.max(top, 1e-30)) * 255));
  return { values: encodeBytes(bytes), top, mean: values.reduce((sum, value) => sum + value, 0) / values.length };
}

/** Return a matrix as bytes: 128 is 0, and 1 and 255 are the largest distance from it. */
function matrixValues(matrix) {
  const numbers = matrix.slice(0, SHOWN_OUTPUTS).map((row) => row.subarray(0, SHOWN_INPUTS));
  const highest = Math.max(1e-30, ...numbers.flatMap((row) => Array.from(row, Math.abs)));
  const [rows, columns] = [numbers[0].length, numbers.length];
  const bytes = Array.from({ length: rows * columns }, (_, index) =>
    Math.round((numbers[index % columns][Math.floor(index / columns)] / highest) * 127 + 128),
  );
  return { values: encodeBytes(bytes), rows, columns };
}

export class RecordedRun {
  /** @param {any} data what `record_run` returns */
  constructor({ text, inside }) {
    this.text = text;
    this.inside = inside;
    this.states = rowsOf(decodeHalves(inside.states), inside.width);
    /** @type {Map<number, any>} */
    this.layers = new Map();
  }

  /** The vectors of `{token, stage}`. */
  vectors({ token, stage }) {
    return { ...this.text.vectors[token], similarity: this.text.similarity[stage] };
  }

  /** The attention matrix of `{layer, head, lifted}`. */
  matrix({ layer, head, lifted }) {
    const name = (index) => index ?? "None";
    return { matrix: this.text.matrices[`${name(layer)}-${name(head)}-${lifted ? "lifted" : "masked"}`] };
  }

  /** The maps of `{step, word}` in every layer and head. */
  wall({ step, word }) {
    return { wall: this.inside.maps[word][this.#frame(step)] };
  }

  /** The maps of `{layer, head, word}` at every recorded step. */
  film({ layer, head, word }) {
    return { frames: this.inside.maps[word].map((wall) => wall[layer].heads[head]) };
  }

  /** The images of `{scales}`, multiples of 1/2. */
  guidance({ scales }) {
    return { images: scales.map((scale) => this.inside.guidance[Math.round(2 * scale)]) };
  }

  /** All values of `{layer, head, step, word, patch}`. */
  values({ layer: index, head, step, word, patch }) {
    const layer = this.#layer(index);
    const { dimensions, bias, factors } = this.inside.layers[index];
    const [query, key, value] = ["query", "key", "value"].map((side) => layer[side].slice(head * dimensions, (head + 1) * dimensions));
    const project = (matrix, input) => matrix.map((row) => dot(row, input));
    const q = project(query, layer.image[patch]);
    const keys = this.states.map((state) => project(key, state));
    const v = this.states.map((state) => project(value, state));
    const products = keys.map((each) => dot(each, q));
    const shares = softmax(products.map((product, row) => product / Math.sqrt(dimensions) + biasOf(bias[row])));
    const contribution = (rows) => {
      const sum = new Array(dimensions).fill(0);
      for (const row of rows) v[row].forEach((number, place) => (sum[place] += shares[row] * factors[row] * number));
      return { probability: rows.reduce((total, row) => total + shares[row], 0), contribution: vector(sum) };
    };
    const chosen = this.inside.words[word];
    const { heads } = this.inside.maps[word][this.#frame(step)][index];
    const row = chosen[0];
    const side = (matrix, input, product) => ({
      input: Array.from(input.slice(0, SHOWN_INPUTS), (number) => rounded(number)),
      width: input.length,
      matrix: matrixValues(matrix),
      product: vector(product),
      biased: false,
    });
    return {
      map: heads[head],
      heads: heads.length > 1 ? heads : [],
      image: this.#imageAttention(index, head, patch),
      words: this.inside.words.map((rows) => rows.reduce((sum, each) => sum + shares[each], 0)),
      dimensions,
      table: this.#table(chosen, { products, bias, factors }, contribution),
      output: contribution(shares.map((_, each) => each)).contribution,
      query: vector(q),
      key: vector(keys[row]),
      projections: {
        normalized: false,
        query: side(query, layer.image[patch], q),
        key: side(key, this.states[row], keys[row]),
        value: side(value, this.states[row], v[row]),
      },
    };
  }

  // A line for each token, and one for all padding.
  #table(chosen, { products, bias, factors }, contribution) {
    const tokens = this.inside.tokens.filter(({ kind }) => kind !== "pad");
    const shown = new Set(tokens.map(({ row }) => row));
    const padding = products.map((_, row) => row).filter((row) => !shown.has(row));
    const lines = tokens.map(({ kind, text, row }) => ({
      kind,
      text,
      chosen: chosen.includes(row),
      product: products[row],
      bias: bias[row],
      factor: factors[row],
      ...contribution([row]),
    }));
    const rest = {
      kind: "pad",
      count: padding.length,
      chosen: false,
      products: padding.map((row) => products[row]),
      biases: padding.map((row) => bias[row]),
      ...contribution(padding),
    };
    return padding.length ? [...lines, rest] : lines;
  }

  #imageAttention(index, head, patch) {
    const { self } = this.#layer(index);
    const own = Math.min(head, self.query.length - 1);
    const root = Math.sqrt(self.dimensions);
    const logits = self.key[own].map((key) => dot(key, self.query[own][patch]) / root);
    return { map: mapValues(softmax(logits)), total: 1 };
  }

  #layer(index) {
    if (!this.layers.has(index)) {
      const { width, image, matrices, self } = this.inside.layers[index];
      const matrix = (side, columns) => rowsOf(decodeHalves(matrices[side]), columns);
      const byHead = (text) => {
        const values = decodeHalves(text);
        return rowsOf(values, values.length / self.heads).map((head) => rowsOf(head, self.dimensions));
      };
      this.layers.set(index, {
        image: rowsOf(decodeHalves(image), width),
        query: matrix("query", width),
        key: matrix("key", this.inside.width),
        value: matrix("value", this.inside.width),
        self: { dimensions: self.dimensions, query: byHead(self.query), key: byHead(self.key) },
      });
    }
    return this.layers.get(index);
  }

  #frame(step) {
    return this.inside.message.about.steps.indexOf(step);
  }
}
