// What the Explore tab shows: the latest answers of its components, for the tour.

/** @typedef {"vectors" | "text" | "attention"} Part A component of the tab. */

/** @type {Record<Part, any>} */
const parts = { vectors: null, text: null, attention: null };
const listeners = new Set();

/** Return the answers by component; null for a component without one. */
export const explored = () => parts;

/**
 * Store what a component shows from now on.
 * @param {Part} name
 * @param {any} value null while it shows no numbers
 */
export function publish(name, value) {
  if (parts[name] === value) return;
  parts[name] = value;
  for (const listener of listeners) listener();
}

/**
 * Call `listener` after every change.
 * @param {() => void} listener
 */
export function onExplored(listener) {
  listeners.add(listener);
}
