// Picture component: word chips above the picture, heat over it, and the controls of both.
import { download, downloadMask, downloadOverlay, fileName } from "./downloads.js";
import { element, fileUrl } from "./elements.js";
import { HeatOverlay } from "./heat_overlay.js";
import { currentLanguage, formatNumber, formatPercent, onLanguageChange, translator } from "./language.js";
import { PictureState } from "./picture_state.js";
import { onPromptParsed } from "./prompt.js";
import { sharpImage } from "./upscale.js";
import { ViewControls } from "./view_controls.js";
import { WordChips } from "./word_chips.js";

const imageUrl = (image) => image.src ?? fileUrl(image.path);

export class Picture {
  /**
   * @param {HTMLElement} root
   * @param {any} props of the Gradio component: `value`, `box`, `queue`, `texts`
   * @param {(name: string, listener: () => void) => void} watch
   */
  constructor(root, props, watch) {
    this.props = props;
    /** @type {HTMLElement} */
    this.root = root.querySelector(".pw-picture");
    this.translate = translator(props.texts);
    this.state = new PictureState();
    this.queued = null;
    this.#build();
    this.receive(props.value);
    this.#followQueue();
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
      this.chips.updateWeights();
      this.overlay.paint();
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
    });
    const { image, sharp } = sharpImage({ class: "pw-image" });
    this.image = image;
    this.sharp = sharp;
    this.empty = element("p", { class: "pw-empty" });
    this.stage.append(image, sharp, this.overlay.canvas, this.overlay.cross, this.empty);
    this.thumbs = element("div", { class: "pw-thumbs", role: "group" });
    this.notes = element("ul", { class: "pw-notes" });
    const under = element("div", { class: "pw-under" }, this.thumbs, this.overlay.ranking, this.controls.root);
    const { chips, active } = this.chips;
    this.root.replaceChildren(this.status, this.bar, chips, active, this.stage, under, this.notes);
  }

  receive(message) {
    this.state.receive(message);
    this.update();
  }

  // Gradio writes the place in the queue, "queue: 2/3", into an element of its own.
  #followQueue() {
    const source = document.getElementById(this.props.queue);
    if (!source) return;
    new MutationObserver(() => {
      const place = /queue: (\d+)\/(\d+)/.exec(source.textContent);
      this.queued = place && { place: place[1], length: place[2] };
      this.#updateStatus();
    }).observe(source, { subtree: true, childList: true, characterData: true });
  }

  /** Write everything that holds a text or a value anew; this is cheap next to a step of a model. */
  update() {
    this.#updateStatus();
    this.#updateImage();
    this.chips.update();
    this.overlay.updateHint();
    this.controls.update();
    this.#updateNotes();
    this.overlay.paint();
  }

  #updateStatus() {
    const { message, isRunning } = this.state;
    const progress = isRunning ? message.progress : null;
    const total = progress ? progress.images * progress.steps : 1;
    const done = progress ? (progress.image - 1) * progress.steps + progress.step : 0;
    this.root.dataset.state = message?.state ?? "empty";
    this.root.classList.toggle("pw-queued", Boolean(this.queued));
    this.status.textContent = this.queued ? this.translate("queued", this.queued) : this.#statusText();
    this.bar.firstChild.style.width = `${(100 * done) / total}%`;
    this.bar.hidden = !isRunning;
  }

  #statusText() {
    const { message, isRunning, image, images } = this.state;
    if (!message) return "";
    if (isRunning) {
      const { progress } = message;
      if (!progress) return this.translate("waiting");
      const text = this.translate(progress.images > 1 ? "progress_several" : "progress", progress);
      if (progress.left === null) return text;
      return `${text} · ${this.translate("left", { seconds: Math.ceil(progress.left) })}`;
    }
    if (message.isEmpty) return this.translate("nothing");
    const seed = images[image]?.seed;
    return message.state === "stopped" && image === images.length - 1
      ? this.translate("stopped", { step: message.stopped_after, steps: message.steps, seed })
      : this.translate("done", { seed, seconds: formatNumber(message.seconds, 3) });
  }

  #updateImage() {
    const { message, image: number, images } = this.state;
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
      this.image.alt = message.progress
        ? this.translate("live_alt", message.progress)
        : this.translate("alt", { number: number + 1, total: images.length, prompt: message.prompt ?? "" });
    }
    this.thumbs.replaceChildren(...(images.length < 2 ? [] : images.map((each, index) => this.#thumb(each, index))));
  }

  #thumb(image, number) {
    return element(
      "button",
      {
        type: "button",
        "aria-pressed": String(number === this.state.image),
        "aria-label": this.translate("number", { number: number + 1 }),
        onclick: () => {
          this.state.image = number;
          this.update();
          this.thumbs.children[number]?.focus();
        },
      },
      element("img", { src: imageUrl(image), alt: "" }),
    );
  }

  #updateNotes() {
    const { message, image } = this.state;
    const notes = (message?.warnings ?? []).map((warning) => element("li", {}, warning[currentLanguage()]));
    for (const { phrase, share, target, weight } of message?.shares?.[image] ?? []) {
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
