// The page's part of `promptweight.widget.PromptWidget`: words, image, map and slider.

/**
 * The bytes of a value that the kernel sent.
 * @param {DataView | null | undefined} view
 */
function bytesOf(view) {
  return Uint8Array.from(view ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength) : []);
}

/**
 * The colors of one map, four bytes for each cell.
 * @param {Uint8Array} planes the maps of all words, one after the other
 * @param {number} cells the number of cells of a map
 * @param {number} plane the number of the map
 * @param {Uint8Array} colors 256 RGB colors
 */
export function colorPlane(planes, cells, plane, colors) {
  const pixels = new Uint8ClampedArray(4 * cells);
  for (let cell = 0; cell < cells; cell += 1) {
    const color = 3 * planes[plane * cells + cell];
    pixels.set([colors[color], colors[color + 1], colors[color + 2], 255], 4 * cell);
  }
  return pixels;
}

/**
 * An element with attributes and children.
 * @param {string} name
 * @param {Record<string, string>} [attributes]
 * @param {(Node | string)[]} [children]
 */
function make(name, attributes = {}, children = []) {
  const element = document.createElement(name);
  Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
  element.append(...children);
  return element;
}

/** Number of the widgets of a page, for ids. */
let widgets = 0;

/**
 * Draw the widget into an element, and return a function that removes it.
 * @param {{ model: any, el: HTMLElement }} given
 */
function render({ model, el }) {
  const id = `promptweight-weight-${(widgets += 1)}`;
  const words = make("div", { class: "pw-words" });
  const image = /** @type {HTMLImageElement} */ (make("img", { alt: "" }));
  const canvas = /** @type {HTMLCanvasElement} */ (make("canvas", { "aria-hidden": "true" }));
  const label = make("label", { for: id });
  const slider = /** @type {HTMLInputElement} */ (
    make("input", { id, type: "range", min: "0", max: "2", step: "0.05" })
  );
  const number = make("output", { for: id });
  const seed = /** @type {HTMLButtonElement} */ (make("button", { type: "button" }));
  const status = make("div", { role: "status" });
  const alert = make("div", { role: "alert" });
  const notes = make("ul", { class: "pw-notes" });
  const box = make("div", { class: "promptweight-widget" }, [
    words,
    make("div", { class: "pw-picture" }, [image, canvas]),
    make("div", { class: "pw-weight" }, [label, slider, number, seed]),
    status,
    alert,
    notes,
  ]);
  let address = "";

  /**
   * Show the map of a word.
   * @param {number} index
   */
  function showMap(index) {
    const word = model.get("words")[index];
    const [rows, columns] = model.get("plane_size");
    canvas.height = rows;
    canvas.width = columns;
    const hasMap = word !== undefined && word.plane >= 0;
    if (hasMap) {
      const colors = bytesOf(model.get("colors"));
      const pixels = colorPlane(bytesOf(model.get("planes")), rows * columns, word.plane, colors);
      canvas.getContext("2d").putImageData(new ImageData(pixels, columns, rows), 0, 0);
    }
    canvas.hidden = !hasMap;
  }

  /** Show the map and the weight of the selected word. */
  function showWord() {
    const word = model.get("words")[model.get("selected")];
    [...words.children].forEach((button, index) =>
      button.setAttribute("aria-pressed", String(index === model.get("selected"))),
    );
    showMap(model.get("selected"));
    label.textContent = word === undefined ? "" : `${model.get("texts").weight} ${word.text}`;
    slider.max = String(Math.max(2, word?.weight ?? 0));
    slider.min = String(Math.min(0, word?.weight ?? 0));
    slider.value = String(word?.weight ?? 1);
    number.textContent = word === undefined ? "" : String(Math.round(word.weight * 100) / 100);
  }

  /** @param {number} index */
  function select(index) {
    if (model.get("selected") === index) return;
    model.set("selected", index);
    model.save_changes();
  }

  /** Show the words and the image. */
  function showResult() {
    words.replaceChildren(
      ...model.get("words").map((word, index) => {
        const weight = Math.round(word.weight * 100) / 100;
        const button = make("button", { type: "button" }, [
          word.text,
          ...(weight === 1 ? [] : [make("small", {}, [String(weight)])]),
        ]);
        button.addEventListener("mouseenter", () => showMap(index));
        button.addEventListener("mouseleave", () => showMap(model.get("selected")));
        ["focus", "click"].forEach((event) => button.addEventListener(event, () => select(index)));
        return button;
      }),
    );
    if (address) URL.revokeObjectURL(address);
    address = URL.createObjectURL(new Blob([bytesOf(model.get("image"))], { type: "image/png" }));
    image.src = address;
    image.alt = `${model.get("texts").image}: ${model.get("prompt")}`;
    seed.textContent = model.get("texts").seed;
    notes.replaceChildren(...model.get("warnings").map((text) => make("li", {}, [text])));
    showWord();
  }

  /** Show whether an image is being drawn, and an error. */
  function showState() {
    const isRunning = model.get("state") === "running";
    slider.disabled = isRunning;
    seed.disabled = isRunning;
    const progress = `${model.get("step")}/${model.get("steps")}`;
    status.textContent = isRunning ? `${model.get("texts").running} ${progress}` : "";
    alert.textContent = model.get("error");
  }

  slider.addEventListener("input", () => {
    number.textContent = slider.value;
  });
  slider.addEventListener("change", () => {
    model.send({ kind: "weight", word: model.get("selected"), weight: Number(slider.value) });
  });
  seed.addEventListener("click", () => {
    model.send({ kind: "seed", seed: model.get("seed") + 1 });
  });
  const listeners = /** @type {[string, () => void][]} */ ([
    ["change:image", showResult],
    ["change:words", showResult],
    ["change:warnings", showResult],
    ["change:planes", showWord],
    ["change:selected", showWord],
    ["change:state", showState],
    ["change:step", showState],
    ["change:error", showState],
  ]);
  listeners.forEach(([event, listener]) => model.on(event, listener));
  el.append(box);
  showResult();
  showState();
  return () => {
    listeners.forEach(([event, listener]) => model.off(event, listener));
    if (address) URL.revokeObjectURL(address);
    box.remove();
  };
}

export default { render };
