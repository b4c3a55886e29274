// Cards of the tour through the Explore tab: one idea each, with a question, and the numbers of the page for it.
import { chosenShare, recordedWeight, softmaxRow } from "./softmax.js";
import { largest } from "./vector_strip.js";

/**
 * @typedef {object} Card
 * @property {string} name the texts of the card are `<name>_title`, `_text`, `_question`, `_choice_<number>` and `_answer`
 * @property {import("./explored.js").Part} part the component that shows the idea
 * @property {string} target selector of the section
 * @property {number} choices
 * @property {number} right the index of the right choice
 * @property {string} [notebook] the notebook that continues here
 * @property {(shown: any) => Live | null} live numbers of what the component shows
 */

/**
 * @typedef {Record<string, number | string | number[] | string[]>} Live values of the text `<name>_live`, or of the text
 *   that their `key` names
 */

const READ_TOKENS = 12; // tokens that a card lists

const row = (shown) => shown.values.table.find((line) => line.chosen);

/** Return the share of a kind of rows, such as "pad", in the softmax of the framed patch. */
function shareOf(shown, ...kinds) {
  const lines = shown.values.table.filter(({ kind }) => kinds.includes(kind));
  return lines.reduce((sum, { probability }) => sum + probability, 0);
}

/** @type {Card[]} */
export const CARDS = [
  {
    name: "tokens",
    part: "vectors",
    target: "#explore-vectors .pw-chips",
    choices: 3,
    right: 2,
    notebook: "attention",
    live: ({ names }) => ({ n: names.length, list: [...names.slice(0, READ_TOKENS), ...(names.length > READ_TOKENS ? ["…"] : [])] }),
  },
  {
    name: "vectors",
    part: "vectors",
    target: "#explore-vectors .pw-strips",
    choices: 3,
    right: 1,
    live: ({ answer, names, d }) =>
      answer.position && {
        token: names[answer.selection.token],
        d,
        signed_e: answer.embedding[0],
        signed_p: answer.position[0],
        signed_x: answer.sum[0],
      },
  },
  {
    name: "mask",
    part: "text",
    target: "#explore-text .pw-matrix",
    choices: 3,
    right: 1,
    notebook: "kinds",
    live: ({ matrix, labels, names, isMasked }) => {
      const first = labels.findIndex(({ kind }) => kind === "text");
      if (!isMasked || labels[first + 1]?.kind !== "text") return null;
      return {
        one: names[first],
        two: names[first + 1],
        share_later: matrix[first][first + 1],
        share_earlier: matrix[first + 1][first],
      };
    },
  },
  {
    name: "cost",
    part: "text",
    target: "#explore-text .pw-costs",
    choices: 3,
    right: 1,
    live: ({ labels }) => ({ n: labels.length, square: labels.length ** 2, double: 2 * labels.length, fourfold: 4 * labels.length ** 2 }),
  },
  {
    name: "cross",
    part: "attention",
    target: "[data-tour=cross]",
    choices: 3,
    right: 0,
    notebook: "kinds",
    live: (shown) =>
      shown.layer.joint
        ? { key: "cross_live_joint", share_image: shareOf(shown, "image") }
        : { columns: shown.layer.columns, rows: shown.layer.rows, keys: shown.keys },
  },
  {
    name: "qkv",
    part: "attention",
    target: "[data-tour=qkv]",
    choices: 3,
    right: 2,
    notebook: "attention",
    live: ({ values: { projections, dimensions }, word }) =>
      projections && { word, n: projections.key.width, patch: projections.query.width, d: dimensions },
  },
  {
    name: "product",
    part: "attention",
    target: "[data-tour=product]",
    choices: 3,
    right: 2,
    notebook: "attention",
    live: (shown) => ({ word: shown.word, signed_product: row(shown).product, d: shown.values.dimensions }),
  },
  {
    name: "root",
    part: "attention",
    target: "[data-tour=root]",
    choices: 3,
    right: 1,
    notebook: "attention",
    live: (shown) => {
      const root = Math.sqrt(shown.values.dimensions);
      const { product } = row(shown);
      return { word: shown.word, signed_product: product, root, d: shown.values.dimensions, signed_scaled: product / root };
    },
  },
  {
    name: "softmax",
    part: "attention",
    target: "[data-tour=softmax]",
    choices: 3,
    right: 0,
    notebook: "attention",
    live: ({ values, word, keys }) => {
      const { shares } = softmaxRow(values.table, values.dimensions);
      return { word, share_word: chosenShare(values.table, shares), keys };
    },
  },
  {
    name: "weight",
    part: "attention",
    target: "[data-tour=weight]",
    choices: 3,
    right: 1,
    notebook: "word_weight",
    live: ({ values, word }) => {
      const weight = recordedWeight(values.table);
      const share = (settings) => chosenShare(values.table, softmaxRow(values.table, values.dimensions, settings).shares);
      return weight > 0 ? { word, share_before: share({}), share_after: share({ weight: 2 * weight }) } : null;
    },
  },
  {
    name: "values",
    part: "attention",
    target: "[data-tour=values]",
    choices: 3,
    right: 2,
    notebook: "attention",
    live: (shown) => ({
      word: shown.word,
      share_word: row(shown).probability,
      part: largest(row(shown).contribution),
      total: largest(shown.values.output),
    }),
  },
  {
    name: "heads",
    part: "attention",
    target: "[data-tour=heads]",
    choices: 3,
    right: 0,
    notebook: "kinds",
    live: ({ values, word }) => values.heads.length > 1 && { word, n: values.heads.length, shares: values.heads.map(({ top }) => top) },
  },
  {
    name: "steps",
    part: "attention",
    target: "[data-tour=steps]",
    choices: 3,
    right: 0,
    notebook: "weighting",
    live: ({ steps, selection, isFixed }) => ({ step: selection.step + 1, steps, ...(isFixed && { key: "steps_live_fixed" }) }),
  },
  {
    name: "guidance",
    part: "attention",
    target: "[data-tour=guidance]",
    choices: 3,
    right: 1,
    live: ({ scale }) => scale > 0 && { g: scale },
  },
  {
    name: "limits",
    part: "attention",
    target: "#explore-limits",
    choices: 2,
    right: 1,
    notebook: "honest_maps",
    live: (shown) => ({ share_rest: shareOf(shown, "bos", "eos", "pad"), word: shown.word, share_word: row(shown).probability }),
  },
];

/**
 * Return the numbers of the page for a card; null where the page shows none.
 * @param {Card} card
 * @param {Record<string, any>} shown the answers by component, as of `explored`
 * @returns {Live | null}
 */
export function liveValues(card, shown) {
  const of = shown[card.part];
  const isComplete = of && (card.part !== "attention" || row(of));
  return (isComplete && card.live(of)) || null;
}

/**
 * @typedef {{card: number, guesses: Record<string, number>}} Progress the open card, and the guesses by the name of the card
 */

/**
 * Return the progress that the browser stored, without anything that the cards do not have.
 * @param {any} stored
 * @returns {Progress}
 */
export function restoredProgress(stored) {
  const card = Math.max(0, CARDS.findIndex(({ name }) => name === stored?.card));
  const guesses = {};
  for (const { name, choices } of CARDS) {
    const guess = stored?.guesses?.[name];
    if (Number.isInteger(guess) && guess >= 0 && guess < choices) guesses[name] = guess;
  }
  return { card, guesses };
}

/**
 * Return progress in the form in which the browser stores it; cards may move, so a card is stored by its name.
 * @param {Progress} progress
 */
export const storedProgress = ({ card, guesses }) => ({ card: CARDS[card].name, guesses });

/** Return the number of right guesses. */
export const rightGuesses = ({ guesses }) => CARDS.filter(({ name, right }) => guesses[name] === right).length;
