// Form of the Generate tab, kept in the browser, so that a reload or a restart of the server loses nothing.
import { readStored, writeStored } from "./browser_storage.js";
import { initialLanguage } from "./language.js";

const FORM = "promptweight.form";
const TAB = "promptweight.tab";

// Gradio reports the values of the page itself before those of the last visit are there.
let isRestored = false;

/** @returns {Record<string, any>} */
function storedForm() {
  const form = readStored("localStorage", FORM);
  return form instanceof Object ? form : {};
}

/**
 * Store the values of the form.
 * @param {string[]} names
 * @param {any[]} values
 */
export function storeForm(names, values) {
  if (!isRestored) return;
  writeStored("localStorage", FORM, Object.fromEntries(names.map((name, index) => [name, values[index]])));
}

/**
 * Store a prompt while it is typed: Gradio reports no change after an event that the server did not answer.
 * @param {Event} event
 */
export function storeTyped({ target }) {
  if (!isRestored || !(target instanceof HTMLTextAreaElement)) return;
  for (const name of ["prompt", "negative"]) {
    if (!target.closest(`#generate-${name}`)) continue;
    writeStored("localStorage", FORM, { ...storedForm(), [name]: target.value });
  }
}

/**
 * Return the values of the form when the page opens: those of the last visit, else those of the server.
 * @param {string[]} names
 * @param {any[]} values of the server
 * @param {{models: string[], examples: Record<string, Record<string, any>>}} about the models that the server has
 *   now, and the first prompt and seed by language
 */
export function restoredForm(names, values, { models, examples }) {
  isRestored = true;
  const stored = storedForm();
  if (!models.includes(stored.model)) {
    for (const name of ["model", "sampler", "schedule"]) delete stored[name];
  }
  return names.map((name, index) => {
    const value = stored[name];
    const isSameKind = typeof value === typeof values[index] || value === null || values[index] === null;
    if (name in stored && isSameKind) return value;
    return examples[initialLanguage()]?.[name] ?? values[index];
  });
}

/** Return what the server takes to find the former result: the name of the tab, the prompt, and the language. */
export const arrival = () => [tabId(), storedForm().prompt ?? null, initialLanguage()];

// A random name of this tab of the browser, which a reload keeps.
function tabId() {
  const stored = readStored("sessionStorage", TAB);
  if (typeof stored === "string") return stored;
  const made = crypto.getRandomValues(new Uint32Array(4)).join("-");
  writeStored("sessionStorage", TAB, made);
  return made;
}
