// Vectors as strips of colors: orange above 0, blue below, stronger further away.
import { element } from "./elements.js";
import { formatNumber } from "./language.js";

/** Return the largest distance from 0 in some lists of numbers. */
export const largest = (...lists) => Math.max(1e-9, ...lists.flat().map(Math.abs));

/**
 * Return a strip with one cell for each number.
 * @param {number[]} values
 * @param {number} highest the distance from 0 with the full color
 * @param {string} title
 */
export function strip(values, highest, title) {
  const cells = values.map((value) => {
    const strength = Math.round(100 * Math.min(1, Math.abs(value) / highest));
    const color = value < 0 ? "var(--pw-below)" : "var(--pw-above)";
    const background = `background:color-mix(in srgb, ${color} ${strength}%, transparent)`;
    return element("i", { style: background, title: formatNumber(value, 4) });
  });
  return element("span", { class: "pw-strip", role: "img", "aria-label": title }, ...cells);
}

/** Return a strip with its name before it and a text under it. */
export function vector(name, values, highest, text = "") {
  const shown = strip(values, highest, name);
  return element("div", { class: "pw-vector" }, element("b", {}, name), shown, element("span", {}, text));
}
