// Names and roles of Gradio's buttons, where those that Gradio sets are wrong.
const THUMBNAILS = "#history-gallery button.thumbnail-item";
const UPLOADS = "#history-upload button.upload-container[aria-label]";
const TOAST_HEADERS = ".toast-header[role=button]";

/** Mend the buttons now and whenever Gradio draws them. */
export function mendButtons() {
  const watched = { subtree: true, childList: true, characterData: true, attributeFilter: ["aria-label"] };
  new MutationObserver(mendAll).observe(document.documentElement, watched);
}

function mendAll() {
  // The text that is seen, not one in English.
  for (const thumbnail of document.querySelectorAll(THUMBNAILS)) {
    const caption = thumbnail.textContent.trim();
    if (caption && thumbnail.getAttribute("aria-label") !== caption) thumbnail.setAttribute("aria-label", caption);
  }
  for (const upload of document.querySelectorAll(UPLOADS)) upload.removeAttribute("aria-label");
  // The title folds a message; its row, which holds the close button too, must not be a button.
  for (const header of document.querySelectorAll(TOAST_HEADERS)) moveRole(header, header.querySelector(".toast-title-row"));
}

/**
 * Make `child` the button that `parent` was; the listeners of `parent` get its events.
 * @param {Element} parent
 * @param {Element | null} child
 */
function moveRole(parent, child) {
  for (const name of child ? ["role", "tabindex"] : []) {
    child.setAttribute(name, parent.getAttribute(name) ?? "");
    parent.removeAttribute(name);
  }
}
