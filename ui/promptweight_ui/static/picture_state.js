// State of the picture component: the message of the server, the selected words and the view settings.
import { constants } from "./constants.js";
import { HeatMaps } from "./heat_maps.js";

/** Return the name of a word that stays the same when the picture is generated again. */
export const wordKey = (word) => `${word.text}#${word.occurrence}`;

export class PictureState {
  constructor() {
    this.message = null;
    /** @type {HeatMaps | null} */
    this.heatMaps = null;
    this.image = 0;
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

  /** Take a message of the server; a run that begins or made nothing leaves the images as they are. */
  receive(message) {
    if (!message || typeof message !== "object") message = null;
    const before = this.message;
    if (message?.state === "running" && !message.images.length && before) {
      message = { ...before, state: "running", progress: message.progress, warnings: [] };
    } else if (message && message.state !== "running" && !message.images.length && before?.images.length) {
      message = { ...message, images: before.images, maps: before.maps, isEmpty: true };
    }
    this.message = message;
    this.image = this.isRunning ? 0 : Math.min(this.image, Math.max(0, this.images.length - 1));
    const maps = message?.maps;
    if (maps !== before?.maps || this.images.length !== before?.images?.length) {
      this.heatMaps = maps?.words?.length && this.images.length ? new HeatMaps(maps, this.images[0].size) : null;
      this.part = null;
      if (this.group !== null && !maps?.groups?.[this.group]) this.group = null;
      if (!maps?.kinds?.includes(this.kind)) this.kind = "words";
    }
  }

  get isRunning() {
    return this.message?.state === "running";
  }

  get images() {
    return this.message?.images ?? [];
  }

  get view() {
    return { image: this.image, unit: this.unit, kind: this.kind, group: this.group, part: this.part };
  }

  /** The words of the prompt without punctuation, each with its index in the maps. */
  get words() {
    return (this.heatMaps?.words ?? [])
      .map((word, index) => ({ ...word, index }))
      .filter((word) => !word.punctuation);
  }

  /** The words that are painted: the pinned ones, then the one under the pointer. */
  get painted() {
    const words = this.words;
    const keys = new Set(this.pointed ? [...this.pinned, this.pointed] : this.pinned);
    return [...keys].map((key) => words.find((word) => wordKey(word) === key)).filter(Boolean);
  }

  /** Whether all painted words share one map, in the colors of a color map. */
  get isOneMap() {
    return this.painted.length <= 1 || this.isTogether;
  }

  get opacity() {
    return this.chosenOpacity ?? (this.isOneMap ? constants.overlay_opacity : constants.overlay_words_opacity);
  }

  /** The heat of all painted words together, 0 to 1. */
  get paintedHeat() {
    return this.heatMaps.heat(this.view, this.painted.map((word) => word.index));
  }

  /** The CSS color of each painted word by its key. */
  get colors() {
    return new Map(
      this.painted.map((word, number) => {
        const color = constants.word_colors[number % constants.word_colors.length];
        return [wordKey(word), this.isOneMap ? "var(--color-accent)" : `rgb(${color.join(" ")})`];
      }),
    );
  }

  /** Drop selected words that the maps no longer have. */
  forgetMissingWords() {
    const keys = new Set(this.words.map(wordKey));
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
    return this.words.find((word) => wordKey(word) === key);
  }
}
