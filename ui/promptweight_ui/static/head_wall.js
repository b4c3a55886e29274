// Wall of the Explore tab: the maps of the selected word in every layer and head.
import { element } from "./elements.js";
import { paintPatches } from "./patch_map.js";

export class HeadWall {
  /**
   * @param {any} message
   * @param {import("./language.js").Translate} translate
   * @param {{request: (query: any) => Promise<any>, onChange: (changes: any) => void}} handlers
   */
  constructor(message, translate, handlers) {
    this.message = message;
    this.translate = translate;
    this.handlers = handlers;
    this.shown = "";
    this.title = element("h4", {});
    this.rows = element("div", { class: "pw-wall", role: "group" });
    const text = element("p", { class: "pw-hint" }, translate("wall_text"));
    this.root = element("section", { class: "pw-heads", "data-tour": "heads" }, this.title, element("div", { class: "pw-scroll" }, this.rows), text);
  }

  /** Show the maps of a selection; they are requested where the step or the word is another. */
  async show({ layer, head, step, word }, text) {
    const query = { step, word };
    const key = JSON.stringify(query);
    this.selected = `${layer}-${head}`;
    this.title.textContent = this.translate("wall_title", { word: text });
    this.rows.setAttribute("aria-label", this.title.textContent);
    if (key === this.shown) {
      this.#mark();
      return;
    }
    this.shown = key;
    const answer = await this.handlers.request(query).catch(() => ({}));
    if (key !== this.shown) return;
    this.root.hidden = !answer.wall;
    if (answer.wall) this.#draw(answer.wall);
  }

  #draw(wall) {
    const lines = wall.map(({ layer: index, heads }) => {
      const layer = this.message.about.layers[index];
      const name = `${this.translate("layer")} ${index + 1} · ${layer.columns}×${layer.rows}`;
      const buttons = heads.map((map, head) => {
        const canvas = element("canvas", { class: "pw-small" });
        paintPatches(canvas, map, layer, 1);
        return element(
          "button",
          {
            type: "button",
            "data-place": `${index}-${head}`,
            "aria-label": `${name}, ${this.translate("head")} ${head + 1}`,
            title: `${name}, ${this.translate("head")} ${head + 1}`,
            onclick: () => this.handlers.onChange({ layer: index, head }),
          },
          canvas,
        );
      });
      return element("div", { class: "pw-wall-row" }, element("span", {}, name), element("div", { class: "pw-head-row" }, ...buttons));
    });
    this.rows.replaceChildren(...lines);
    this.#mark();
  }

  #mark() {
    for (const button of this.rows.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.getAttribute("data-place") === this.selected));
    }
  }
}
