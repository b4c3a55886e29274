// DOM elements: texts are set as text, so nothing that a person typed is parsed as HTML.

/**
 * Return a new element.
 * @param {string} tag
 * @param {Record<string, any>} properties properties, attributes and `on…` listeners by name
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && !name.startsWith("aria")) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/**
 * Replace the children of `parent` and give the focus back to the child of the same name.
 * @param {HTMLElement} parent
 * @param {Node[]} children
 * @param {string} attribute the attribute that names a child, "name" or a data attribute
 */
export function replaceKeepingFocus(parent, children, attribute = "name") {
  const name = parent.contains(document.activeElement) ? document.activeElement.getAttribute(attribute) : null;
  parent.replaceChildren(...children);
  if (name) {
    /** @type {HTMLElement | null} */ (parent.querySelector(`[${attribute}="${CSS.escape(name)}"]`))?.focus();
  }
}

/**
 * Click a button of Gradio by its id, if it is visible and enabled, and return whether it was.
 * @param {string} id
 */
export function pressButton(id) {
  const outer = document.getElementById(id);
  const button = outer?.tagName === "BUTTON" ? outer : outer?.querySelector("button");
  if (!(button instanceof HTMLButtonElement) || button.disabled || button.offsetParent === null) return false;
  button.click();
  return true;
}

/** Return the URL under which the server hands out a file of its cache. */
export function fileUrl(path) {
  const root = (/** @type {any} */ (window).gradio_config?.root ?? "").replace(/\/$/, "");
  return `${root}/gradio_api/file=${path.split("/").map(encodeURIComponent).join("/")}`;
}

/**
 * Return a 2D context.
 * @param {HTMLCanvasElement} canvas
 * @param {CanvasRenderingContext2DSettings} [settings]
 * @returns {CanvasRenderingContext2D}
 */
export function context2d(canvas, settings) {
  return canvas.getContext("2d", settings);
}

/**
 * Set the size of a canvas and its pixels.
 * @param {HTMLCanvasElement} canvas
 * @param {number} width
 * @param {number} height
 * @param {(pixels: Uint8ClampedArray) => void} paint writes the RGBA bytes, row by row
 */
export function paintPixels(canvas, width, height, paint) {
  Object.assign(canvas, { width, height });
  const context = context2d(canvas);
  const image = context.createImageData(width, height);
  paint(image.data);
  context.putImageData(image, 0, 0);
}

/** @type {Set<() => void>} */
const waiting = new Set();
let isPressed = false;

/**
 * Call `action` once the pointer is up, after its click: a click is lost if its button moves while it is pressed.
 * @param {() => void} action
 */
export function afterPress(action) {
  if (isPressed) waiting.add(action);
  else action();
}

/** Follow the pointer for `afterPress`; called once. */
export function watchPresses() {
  const press = () => (isPressed = true);
  const release = () =>
    setTimeout(() => {
      isPressed = false;
      const actions = [...waiting];
      waiting.clear();
      for (const action of actions) action();
    });
  for (const name of ["pointerdown", "mousedown"]) document.addEventListener(name, press, true);
  for (const name of ["pointerup", "mouseup", "pointercancel", "dragend"]) document.addEventListener(name, release, true);
}
