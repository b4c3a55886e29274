// Language of the page: texts, and numbers as each language writes them.
import { readStored, writeStored } from "./browser_storage.js";

const STORED = "promptweight.language";
const LANGUAGES = ["en", "pt-br"];

/** @typedef {Record<string, Record<string, string>>} Texts Texts by language and key. */
/** @typedef {(key: string, values?: Record<string, any>) => string} Translate */

let served = null;
let current = "en";
const listeners = new Set();

/** Return the first language of the page: the stored choice, else the server's, else the browser's. */
export function initialLanguage() {
  const choice = readStored("localStorage", STORED);
  if (LANGUAGES.includes(choice)) return choice;
  return served ?? ((navigator.language || "en").toLowerCase().startsWith("pt") ? "pt-br" : "en");
}

/**
 * Set the language before Gradio has set its switch, for everything that is drawn until then.
 * @param {string | null} language the language that the server was started with
 */
export function startLanguage(language) {
  served = language;
  current = initialLanguage();
}

/** Store a choice made with the switch. */
export function storeLanguage(language) {
  writeStored("localStorage", STORED, language);
}

/** Change the language of the page. */
export function setLanguage(language) {
  if (!language) return;
  current = language;
  document.documentElement.lang = locale("en");
  for (const listener of listeners) listener();
}

/** Call `listener` after every change of the language. */
export function onLanguageChange(listener) {
  listeners.add(listener);
}

export function currentLanguage() {
  return current;
}

function locale(english = "en-US") {
  return current === "pt-br" ? "pt-BR" : english;
}

/**
 * Return a text of the current language with its {placeholders} filled.
 * @param {Texts} texts
 * @param {string} key
 * @param {Record<string, any>} values
 */
export function translate(texts, key, values = {}) {
  const text = (texts[current] ?? texts.en)[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/**
 * Return `translate` for one set of texts.
 * @param {Texts} texts
 * @returns {Translate}
 */
export const translator = (texts) => (key, values) => translate(texts, key, values);

/** Return a number with at most `digits` significant digits. */
export function formatNumber(value, digits) {
  return value.toLocaleString(locale(), { maximumSignificantDigits: digits });
}

/** Return a number with exactly `digits` decimals. */
export function formatFixed(value, digits) {
  return value.toLocaleString(locale(), { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** Return a fraction as a percentage with at most `digits` significant digits. */
export function formatPercent(value, digits = value >= 0.1 ? 3 : 2) {
  return `${formatNumber(value * 100, digits)}\u00a0%`;
}
