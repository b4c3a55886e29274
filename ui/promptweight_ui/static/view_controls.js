// View controls under the picture: unit, layers, steps, opacity and downloads.
import { element, replaceKeepingFocus } from "./elements.js";

const asPercent = (value) => `${value} %`;

export class ViewControls {
  /**
   * @param {import("./picture_state.js").PictureState} state
   * @param {import("./language.js").Translate} translate
   * @param {{onChange: () => void, onDownload: (kind: string) => void}} handlers
   */
  constructor(state, translate, handlers) {
    this.state = state;
    this.translate = translate;
    this.handlers = handlers;
    this.root = element("div", { class: "pw-controls" });
  }

  update() {
    const { state } = this;
    if (!state.hasHeat) {
      this.root.replaceChildren();
      return;
    }
    const rows = [this.#toggles(), element("div", { class: "pw-sliders" }, ...this.#sliders())];
    if (!state.isRunning) rows.push(this.#downloads());
    replaceKeepingFocus(this.root, rows);
  }

  #sliders() {
    const { state } = this;
    const { groups, parts } = state.heatMaps.maps;
    const sliders = [
      this.#slider("opacity", [0, 100], 100 * state.opacity, asPercent, (value) => {
        state.chosenOpacity = value / 100;
      }),
    ];
    const choice = (name, values, all, label) =>
      this.#slider(
        name === "group" ? "layers" : "steps",
        [0, values.length],
        state[name] === null ? 0 : state[name] + 1,
        (value) => (value ? label(values[value - 1]) : this.translate(all)),
        (value) => (state[name] = value ? value - 1 : null),
      );
    if (groups.length > 1) sliders.push(choice("group", groups, "layers_default", (group) => this.#groupName(group)));
    if (parts.length > 1) sliders.push(choice("part", parts, "steps_all", partName));
    return sliders;
  }

  #groupName({ part, height, width }) {
    return `${this.translate(`layers_${part}`)} ${height}×${width}`;
  }

  #toggles() {
    const { state } = this;
    const toggle = (name, isPressed, act) =>
      element(
        "button",
        {
          type: "button",
          name,
          class: "pw-toggle",
          "aria-pressed": String(isPressed),
          onclick: () => {
            act();
            this.update();
            this.handlers.onChange();
          },
        },
        this.translate(name),
      );
    const units = ["probability", "share"].map((unit) =>
      toggle(unit, state.unit === unit, () => (state.unit = unit)),
    );
    const toggles = [
      element("div", { class: "pw-units", role: "group", "aria-label": this.translate("unit") }, ...units),
    ];
    if (state.heatMaps.maps.kinds.includes("refined")) {
      const isRefined = state.kind === "refined";
      toggles.push(toggle("refined", isRefined, () => (state.kind = isRefined ? "words" : "refined")));
    }
    if (state.pinned.length > 1) {
      toggles.push(toggle("together", state.isTogether, () => (state.isTogether = !state.isTogether)));
    }
    return element("div", { class: "pw-row" }, ...toggles);
  }

  #slider(name, [min, max], value, text, act) {
    const shown = element("output", {}, text(Math.round(value)));
    const input = element("input", {
      type: "range",
      name,
      min,
      max,
      step: 1,
      value: Math.round(value),
      "aria-label": this.translate(name),
      "aria-valuetext": shown.textContent,
      oninput: () => {
        act(Number(input.value));
        shown.textContent = text(Number(input.value));
        input.setAttribute("aria-valuetext", shown.textContent);
        this.handlers.onChange();
      },
    });
    return element("label", { class: "pw-slider" }, element("span", {}, this.translate(name)), input, shown);
  }

  #downloads() {
    const { state } = this;
    const button = (kind) => {
      const isMissing = kind !== "save" && !state.painted.length;
      const properties = {
        type: "button",
        class: "pw-button",
        name: kind,
        disabled: isMissing,
        title: isMissing ? this.translate("none_pinned") : "",
        onclick: () => this.handlers.onDownload(kind),
      };
      return element("button", properties, this.translate(kind));
    };
    return element(
      "div",
      { class: "pw-row pw-downloads" },
      element("span", {}, this.translate("download")),
      ...["save", "save_overlay", "save_mask"].map(button),
      this.#slider("threshold", [5, 95], 100 * state.threshold, asPercent, (value) => {
        state.threshold = value / 100;
      }),
    );
  }
}

/** Return the steps of a part, [first, end), counted from 1. */
function partName([first, end]) {
  return end - first === 1 ? String(end) : `${first + 1}–${end}`;
}
