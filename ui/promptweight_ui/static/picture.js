// Picture component: the picture with heat over it, chips of phrases and words, and the controls of both.
import { download, downloadMask, downloadOverlay, fileName } from "./downloads.js";
import { element, fileUrl, replaceKeepingFocus } from "./elements.js";
import { HeatLegend } from "./heat_legend.js";
import { HeatOverlay } from "./heat_overlay.js";
import { currentLanguage, formatNumber, formatPercent, onLanguageChange, translator } from "./language.js";
import { PictureState } from "./picture_state.js";
import { runText } from "./run_status.js";
import { onPromptParsed } from "./prompt.js";
import { sharpImage } from "./upscale.js";
import { ViewControls } from "./view_controls.js";
import { WordChips } from "./word_chips.js";

const ACTIONS = ["use_seed", "to_compare", "to_regions", "to_explore"];

const imageUrl = (image) => image.src ?? fileUrl(image.path);

export class Picture {
  /**
   * @param {HTMLElement} root
   * @param {any} props of the Gradio component: `value`, `box`, `texts`
   * @param {(name: string, listener: () => void) => void} watch
   * @param {(event: string, data: any) => void} trigger
   */
  constructor(root, props, watch, trigger) {
    this.props = props;
    this.trigger = trigger;
    /** @type {HTMLElement} */
    this.root = root.querySelector(".pw-picture");
    this.translate = translator(props.texts);
    this.state = new PictureState();
    this.#build();
    this.receive(props.value);
    watch("value", () => this.receive(props.value));
    onLanguageChange(() => this.update());
    onPromptParsed((box) => box === props.box && this.chips.updateWeights());
  }

  #build() {
    const { state, translate } = this;
    this.bar = element("div", { class: "pw-bar" }, element("div", { class: "pw-bar-done" }));
    this.status = element("div", { class: "pw-status", role: "status" });
    this.stage = element("div", { class: "pw-stage" });
    this.overlay = new HeatOverlay(state, this.stage, translate);
    const repaint = () => {
      this.overlay.paint();
      this.chips.updateWeights();
      this.legend.update(state);
    };
    this.controls = new ViewControls(state, translate, {
      onChange: repaint,
      onDownload: (kind) => this.#download(kind),
    });
    this.chips = new WordChips(state, this.props.box, translate, {
      onPoint: repaint,
      onPin: () => {
        this.controls.update();
        repaint();
      },
      isFaint: () => this.overlay.isFaint,
    });
    const { image, sharp } = sharpImage({ class: "pw-image" });
    this.image = image;
    this.sharp = sharp;
    this.empty = element("p", { class: "pw-empty" });
    this.stage.append(image, sharp, this.overlay.canvas, this.overlay.cross, this.empty);
    this.thumbs = element("div", { class: "pw-thumbs", role: "group" });
    this.actions = element("div", { class: "pw-row pw-picture-actions" });
    this.legend = new HeatLegend();
    this.notes = element("ul", { class: "pw-notes" });
    const { chips, active } = this.chips;
    const { ranking } = this.overlay;
    const left = element("div", { class: "pw-left" }, this.stage, this.thumbs, this.actions);
    const side = element("div", { class: "pw-side" }, chips, active, this.legend.root, ranking, this.controls.root);
    const view = element("div", { class: "pw-view" }, left, side);
    this.root.replaceChildren(this.status, this.bar, view, this.notes);
  }

  receive(message) {
    const wasRunning = this.state.isRunning;
    this.state.receive(message);
    this.update();
    if (this.state.isRunning && !wasRunning) this.#show();
  }

  // On a phone the picture is below the prompt.
  #show() {
    const { top } = this.root.getBoundingClientRect();
    if (top < window.innerHeight * 0.6) return;
    const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.root.scrollIntoView({ block: "start", behavior: isStill ? "auto" : "smooth" });
  }

  /** Write everything that holds a text or a value anew; this is cheap next to a step of a model. */
  update() {
    this.#updateStatus();
    this.#updateImage();
    this.chips.update();
    this.overlay.updateHint();
    this.controls.update();
    this.#updateActions();
    this.#updateNotes();
    this.overlay.paint();
    this.legend.update(this.state);
  }

  #updateStatus() {
    const { isRunning, run, error } = this.state;
    const progress = isRunning ? run.progress : null;
    const total = progress ? progress.images * progress.steps : 1;
    const done = progress ? (progress.image - 1) * progress.steps + progress.step : 0;
    this.root.dataset.state = this.state.state;
    this.root.classList.toggle("pw-queued", Boolean(isRunning && run.queue));
    this.status.textContent = isRunning ? runText(run, this.translate) : this.#resultText();
    this.status.setAttribute("role", error ? "alert" : "status");
    this.bar.firstChild.style.width = `${(100 * done) / total}%`;
    this.bar.hidden = !isRunning;
  }

  #resultText() {
    const { state, content, image, images, error } = this.state;
    if (error) return error[currentLanguage()];
    if (state === "stopped" && !content?.seconds) return this.translate("nothing");
    if (!content?.seconds) return "";
    const { seed, stopped_after: step, size } = images[image];
    if (step) return this.translate("stopped", { step, steps: content.steps, seed });
    const text = this.translate("done", { seed, size: size.join(" × "), seconds: formatNumber(content.seconds, 3) });
    const { folder, is_saved: isSaved } = content;
    return folder ? `${text} · ${this.translate(isSaved ? "saved" : "unsaved", { folder })}` : text;
  }

  #updateImage() {
    const { content, image: number, images, isRunning, run } = this.state;
    const image = images[number];
    this.stage.classList.toggle("pw-has-picture", Boolean(image));
    this.empty.textContent = image ? "" : this.translate("empty");
    this.empty.hidden = Boolean(image);
    this.image.hidden = this.overlay.canvas.hidden = !image;
    if (!image) {
      this.sharp.hidden = true;
      this.image.removeAttribute("src");
      this.image.alt = "";
    } else {
      const url = imageUrl(image);
      if (this.image.getAttribute("src") !== url) this.image.src = url;
      this.stage.style.aspectRatio = `${image.size[0]} / ${image.size[1]}`;
      const isLive = isRunning && content.isLive && number === images.length - 1;
      this.image.alt = isLive
        ? this.translate("live_alt", run.progress)
        : this.translate("alt", { number: number + 1, total: images.length, prompt: content.prompt ?? "" });
    }
    this.thumbs.replaceChildren(...(images.length < 2 ? [] : images.map((each, index) => this.#thumb(each, index))));
  }

  #thumb(image, number) {
    return element(
      "button",
      {
        type: "button",
        "aria-pressed": String(number === this.state.image),
        "aria-label": this.translate("number", { number: number + 1, seed: image.seed ?? "" }),
        title: image.seed ? this.translate("number", { number: number + 1, seed: image.seed }) : "",
        onclick: () => {
          this.state.chosenImage = number;
          this.update();
          this.thumbs.children[number]?.focus();
        },
      },
      element("img", { src: imageUrl(image), alt: "" }),
    );
  }

  // What can be done with the shown image: its seed, and the other tabs.
  #updateActions() {
    const { images, image, isRunning } = this.state;
    const names = isRunning || !images[image]?.seed ? [] : ACTIONS;
    const buttons = names.map((name) =>
      element(
        "button",
        { type: "button", class: "pw-button", name, title: this.translate(`${name}_title`), onclick: () => this.#act(name) },
        this.translate(name),
      ),
    );
    replaceKeepingFocus(this.actions, buttons);
  }

  #act(action) {
    const { image, painted } = this.state;
    this.trigger("select", { action, image, phrase: painted.at(-1)?.text ?? null });
  }

  #updateNotes() {
    const { content, image, isRunning } = this.state;
    const notes = (isRunning ? [] : (content?.warnings ?? [])).map((warning) => element("li", {}, warning[currentLanguage()]));
    for (const { phrase, share, target, weight } of (isRunning ? null : content?.shares?.[image]) ?? []) {
      const values = {
        phrase,
        share: formatPercent(share, 3),
        target: formatPercent(target, 3),
        weight: formatNumber(weight, 3),
      };
      notes.push(element("li", { class: "pw-share-result" }, this.translate("share_result", values)));
    }
    this.notes.replaceChildren(...notes);
  }

  #download(kind) {
    const { state } = this;
    const image = state.images[state.image];
    const words = state.painted.map((word) => word.text);
    if (kind === "save") download(imageUrl(image), image.name);
    else if (kind === "save_overlay") {
      const picture = this.sharp.hidden ? this.image : this.sharp;
      downloadOverlay(picture, this.overlay.canvas, image.size, fileName(image.name, words, "overlay"));
    } else {
      const { width, height } = state.heatMaps;
      const field = { heat: state.paintedHeat, width, height };
      downloadMask(field, state.threshold, image.size, fileName(image.name, words, "mask"));
    }
  }
}
