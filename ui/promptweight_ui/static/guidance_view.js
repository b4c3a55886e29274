// Guidance of the Explore tab: the predicted images of one step without the prompt, with it, and guided.
import { element } from "./elements.js";
import { formatNumber } from "./language.js";

const MAX_SCALE = 12;
const STEP = 0.5;

export class GuidanceView {
  /**
   * @param {any} message
   * @param {import("./language.js").Translate} translate
   * @param {{request: (query: any) => Promise<any>}} handlers
   */
  constructor(message, translate, handlers) {
    this.message = message;
    this.translate = translate;
    this.handlers = handlers;
    const { guidance_scale: scale } = message.about;
    this.recorded = Math.min(MAX_SCALE, scale);
    this.step = null;
    /** The scale whose image was requested last. */
    this.requested = null;
    this.isBusy = false;
    this.output = element("output", {});
    this.slider = element("input", {
      type: "range",
      name: "guidance-scale",
      min: 0,
      max: MAX_SCALE,
      step: STEP,
      value: String(this.recorded),
      "aria-label": translate("guidance_scale"),
      oninput: () => this.#move(),
    });
    this.images = ["unconditional", "conditional", "guided"].map((name) => {
      const image = element("img", { alt: translate(`guidance_${name}`) });
      return { image, figure: element("figure", {}, image, element("figcaption", {}, translate(`guidance_${name}`))) };
    });
    this.status = element("p", { class: "pw-hint", role: "status" });
    const slider = element("label", { class: "pw-slider" }, element("span", {}, translate("guidance_scale")), this.slider, this.output);
    this.parts = [
      element("div", { class: "pw-guidance" }, ...this.images.map(({ figure }) => figure)),
      slider,
      this.status,
      ...(message.about.fixed_step === undefined ? [element("p", { class: "pw-hint" }, translate("guidance_more"))] : []),
    ];
    this.body = element("div", { class: "pw-film-side" });
    this.root = element("section", { class: "pw-try", "data-tour": "guidance" }, element("h4", {}, translate("guidance_title")), element("p", {}, translate("guidance_text")), this.body);
    this.#write();
  }

  /** Show a step. */
  show({ step }) {
    if (step === this.step) return;
    this.step = step;
    if (!this.message.about.guided_steps.includes(step)) {
      this.body.replaceChildren(element("p", { class: "pw-hint" }, this.translate("guidance_none")));
      return;
    }
    this.body.replaceChildren(...this.parts);
    this.requested = null;
    this.#request([0, 1, Number(this.slider.value)]);
  }

  #move() {
    this.#write();
    this.#request([Number(this.slider.value)]);
  }

  #write() {
    const scale = Number(this.slider.value);
    this.output.textContent = formatNumber(scale, 3);
    this.slider.setAttribute("aria-valuetext", this.output.textContent);
    const recorded = formatNumber(this.message.about.guidance_scale, 3);
    const key = scale === 0 ? "guidance_at_0" : scale === 1 ? "guidance_at_1" : "guidance_at";
    this.status.textContent = this.translate(key, { g: this.output.textContent, recorded });
  }

  // One request at a time; when it is answered, the scale that the slider has by then is requested.
  async #request(scales) {
    if (this.isBusy) return;
    const { step } = this;
    this.isBusy = true;
    this.requested = scales.at(-1);
    const answer = await this.handlers.request({ step, scales }).catch(() => ({ error: "offline" }));
    this.isBusy = false;
    if (step !== this.step) {
      this.#request([0, 1, Number(this.slider.value)]);
      return;
    }
    if (!answer.images) {
      this.status.textContent = this.translate(answer.error);
      return;
    }
    answer.images.forEach((source, index) => (this.images[3 - answer.images.length + index].image.src = source));
    this.root.dataset.scale = String(this.requested);
    if (Number(this.slider.value) !== this.requested) this.#request([Number(this.slider.value)]);
  }
}
