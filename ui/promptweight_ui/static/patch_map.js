// Map of patches: one cell per patch, without smoothing.
import { paintPixels } from "./elements.js";
import { decodeBytes, normalize, paintMap, rangeOf } from "./heat_painting.js";

/**
 * Paint a map of the server.
 * @param {HTMLCanvasElement} canvas
 * @param {{values: string, top: number}} map
 * @param {{rows: number, columns: number}} layer
 * @param {number} opacity 0..1
 * @param {number | null} highest the value with the full color, from 0; null for a scale of the map's own
 */
export function paintPatches(canvas, map, { rows, columns }, opacity, highest = null) {
  const values = Float32Array.from(decodeBytes(map.values), (value) => (value * map.top) / 255);
  const heat = normalize(values, highest === null ? rangeOf(values) : [0, highest]);
  paintPixels(canvas, columns, rows, (pixels) => paintMap(pixels, heat, opacity));
}
