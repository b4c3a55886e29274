// State of the picture component: the message of the server, the selected words and the view settings.
import { constants } from "./constants.js";
import { HeatMaps } from "./heat_maps.js";

/** Return the name of a word that stays the same when the picture is generated again. */
export const wordKey = (word) => `${word.text}#${word.occurrence}`;

export class PictureState {
  constructor() {
    /** "empty", or the state of the last message: "running", "done", "stopped" or "failed". */
    this.state = "empty";
    /** @type {any} The images and maps that are shown, as a message has them. */
    this.content = null;
    /** @type {any} The progress of a run, its place in the queue and how long its step has taken. */
    this.run = null;
    /** @type {Record<string, string> | null} The text of the last run's error by language. */
    this.error = null;
    /** @type {HeatMaps | null} */
    this.heatMaps = null;
    /** @type {number | null} The index of the image that a person chose; null for the newest. */
    this.chosenImage = null;
    /** @type {string[]} Keys of the words that stay selected. */
    this.pinned = [];
    /** @type {string | null} Key of the word under the pointer or with the focus. */
    this.pointed = null;
    /** @type {string | null} */
    this.lastPinned = null;
    this.unit = "probability";
    this.kind = "words";
    this.group = null;
    this.part = null;
    /** @type {number | null} The opacity that a person chose; null until then. */
    this.chosenOpacity = null;
    this.isTogether = false;
    this.threshold = constants.mask_threshold;
  }

  /** Take a message of the server; a run without an image of its own leaves the former ones. */
  receive(message) {
    if (!message || typeof message !== "object") return;
    if (message.former && this.state !== "empty") return; // it arrived after a run had begun
    const maps = this.content?.maps;
    if (message.state === "running") this.#takeProgress(message);
    else this.#takeResult(message);
    this.state = message.state;
    this.error = message.error ?? null;
    if (this.image >= this.images.length) this.chosenImage = null;
    if (this.content?.maps !== maps) this.#makeHeatMaps();
    if (message.pins) this.pinned = this.words.filter(({ weight }) => weight !== 1).slice(0, 1).map(({ key }) => key);
  }

  #takeProgress(message) {
    if (!this.isRunning) {
      this.run = { before: this.content, progress: null, live: [], maps: null };
      this.chosenImage = null;
    }
    const { run } = this;
    if (message.live.length) Object.assign(run, { live: message.live, maps: message.maps });
    else if (message.progress && message.progress.image !== run.progress?.image) run.live = [];
    const { queue, slow, finished } = message;
    Object.assign(run, { queue, slow, finished, progress: message.progress ?? run.progress });
    const images = [...finished, ...run.live];
    const made = { images, maps: run.maps, isPartial: true, isLive: run.live.length > 0 };
    this.content = images.length ? made : run.before;
  }

  #takeResult(message) {
    const { run } = this;
    this.run = null;
    if (message.images?.length) this.content = message;
    else if (run?.finished?.length) this.content = { images: run.finished, maps: null };
    else if (run) this.content = run.before;
  }

  #makeHeatMaps() {
    const maps = this.content?.maps;
    this.heatMaps = maps?.words?.length && this.images.length ? new HeatMaps(maps, this.images.at(-1).size) : null;
    this.part = null;
    if (this.group !== null && !maps?.groups?.[this.group]) this.group = null;
    if (!maps?.kinds?.includes(this.kind)) this.kind = "words";
  }

  get isRunning() {
    return this.state === "running";
  }

  get images() {
    return this.content?.images ?? [];
  }

  /** The index of the image that is shown: the chosen one, else the newest. */
  get image() {
    return this.chosenImage ?? Math.max(0, this.images.length - 1);
  }

  /** Whether the shown image has maps: while images are made, only the newest has. */
  get hasHeat() {
    const { isPartial, isLive } = this.content ?? {};
    return Boolean(this.heatMaps) && (!isPartial || (isLive && this.image === this.images.length - 1));
  }

  get view() {
    const image = this.content?.isPartial ? 0 : this.image;
    return { image, unit: this.unit, kind: this.kind, group: this.group, part: this.part };
  }

  /**
   * The phrases of the prompt, then its words without punctuation: each with its key, its text, the indices of
   * its words, and the weight, the share and the occurrence of the first.
   */
  get words() {
    const { words = [], maps } = this.heatMaps ?? {};
    const phrases = (maps?.phrases ?? []).map((indices) => {
      const key = indices.map((index) => wordKey(words[index])).join(" ");
      return { ...words[indices[0]], key, text: indices.map((index) => words[index].text).join(" "), indices };
    });
    const single = words.map((word, index) => ({ ...word, key: wordKey(word), indices: [index] }));
    return [...phrases, ...single.filter((word) => !word.punctuation)];
  }

  /** The words that are painted: the pinned ones, then the one under the pointer. */
  get painted() {
    const words = this.words;
    const keys = new Set(this.pointed ? [...this.pinned, this.pointed] : this.pinned);
    return [...keys].map((key) => words.find((word) => word.key === key)).filter(Boolean);
  }

  /** Whether all painted words share one map, in the colors of a color map. */
  get isOneMap() {
    return this.painted.length <= 1 || this.isTogether;
  }

  get opacity() {
    return this.chosenOpacity ?? (this.isOneMap ? constants.overlay_opacity : constants.overlay_words_opacity);
  }

  /** The indices of all painted words. */
  get paintedIndices() {
    return [...new Set(this.painted.flatMap((word) => word.indices))];
  }

  /** The heat of all painted words together, 0 to 1. */
  get paintedHeat() {
    return this.heatMaps.heat(this.view, this.paintedIndices);
  }

  /** The CSS color of each painted word by its key. */
  get colors() {
    return new Map(
      this.painted.map((word, number) => {
        const color = constants.word_colors[number % constants.word_colors.length];
        return [word.key, this.isOneMap ? "var(--color-accent)" : `rgb(${color.join(" ")})`];
      }),
    );
  }

  /** Drop selected words that the maps no longer have. */
  forgetMissingWords() {
    const keys = new Set(this.words.map((word) => word.key));
    this.pinned = this.pinned.filter((key) => keys.has(key));
    if (this.pointed && !keys.has(this.pointed)) this.pointed = null;
  }

  /** Pin a word, or unpin it. */
  togglePin(key) {
    this.pinned = this.pinned.includes(key) ? this.pinned.filter((each) => each !== key) : [...this.pinned, key];
    this.lastPinned = key;
  }

  /** The word whose weight is shown and changed. */
  get activeWord() {
    const key = this.pointed ?? (this.pinned.includes(this.lastPinned) ? this.lastPinned : this.pinned.at(-1));
    return this.words.find((word) => word.key === key);
  }
}
