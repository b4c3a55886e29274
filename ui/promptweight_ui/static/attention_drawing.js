// Drawing of the attention view: pickers, word chips, maps of the patches, bars, heads and the computation.
import { blockDiagram } from "./block_diagram.js";
import { element, replaceKeepingFocus } from "./elements.js";
import { GuidanceView } from "./guidance_view.js";
import { HeadWall } from "./head_wall.js";
import { formatNumber } from "./language.js";
import { paintPatches } from "./patch_map.js";
import { projectionCards } from "./projection_cards.js";
import { SoftmaxExperiment } from "./softmax_experiment.js";
import { formatShare, softmaxTable } from "./softmax_table.js";
import { sharpImage } from "./upscale.js";
import { WordFilm } from "./word_film.js";

const MAP_OPACITY = 0.9; // over the picture, so that its shapes stay visible between bright patches

export class AttentionDrawing {
  /**
   * @param {any} message
   * @param {import("./language.js").Translate} translate
   * @param {{onChange: (changes: any) => void, onPoint: (x: number, y: number) => void,
   *   onMove: (columns: number, rows: number) => void, request: (name: string, query: any) => Promise<any>}} handlers
   */
  constructor(message, translate, handlers) {
    this.message = message;
    this.translate = translate;
    this.handlers = handlers;
    this.error = element("p", { class: "pw-error", role: "status" });
    this.pickers = element("div", { class: "pw-pickers" });
    this.text = element("p", { class: "pw-hint", "aria-live": "polite", hidden: true });
    this.chips = element("div", { class: "pw-chips", role: "group", "aria-label": translate("words") });
    this.wordMap = this.#figure();
    this.imageMap = this.#figure();
    this.barTitle = element("h4", {});
    this.bars = element("div", { class: "pw-bars" });
    this.heads = element("div", { class: "pw-heads" });
    this.sums = element("div", { class: "pw-sums" });
    this.experiment = new SoftmaxExperiment(translate);
    this.projections = element("div", { class: "pw-sums", "data-tour": "qkv" });
    const { onChange, request } = handlers;
    this.wall = new HeadWall(message, translate, { onChange, request: (query) => request("wall", query) });
    this.film = new WordFilm(message, translate, { request: (query) => request("film", query) });
    this.guidance = new GuidanceView(message, translate, { request: (query) => request("guidance", query) });
    this.place = element("section", { class: "pw-try" });
    const caption = element("figcaption", {}, translate("bars_text"));
    const bars = element("figure", {}, this.barTitle, this.bars, caption);
    const figures = element("div", { class: "pw-figures", "data-tour": "cross" }, this.wordMap.box, this.imageMap.box, bars);
    const number = message.about.left_out;
    const leftOut = number ? [element("p", { class: "pw-hint" }, translate("left_out", { number }))] : [];
    /** @type {HTMLElement[]} */
    this.elements = [this.pickers, this.text, this.chips, ...leftOut, this.error, figures, this.heads];
    this.elements.push(this.wall.root, this.film.root, this.projections, this.sums, this.experiment.root, this.place);
    this.elements.push(this.guidance.root);
  }

  #figure() {
    const { image, sharp } = sharpImage({ src: this.message.image.src, alt: "" });
    const canvas = element("canvas", {
      class: "pw-grid",
      role: "img",
      tabIndex: 0,
      onkeydown: (event) => {
        const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
        if (!by) return;
        event.preventDefault();
        this.handlers.onMove(by[0], by[1]);
      },
    });
    const mark = element("div", { class: "pw-mark" });
    const point = (event) => {
      const box = stage.getBoundingClientRect();
      this.handlers.onPoint((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    };
    const listeners = { onpointerdown: point, onpointermove: (event) => event.buttons && point(event) };
    const stage = element("div", { class: "pw-patches", ...listeners }, image, sharp, canvas, mark);
    const title = element("h4", {});
    const caption = element("figcaption", {});
    return { canvas, mark, title, caption, box: element("figure", {}, title, stage, caption) };
  }

  /** Show the text of an error by its key; null for none. */
  showError(key) {
    this.error.textContent = key ? this.translate(key) : "";
  }

  /** Draw the answer of the server for a selection. */
  draw(selection, values, patch) {
    const layer = this.message.about.layers[selection.layer];
    const words = this.#words(selection);
    const word = words[selection.word]?.text ?? "";
    this.drawSelection(selection);
    this.#drawMap(this.wordMap, values.map, layer, patch, {
      title: this.translate("map_title", { word }),
      caption: this.translate("map_text", { most: formatShare(values.map.top), mean: formatShare(values.map.mean) }),
    });
    this.imageMap.box.hidden = !values.image;
    if (values.image) {
      this.#drawMap(this.imageMap, values.image.map, layer, patch, {
        title: this.translate("image_title"),
        caption: layer.joint
          ? this.translate("image_joint", { percent: formatShare(values.image.total) })
          : this.translate("image_cross"),
      });
    }
    this.#drawBars(values, words, selection.word);
    this.#drawHeads(values.heads, layer, selection.head, word);
    this.wall.show(selection, word);
    this.film.show(selection, word);
    this.guidance.show(selection);
    this.projections.replaceChildren(...projectionCards(values, word, this.translate));
    this.sums.replaceChildren(...softmaxTable(values, word, this.translate));
    this.experiment.show(values, word);
    this.#drawPlace(selection, layer);
  }

  // Where the layer is in the model, and what happens to the output of its heads.
  #drawPlace({ layer: index, step, head }, layer) {
    const { about, steps } = this.message;
    const values = { layer: index + 1, layers: about.layers.length, step: step + 1, steps, head: head + 1, heads: layer.heads };
    this.place.replaceChildren(
      element("h4", {}, this.translate("block_title")),
      blockDiagram(layer.joint, this.translate),
      element("p", {}, this.translate("block_here", { ...values, kind: this.translate(layer.joint ? "block_joint" : "block_cross") })),
      element("p", { class: "pw-hint" }, this.translate("block_text")),
    );
  }

  drawSelection(selection) {
    this.#drawPickers(selection);
    this.#drawChips(selection);
  }

  #words({ step }) {
    const { texts, text_at_step } = this.message.about;
    return texts[text_at_step[step]].words;
  }

  #drawMap(figure, map, layer, patch, { title, caption }) {
    figure.title.textContent = title;
    figure.caption.textContent = caption;
    figure.canvas.setAttribute("aria-label", title);
    paintPatches(figure.canvas, map, layer, MAP_OPACITY);
    const { rows, columns } = layer;
    Object.assign(figure.mark.style, {
      left: `${(100 * (patch % columns)) / columns}%`,
      top: `${(100 * Math.floor(patch / columns)) / rows}%`,
      width: `${100 / columns}%`,
      height: `${100 / rows}%`,
    });
  }

  #drawPickers(selection) {
    const { about, steps: total } = this.message;
    const { heads } = about.layers[selection.layer];
    const layers = about.layers.map((layer, index) => {
      const part = layer.part === "all" ? "" : `${this.translate(`part_${layer.part}`)} · `;
      return [index, `${index + 1} · ${part}${layer.columns}×${layer.rows}`];
    });
    const of = (index, number) => this.translate("of", { index: index + 1, number });
    const pickers = [this.#picker("layer", layers, selection)];
    if (heads > 1) {
      pickers.push(this.#picker("head", Array.from({ length: heads }, (_, index) => [index, of(index, heads)]), selection));
    }
    // A recorded run has the numbers of one step.
    if (about.fixed_step === undefined) pickers.push(this.#picker("step", about.steps.map((step) => [step, of(step, total)]), selection));
    replaceKeepingFocus(this.pickers, pickers);
  }

  #picker(name, options, selection) {
    const select = element("select", { name: `inside-${name}` });
    for (const [value, text] of options) select.append(element("option", { value: String(value) }, text));
    select.value = String(selection[name]);
    select.addEventListener("change", () => this.handlers.onChange({ [name]: Number(select.value) }));
    return element("label", {}, this.translate(name), select);
  }

  #drawChips(selection) {
    const { texts, text_at_step } = this.message.about;
    const { text } = texts[text_at_step[selection.step]];
    this.text.hidden = texts.length < 2;
    this.text.textContent = this.translate(this.message.joined ? "text_first" : "text_now", { text });
    const chips = this.#words(selection).flatMap((word, index) => {
      if (word.punctuation) return [];
      const weight = word.weight === 1 ? "" : formatNumber(Math.round(word.weight * 100) / 100, 4);
      const chip = element(
        "button",
        {
          type: "button",
          class: "pw-chip",
          name: `word-${index}`,
          "aria-pressed": String(index === selection.word),
          onclick: () => this.handlers.onChange({ word: index }),
        },
        element("span", { class: "pw-text" }, word.text),
        element("span", { class: "pw-weight" }, weight),
      );
      return [chip];
    });
    replaceKeepingFocus(this.chips, chips);
  }

  #drawBars(values, words, chosen) {
    this.barTitle.textContent = this.translate("bars_title");
    const bars = values.words.map((value, index) => ({ text: words[index].text, value, type: index === chosen ? " pw-chosen" : "" }));
    const totals = { bos: 0, eos: 0, pad: 0, image: 0 };
    for (const { kind, probability } of values.table) if (kind in totals) totals[kind] += probability;
    for (const [kind, value] of Object.entries(totals)) {
      if (value > 0) bars.push({ text: this.translate(`token_${kind}`), value, type: " pw-other" });
    }
    const highest = Math.max(1e-9, ...bars.map(({ value }) => value));
    const lines = bars.map(({ text, value, type }) => {
      const fill = element("span", { class: "pw-fill", style: `width:${(100 * value) / highest}%` });
      return element(
        "div",
        { class: `pw-line${type}` },
        element("span", { class: "pw-name", title: text }, text),
        element("span", { class: "pw-track" }, fill),
        element("span", { class: "pw-value" }, formatShare(value)),
      );
    });
    this.bars.replaceChildren(...lines);
  }

  #drawHeads(maps, layer, chosen, word) {
    if (!maps.length) {
      this.heads.replaceChildren(element("p", { class: "pw-hint" }, this.translate("one_head")));
      return;
    }
    const buttons = maps.map((map, index) => {
      const canvas = element("canvas", { class: "pw-small" });
      paintPatches(canvas, map, layer, 1);
      const label = element("span", {}, `${this.translate("head")} ${index + 1}`);
      const properties = {
        type: "button",
        "aria-pressed": String(index === chosen),
        onclick: () => this.handlers.onChange({ head: index }),
      };
      return element("button", properties, canvas, label);
    });
    this.heads.replaceChildren(
      element("h4", {}, this.translate("heads_title", { word })),
      element("div", { class: "pw-head-row" }, ...buttons),
      element("p", { class: "pw-hint" }, this.translate("heads_text")),
    );
  }
}
