// Film of the Explore tab: the map of the selected word at each recorded step.
import { element } from "./elements.js";
import { paintPatches } from "./patch_map.js";
import { formatShare } from "./softmax_table.js";
import { sharpImage } from "./upscale.js";

const FRAME = 220; // milliseconds
const MAP_OPACITY = 0.9;

export class WordFilm {
  /**
   * @param {any} message
   * @param {import("./language.js").Translate} translate
   * @param {{request: (query: any) => Promise<any>}} handlers
   */
  constructor(message, translate, handlers) {
    this.message = message;
    this.translate = translate;
    this.handlers = handlers;
    this.shown = "";
    this.frame = 0;
    this.frames = [];
    this.timer = 0;
    const { image, sharp } = sharpImage({ src: message.image.src, alt: "" });
    this.canvas = element("canvas", { class: "pw-grid", role: "img" });
    this.title = element("h4", {});
    this.button = element("button", { type: "button", class: "pw-button", name: "film-play", onclick: () => this.#press() });
    this.output = element("output", {});
    this.slider = element("input", {
      type: "range",
      name: "film-step",
      min: 0,
      max: message.about.steps.length - 1,
      step: 1,
      "aria-label": translate("step"),
      oninput: () => {
        this.#stop();
        this.#set(Number(this.slider.value));
      },
    });
    this.text = element("p", { class: "pw-hint" });
    const stage = element("div", { class: "pw-patches" }, image, sharp, this.canvas);
    const slider = element("label", { class: "pw-slider" }, element("span", {}, translate("film_step")), this.slider, this.output);
    const side = element("div", { class: "pw-film-side" }, slider, this.button, this.text, element("p", { class: "pw-hint" }, translate("film_text")));
    this.root = element("section", { class: "pw-try pw-film", "data-tour": "steps" }, this.title, element("div", { class: "pw-film-two" }, stage, side));
    this.#nameButton();
  }

  /** Show the film of a selection; it is requested where layer, head or word are others. */
  async show({ layer, head, step, word }, text) {
    const about = this.message.about.layers[layer];
    const key = JSON.stringify([layer, head, word, text]);
    this.title.textContent = this.translate("film_title", { word: text, layer: layer + 1, head: head + 1 });
    if (key === this.shown) return;
    this.shown = key;
    this.#stop();
    const answer = await this.handlers.request({ layer, head, step, word }).catch(() => ({}));
    if (key !== this.shown) return;
    const isShort = (answer.frames?.length ?? 0) < 2;
    this.root.hidden = isShort;
    if (isShort) return;
    this.layer = about;
    this.frames = answer.frames;
    this.highest = Math.max(1e-9, ...this.frames.map((frame) => frame?.top ?? 0));
    const steps = this.message.about.steps;
    this.#set(Math.max(0, steps.indexOf(step)));
  }

  #set(frame) {
    this.frame = frame;
    const { about, steps: number } = this.message;
    const map = this.frames[frame];
    const step = this.translate("of", { index: about.steps[frame] + 1, number });
    this.slider.value = String(frame);
    this.slider.setAttribute("aria-valuetext", step);
    this.output.textContent = step;
    this.canvas.setAttribute("aria-label", `${this.title.textContent} ${step}`);
    this.canvas.hidden = !map;
    if (map) paintPatches(this.canvas, map, this.layer, MAP_OPACITY, this.highest);
    this.text.textContent = map
      ? this.translate("film_now", { most: formatShare(map.top), mean: formatShare(map.mean) })
      : this.translate("film_absent");
  }

  // With reduced motion nothing plays by itself: each press shows the next step.
  #press() {
    if (isStill()) this.#advance();
    else if (this.timer) this.#stop();
    else {
      if (this.frame === this.frames.length - 1) this.#set(0);
      this.timer = window.setInterval(() => this.#play(), FRAME);
      this.#nameButton();
    }
  }

  #play() {
    if (!this.root.isConnected || this.frame >= this.frames.length - 1) this.#stop();
    else this.#advance();
  }

  #advance() {
    this.#set((this.frame + 1) % this.frames.length);
  }

  #stop() {
    window.clearInterval(this.timer);
    this.timer = 0;
    this.#nameButton();
  }

  #nameButton() {
    this.button.textContent = this.translate(isStill() ? "film_next" : this.timer ? "film_pause" : "film_play");
  }
}

const isStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
