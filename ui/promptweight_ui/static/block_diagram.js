// Block diagram of a transformer block, with the place of the selected layer, and the costs of attention.
import { element } from "./elements.js";
import { formatNumber } from "./language.js";

const BLOCKS = {
  cross: ["norm", "self", "residual", "norm", "cross", "concat", "residual", "norm", "mlp", "residual"],
  joint: ["norm", "joint", "concat", "residual", "norm", "mlp", "residual"],
};

export const CHUNK = 77; // tokens of a CLIP text encoder's chunk
export const LARGE = 4096; // patches of Stable Diffusion 1.5 at 512 × 512 pixels: 64 × 64 latents

/**
 * Return the blocks in the order in which the data passes them; the attention that is shown is marked.
 * @param {boolean} isJoint
 * @param {import("./language.js").Translate} translate
 */
export function blockDiagram(isJoint, translate) {
  const here = isJoint ? "joint" : "cross";
  const items = BLOCKS[here].map((name) =>
    element("li", name === here ? { "aria-current": "true" } : {}, element("span", {}, translate(`block_${name}`))),
  );
  return element("ol", { class: "pw-blocks", "aria-label": translate("block_title") }, ...items);
}

/**
 * Return the size of one head's attention matrix among n tokens: its numbers, and its memory in half precision.
 * @param {number} n
 */
export function matrixCost(n) {
  return { numbers: n * n, bytes: 2 * n * n };
}

/**
 * Return a table of the costs of self-attention.
 * @param {[string, number][]} rows names and numbers of tokens
 * @param {import("./language.js").Translate} translate
 */
export function costTable(rows, translate) {
  const head = element("tr", {}, ...["tokens", "n", "square", "memory"].map((key) => element("th", { scope: "col" }, translate(`cost_${key}`))));
  const lines = rows.map(([name, n]) => {
    const { numbers, bytes } = matrixCost(n);
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, name),
      ...[n, numbers].map((value) => element("td", {}, formatNumber(value, 12))),
      element("td", {}, formatBytes(bytes)),
    );
  });
  return element("table", { class: "pw-costs" }, head, ...lines);
}

function formatBytes(bytes) {
  const unit = bytes < 1024 ? 0 : bytes < 2 ** 20 ? 1 : 2;
  return `${formatNumber(bytes / 1024 ** unit, 3)}\u00a0${["B", "KiB", "MiB"][unit]}`;
}
