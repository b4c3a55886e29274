// One softmax row computed again in the page, with another weight, another temperature, or without ÷ √d.

/**
 * @typedef {{chosen: boolean, probability: number, product?: number, bias?: number | null,
 *   products?: number[], biases?: (number | null)[]}} SoftmaxLine A line of the table: one key, or several that share a line.
 */

/**
 * Return the bias of a line: null, which JSON has for it, is that of weight 0.
 * @param {number | null | undefined} bias
 */
export const biasOf = (bias) => (bias === null ? -Infinity : (bias ?? 0));

/**
 * Return the softmax of a row.
 * @param {SoftmaxLine[]} lines
 * @param {number} dimensions the length d of a query
 * @param {{weight?: number | null, temperature?: number, isScaled?: boolean}} settings `weight`: that of the chosen
 *   lines, whose logarithm takes the place of their recorded bias; null keeps it
 * @returns {{shares: number[], logits: number[], logSum: number}} the share of each line, the largest logit of each,
 *   and the logarithm of the denominator
 */
export function softmaxRow(lines, dimensions, { weight = null, temperature = 1, isScaled = true } = {}) {
  const divisor = isScaled ? Math.sqrt(dimensions) : 1;
  const logits = lines.map((line) => {
    const products = line.products ?? [line.product];
    return products.map((product, index) => {
      const recorded = line.biases ? biasOf(line.biases[index]) : biasOf(line.bias);
      const bias = line.chosen && weight !== null ? Math.log(weight) : recorded;
      return (product / divisor + bias) / temperature;
    });
  });
  const highest = logits.flat().reduce((one, other) => Math.max(one, other), -Infinity);
  const sums = logits.map((each) => each.reduce((sum, logit) => sum + Math.exp(logit - highest), 0));
  const total = sums.reduce((sum, each) => sum + each, 0);
  return {
    shares: sums.map((each) => each / total),
    logits: logits.map((each) => each.reduce((one, other) => Math.max(one, other), -Infinity)),
    logSum: highest + Math.log(total),
  };
}

/** Return the weight that the recorded bias of the chosen lines is the logarithm of; 1 without one. */
export function recordedWeight(lines) {
  return Math.exp(biasOf(lines.find((line) => line.chosen)?.bias));
}

/** Return the summed share of the chosen lines. */
export function chosenShare(lines, shares) {
  return shares.reduce((sum, share, index) => sum + (lines[index].chosen ? share : 0), 0);
}
