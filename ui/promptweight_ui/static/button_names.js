// Names of Gradio's buttons in the history: the text that is seen, where Gradio sets another one, in English.
const THUMBNAILS = "#history-gallery button.thumbnail-item";
const UPLOADS = "#history-upload button.upload-container[aria-label]";

/** Name the buttons by their texts, now and whenever Gradio draws them. */
export function nameButtons() {
  const watched = { subtree: true, childList: true, characterData: true, attributeFilter: ["aria-label"] };
  new MutationObserver(setNames).observe(document.documentElement, watched);
}

function setNames() {
  for (const thumbnail of document.querySelectorAll(THUMBNAILS)) {
    const caption = thumbnail.textContent.trim();
    if (caption && thumbnail.getAttribute("aria-label") !== caption) thumbnail.setAttribute("aria-label", caption);
  }
  for (const upload of document.querySelectorAll(UPLOADS)) upload.removeAttribute("aria-label");
}
