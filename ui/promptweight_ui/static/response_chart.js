// Response charts under the comparison grid: mass and area of a word over the value that varies.
import { constants } from "./constants.js";
import { element } from "./elements.js";
import { decodeBytes } from "./heat_painting.js";
import { formatNumber, formatPercent } from "./language.js";

const SVG = "http://www.w3.org/2000/svg";
const LINE_COLORS = ["#f97316", "#3b82f6", "#22c55e", "#a855f7", "#ef4444", "#14b8a6", "#eab308", "#ec4899"];
const [WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM] = [360, 190, 46, 8, 30, 34];
const HEADROOM = 1.1; // of the axis above the highest value

/** Return the cell that others are compared with: that of weight 1, else the first. */
export function baseCell({ cells, columns, rows }) {
  const isBase = ({ column, row }) =>
    (columns.kind !== "weight" || columns.values[column] === 1) && (rows.kind !== "weight" || rows.values[row] === 1);
  return cells.find(isBase) ?? cells[0];
}

/** Return the highest heat of all pictures of the same model as a cell: the end of their common color scale. */
export function highestHeat({ cells, columns, rows }, cell) {
  const isSame = (each) =>
    (columns.kind !== "model" || each.column === cell.column) && (rows.kind !== "model" || each.row === cell.row);
  return Math.max(1e-12, ...cells.filter(isSame).map((each) => each.map?.top ?? 0));
}

/**
 * Return how much attention the word has on average in a cell ("mass"), or the part of the picture where its heat
 * exceeds the mask threshold of the base cell's highest heat, of its own model's among several models ("area"):
 * both 0 to 1.
 */
export function measure(message, cell, name) {
  if (name === "mass") return cell.mass;
  const isOneModel = ![message.columns.kind, message.rows.kind].includes("model");
  const base = baseCell(message);
  const highest = isOneModel && base.map ? base.map.top : highestHeat(message, cell);
  const limit = (constants.mask_threshold * 255 * highest) / Math.max(cell.map.top, 1e-12);
  const values = decodeBytes(cell.map.values);
  return values.filter((value) => value > limit).length / values.length;
}

/**
 * Return the charts of a comparison.
 * @param {any} message
 * @param {import("./language.js").Translate} translate
 * @param {{axis: (kind: string, value: any) => string, cell: (cell: any) => string}} labels
 */
export function responseCharts(message, translate, labels) {
  const { rows, word } = message;
  const charts = ["mass", "area"].map((name) => chart(message, name, translate, labels));
  const legend = element("div", { class: "pw-legend" });
  if (rows.kind !== "none") {
    rows.values.forEach((value, row) => {
      const dot = element("i", { style: `background:${LINE_COLORS[row % LINE_COLORS.length]}` });
      legend.append(element("span", {}, dot, labels.axis(rows.kind, value)));
    });
  }
  const title = element("h4", {}, translate("response_title", { word }));
  return element("section", { class: "pw-response" }, title, legend, element("div", { class: "pw-charts" }, ...charts));
}

function chart(message, name, translate, labels) {
  const { columns, rows, cells, word } = message;
  const points = cells.filter((cell) => cell.map).map((cell) => ({ cell, value: measure(message, cell, name) }));
  const isNumeric = columns.values.every((value) => typeof value === "number") && columns.kind !== "seed";
  const places = isNumeric ? columns.values : columns.values.map((_, index) => index);
  const [low, high] = [Math.min(...places), Math.max(...places)];
  const end = Math.max(1e-9, ...points.map(({ value }) => value)) * HEADROOM;
  const x = (column) => LEFT + 12 + ((WIDTH - LEFT - RIGHT) * (places[column] - low)) / Math.max(high - low, 1e-9);
  const y = (value) => TOP + (HEIGHT - BOTTOM - TOP) * (1 - value / end);
  const title = translate(`${name}_title`, { word });
  const about = { word, base: labels.cell(baseCell(message)) };
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title });
  for (const part of [0, 0.5, 1]) {
    const level = (end / HEADROOM) * part;
    svg.append(
      shape("line", { x1: LEFT, x2: WIDTH, y1: y(level), y2: y(level), class: "pw-rule" }),
      shape("text", { x: LEFT - 6, y: y(level) + 4, "text-anchor": "end" }, formatPercent(level)),
    );
  }
  columns.values.forEach((value, column) => {
    const isNumber = typeof value === "number" && columns.kind !== "seed";
    const text = isNumber ? formatNumber(value, 3) : String(value).replace("attention-", "");
    svg.append(shape("text", { x: x(column), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, text));
  });
  const axis = { x: (LEFT + WIDTH) / 2, y: HEIGHT - 3, "text-anchor": "middle", class: "pw-axis" };
  svg.append(shape("text", axis, translate(`kind_${columns.kind}`)));
  rows.values.forEach((_, row) => {
    const line = points
      .filter(({ cell }) => cell.row === row)
      .sort((one, other) => places[one.cell.column] - places[other.cell.column]);
    const color = LINE_COLORS[row % LINE_COLORS.length];
    if (isNumeric) {
      const path = line.map(({ cell, value }) => `${x(cell.column)},${y(value)}`).join(" ");
      svg.append(shape("polyline", { points: path, fill: "none", stroke: color, "stroke-width": 2.5 }));
    }
    for (const { cell, value } of line) {
      const dot = shape("circle", { cx: x(cell.column), cy: y(value), r: 4, fill: color });
      dot.append(shape("title", {}, `${labels.cell(cell)}: ${formatPercent(value)}`));
      svg.append(dot);
    }
  });
  const caption = element("figcaption", {}, element("b", {}, title), " ", translate(`${name}_text`, about));
  return element("figure", {}, caption, svg);
}

/**
 * Return a new SVG element.
 * @param {string} tag
 * @param {Record<string, any>} attributes
 * @param {string} [text]
 */
function shape(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}
