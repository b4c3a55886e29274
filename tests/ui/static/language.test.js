// Language of the page: texts, numbers and the first choice.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import {
  currentLanguage,
  formatFixed,
  formatNumber,
  formatPercent,
  initialLanguage,
  startLanguage,
  translate,
} from "../../../ui/promptweight_ui/static/language.js";
import { formatShare } from "../../../ui/promptweight_ui/static/softmax_table.js";

const TEXTS = { en: { step: "step {step} of {steps}" }, "pt-br": { step: "passo {step} de {steps}" } };

afterEach(() => startLanguage("en"));

test("the server's language comes before the browser's", () => {
  startLanguage("pt-br");
  assert.equal(initialLanguage(), "pt-br");
  assert.equal(currentLanguage(), "pt-br");
});

test("placeholders are filled in the current language", () => {
  startLanguage("pt-br");
  assert.equal(translate(TEXTS, "step", { step: 2, steps: 9 }), "passo 2 de 9");
  startLanguage("en");
  assert.equal(translate(TEXTS, "step", { step: 2 }), "step 2 of {steps}");
  assert.equal(translate(TEXTS, "missing"), "missing");
});

test("numbers have the decimal mark of the language", () => {
  startLanguage("pt-br");
  assert.equal(formatNumber(1.2345, 3), "1,23");
  assert.equal(formatFixed(2, 2), "2,00");
  startLanguage("en");
  assert.equal(formatPercent(0.1234), "12.3\u00a0%");
  assert.equal(formatPercent(0.01234), "1.2\u00a0%");
});

test("small shares have more decimals", () => {
  startLanguage("en");
  assert.deepEqual([0.5, 0.0123, 0.00012].map(formatShare), ["50\u00a0%", "1.2\u00a0%", "0.01\u00a0%"]);
});
