// Controls that move one softmax row: the weight of the word, the temperature, and ÷ √d.
import { element } from "./elements.js";
import { formatFixed, formatNumber } from "./language.js";
import { notebookNote } from "./notebooks.js";
import { chosenShare, recordedWeight, softmaxRow } from "./softmax.js";
import { formatPower, formatShare, formatSigned } from "./softmax_table.js";

const MAX_WEIGHT = 3;
const TEMPERATURE_RANGE = 2; // the temperature is 2 to the power of −2 to 2

export class SoftmaxExperiment {
  /** @param {import("./language.js").Translate} translate */
  constructor(translate) {
    this.translate = translate;
    this.title = element("h4", {});
    this.weight = this.#slider("weight", 0, MAX_WEIGHT, 0.05, (value) => formatFixed(value, 2));
    this.temperature = this.#slider("temperature", -TEMPERATURE_RANGE, TEMPERATURE_RANGE, 0.1, (value) =>
      formatNumber(2 ** value, 3),
    );
    this.scaled = element("input", { type: "checkbox", name: "try-scaled", checked: true, onchange: () => this.#draw() });
    const scaled = element("label", { class: "pw-check" }, this.scaled, translate("try_scaled"));
    const reset = element(
      "button",
      { type: "button", class: "pw-button", name: "try-reset", onclick: () => this.#reset() },
      translate("try_reset"),
    );
    this.answer = element("p", { class: "pw-readout", role: "status" });
    this.formula = element("div", { class: "pw-formula" });
    this.slope = element("p", { class: "pw-hint" });
    this.bars = element("div", { class: "pw-bars" });
    const controls = element("div", { class: "pw-try-controls" }, this.weight.label, this.temperature.label, scaled, reset);
    const left = element("div", { class: "pw-explain" }, controls, this.answer, this.formula, this.slope);
    const text = element("p", { class: "pw-hint" }, translate("try_text"));
    const two = element("div", { class: "pw-try-two" }, left, this.bars);
    this.root = element("section", { class: "pw-try", "data-tour": "weight" }, this.title, text, two, notebookNote("word_weight", translate));
  }

  #slider(name, min, max, step, format) {
    const output = element("output", {});
    const input = element("input", { type: "range", name: `try-${name}`, min, max, step, oninput: () => this.#draw() });
    const text = element("span", {});
    const label = element("label", { class: "pw-slider" }, text, input, output);
    const write = () => {
      output.textContent = format(Number(input.value));
      input.setAttribute("aria-valuetext", output.textContent);
    };
    return { input, label, text, write };
  }

  /**
   * Show the row of another selection as it was recorded.
   * @param {any} values the answer of the server
   * @param {string} word the selected word
   */
  show(values, word) {
    this.values = values;
    this.word = word;
    this.title.textContent = this.translate("try_title");
    this.weight.text.textContent = this.translate("try_weight", { word });
    this.temperature.text.textContent = this.translate("try_temperature");
    for (const { input, label } of [this.weight, this.temperature]) input.setAttribute("aria-label", label.firstChild.textContent);
    this.root.hidden = !values.table.some((line) => line.chosen);
    this.#reset();
  }

  #reset() {
    this.weight.input.value = String(Math.min(MAX_WEIGHT, recordedWeight(this.values.table)));
    this.temperature.input.value = "0";
    this.scaled.checked = true;
    this.isMoved = false;
    this.#draw(true);
  }

  #draw(isReset = false) {
    const { table: lines, dimensions } = this.values;
    if (!lines.some((line) => line.chosen)) return;
    this.weight.write();
    this.temperature.write();
    const weight = isReset || !this.#isWeightMoved() ? null : Number(this.weight.input.value);
    const settings = { weight, temperature: 2 ** Number(this.temperature.input.value), isScaled: this.scaled.checked };
    const before = softmaxRow(lines, dimensions);
    const after = softmaxRow(lines, dimensions, settings);
    this.#write(chosenShare(lines, before.shares), chosenShare(lines, after.shares), settings, after.shares);
    const { logits, logSum } = after;
    const index = lines.findIndex((line) => line.chosen);
    this.formula.textContent =
      `p = e^z ÷ Σ e^z = e^${formatSigned(logits[index])} ÷ e^${formatSigned(logSum)} = ` +
      `${formatPower(logits[index])} ÷ ${formatPower(logSum)} = ${formatShare(after.shares[index])}`;
    this.#drawBars(before.shares, after.shares);
  }

  // A recorded weight beyond the range of the slider, or between its steps, counts as it was recorded.
  #isWeightMoved() {
    const start = Math.min(MAX_WEIGHT, recordedWeight(this.values.table));
    return Math.abs(Number(this.weight.input.value) - start) > Number(this.weight.input.step) * 0.51;
  }

  #write(before, after, { weight, temperature, isScaled }, shares) {
    const values = { word: this.word, before: formatShare(before), after: formatShare(after) };
    const isOnlyWeight = weight !== null && temperature === 1 && isScaled;
    const isRecorded = weight === null && temperature === 1 && isScaled;
    const key = isRecorded ? "try_recorded" : isOnlyWeight ? "try_moved" : "try_changed";
    const factor = formatNumber((1 - after) / Math.max(1e-12, 1 - before), 3);
    this.answer.textContent = this.translate(key, { ...values, factor, top: formatShare(Math.max(...shares)) });
    this.slope.textContent = this.translate("try_slope", { slope: formatFixed(after * (1 - after), 3) });
  }

  #drawBars(before, after) {
    const lines = this.values.table;
    const highest = Math.max(1e-9, ...before, ...after);
    const bars = lines.map((line, index) => {
      const name = line.kind === "text" ? line.text : this.translate(`token_${line.kind}`);
      const bar = (share, type) => element("span", { class: `pw-fill ${type}`, style: `width:${(100 * share) / highest}%` });
      return element(
        "div",
        { class: `pw-line${line.chosen ? " pw-chosen" : line.kind === "text" ? "" : " pw-other"}` },
        element("span", { class: "pw-name", title: name }, line.count > 1 ? `${name} ×${line.count}` : name),
        element("span", { class: "pw-track pw-pair" }, bar(before[index], "pw-before"), bar(after[index], "")),
        element("span", { class: "pw-value" }, formatShare(after[index])),
      );
    });
    this.bars.replaceChildren(element("p", { class: "pw-hint" }, this.translate("try_bars")), ...bars);
  }
}
