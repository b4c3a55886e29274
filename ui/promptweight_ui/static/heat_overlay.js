// Heat overlay: the painted words over the picture, and the words at one point of it.
import { element, paintPixels } from "./elements.js";
import { paintMap, paintMaps } from "./heat_painting.js";
import { formatPercent } from "./language.js";

const MAX_RANKED = 5;
const KEY_STEP = 1 / 16; // of the picture's side

export class HeatOverlay {
  /**
   * @param {import("./picture_state.js").PictureState} state
   * @param {HTMLElement} stage the element that holds the picture
   * @param {import("./language.js").Translate} translate
   */
  constructor(state, stage, translate) {
    this.state = state;
    this.translate = translate;
    this.point = [0.5, 0.5];
    /** Whether the painted words have no place in the image that is visible. */
    this.isFaint = false;
    this.canvas = element("canvas", {
      class: "pw-heat",
      tabIndex: 0,
      role: "img",
      onblur: () => this.hideRanking(),
      onkeydown: (event) => this.#keyPressed(event),
    });
    this.cross = element("div", { class: "pw-cross", hidden: true });
    this.ranking = element("div", { class: "pw-here", "aria-live": "polite" });
    stage.addEventListener("pointermove", (event) => this.#pointed(event));
    stage.addEventListener("pointerdown", (event) => this.#pointed(event));
    stage.addEventListener("pointerleave", () => this.hideRanking());
  }

  paint() {
    const { state, canvas } = this;
    const { heatMaps, hasHeat, painted } = state;
    const words = painted.map((word) => word.text).join(", ");
    canvas.setAttribute("aria-label", words ? this.translate("heat", { words }) : this.translate("pixels"));
    this.isFaint = false;
    if (!hasHeat) {
      Object.assign(canvas, { width: 1, height: 1 });
      return;
    }
    paintPixels(canvas, heatMaps.width, heatMaps.height, (pixels) => {
      if (!painted.length) return;
      if (state.isOneMap) paintMap(pixels, state.paintedHeat, state.opacity);
      else paintMaps(pixels, painted.map((word) => heatMaps.heat(state.view, word.indices)), state.opacity);
      this.isFaint = !pixels.some((value, place) => place % 4 === 3 && value > 0);
    });
  }

  #pointed(event) {
    const edges = this.canvas.getBoundingClientRect();
    this.showRanking((event.clientX - edges.left) / edges.width, (event.clientY - edges.top) / edges.height);
  }

  /** List the strongest words at a point; x and y are 0..1 from the left and the top. */
  showRanking(x, y) {
    const { heatMaps, hasHeat, view } = this.state;
    if (!hasHeat) return;
    this.point = [x, y].map((value) => Math.min(1, Math.max(0, value)));
    this.cross.hidden = false;
    this.cross.style.left = `${100 * this.point[0]}%`;
    this.cross.style.top = `${100 * this.point[1]}%`;
    const ranked = heatMaps.wordsAt(view, this.point[0], this.point[1]).slice(0, MAX_RANKED);
    const highest = Math.max(ranked[0]?.value ?? 0, 1e-12);
    const rows = ranked.map(({ word, value }) => {
      const bar = element("span", { class: "pw-rank" }, heatMaps.words[word].text);
      bar.style.setProperty("--part", `${(100 * value) / highest}%`);
      return element("li", {}, bar, element("span", { class: "pw-value" }, formatPercent(value, 2)));
    });
    this.ranking.replaceChildren(element("h4", {}, this.translate("here")), element("ol", {}, ...rows));
  }

  hideRanking() {
    this.cross.hidden = true;
    const hint = this.state.hasHeat ? [element("span", { class: "pw-hint" }, this.translate("pixels"))] : [];
    this.ranking.replaceChildren(...hint);
  }

  /** Write the hint in the present language, unless a ranking is shown. */
  updateHint() {
    if (this.cross.hidden || !this.state.hasHeat) this.hideRanking();
  }

  #keyPressed(event) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!move || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.showRanking(this.point[0] + move[0] * KEY_STEP, this.point[1] + move[1] * KEY_STEP);
  }
}
