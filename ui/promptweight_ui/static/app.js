// Entry of the page: the components that Gradio mounts, the language switch and the keys of the whole page.
import { AttentionView } from "./attention_view.js";
import { CompareGrid } from "./compare_grid.js";
import { constants } from "./constants.js";
import { startLanguage } from "./language.js";
import { Picture } from "./picture.js";
import { PromptBox } from "./prompt.js";
import { TextMatrix } from "./text_matrix.js";

export { HeatMaps } from "./heat_maps.js";
export { initialLanguage, setLanguage, storeLanguage } from "./language.js";
export { countTokensFor, promptBox } from "./prompt.js";

const components = { AttentionView, CompareGrid, Picture, PromptBox, TextMatrix };

/**
 * Start the page, before any component is mounted.
 * @param {string | null} language the language that the server was started with
 */
export function start(language) {
  startLanguage(language);
  for (const [name, color] of Object.entries(constants.region_colors)) {
    document.documentElement.style.setProperty(`--pw-region-${name}`, color);
  }
  document.addEventListener("keydown", keyPressed, true);
}

/**
 * Make a component on the page.
 * @param {string} name a key of `components`
 * @param {HTMLElement} root the element of Gradio's HTML component
 * @param {any[]} more further arguments of the component
 */
export function mount(name, root, ...more) {
  return new components[name](root, ...more);
}

// Ctrl+Enter generates, Esc stops: as in other tools.
function keyPressed(event) {
  const press = (id) => {
    const outer = document.getElementById(id);
    const button = outer?.tagName === "BUTTON" ? outer : outer?.querySelector("button");
    if (!(button instanceof HTMLButtonElement) || button.disabled || button.offsetParent === null) return;
    event.preventDefault();
    event.stopPropagation();
    button.click();
  };
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) press("generate-go");
  if (event.key === "Escape") press("generate-stop");
}
