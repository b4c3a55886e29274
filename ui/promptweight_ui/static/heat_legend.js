// Legend of the heat: the color scale of the painted words, from the lowest to the highest attention.
import { element } from "./elements.js";
import { colorTable } from "./heat_painting.js";
import { formatPercent } from "./language.js";

const STOPS = 12;

function gradient() {
  const colors = colorTable();
  const stops = Array.from({ length: STOPS + 1 }, (_, stop) => {
    const color = 3 * Math.round((255 * stop) / STOPS);
    return `rgb(${colors[color]} ${colors[color + 1]} ${colors[color + 2]})`;
  });
  return `linear-gradient(to right, ${stops.join(", ")})`;
}

export class HeatLegend {
  constructor() {
    this.low = element("span", {});
    this.high = element("span", {});
    const scale = element("span", { class: "pw-scale", style: `background: ${gradient()}` });
    this.root = element("div", { class: "pw-legend-row", hidden: true }, this.low, scale, this.high);
  }

  /** @param {import("./picture_state.js").PictureState} state */
  update(state) {
    const { hasHeat, painted, isOneMap } = state;
    this.root.hidden = !(hasHeat && painted.length && isOneMap);
    if (this.root.hidden) return;
    const [low, high] = state.heatMaps.scale(state.view, state.paintedIndices);
    this.low.textContent = formatPercent(Math.max(0, low), 2);
    this.high.textContent = formatPercent(high, 2);
  }
}
