// Explore: numbers as its pictures and sums write them, in the language of the page.
"use strict";
window.promptweight ??= {};
promptweight.explore ??= {};

promptweight.explore.numbers = (() => {
  const { language } = promptweight;
  const fixed = (value, digits) => {
    const settings = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    return value.toLocaleString(language.current() === "pt-br" ? "pt-BR" : "en-US", settings);
  };
  const percent = (value) => {
    const hundredths = value * 100;
    return `${fixed(hundredths, hundredths >= 9.95 ? 0 : hundredths >= 0.095 ? 1 : 2)}\u00a0%`;
  };
  const signed = (value) => fixed(value, Math.abs(value) >= 100 ? 0 : 2).replace("-", "−");

  return { percent, signed, fixed };
})();
