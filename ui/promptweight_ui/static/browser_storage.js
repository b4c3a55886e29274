// Values that the browser keeps between visits, where it lets a page store any.

/** @typedef {"localStorage" | "sessionStorage"} Kind for all tabs of the browser, or for one that is loaded again */

/**
 * Return a stored value; null where there is none, it is damaged, or the browser blocks storage.
 * @param {Kind} kind
 * @param {string} key
 */
export function readStored(kind, key) {
  try {
    return JSON.parse(globalThis[kind].getItem(key));
  } catch {
    return null;
  }
}

/**
 * Store a value; without storage, the next visit begins with the values of the server.
 * @param {Kind} kind
 * @param {string} key
 * @param {any} value
 */
export function writeStored(kind, key, value) {
  try {
    globalThis[kind].setItem(key, JSON.stringify(value));
  } catch {
    // full or blocked
  }
}
