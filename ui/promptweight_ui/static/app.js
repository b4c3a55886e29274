// Entry of the page: the components that Gradio mounts, the language switch and the keys of the whole page.
import { AttentionView } from "./attention_view.js";
import { CompareGrid } from "./compare_grid.js";
import { constants } from "./constants.js";
import { pressButton, watchPresses } from "./elements.js";
import { ExamplePrompts } from "./example_prompts.js";
import { storeTyped } from "./form_store.js";
import { mendButtons } from "./gradio_buttons.js";
import { HelpDialog } from "./help_dialog.js";
import { startLanguage } from "./language.js";
import { Picture } from "./picture.js";
import { PromptBox } from "./prompt.js";
import { NotebookList } from "./notebook_list.js";
import { TextMatrix } from "./text_matrix.js";
import { TokenVectors } from "./token_vectors.js";
import { ExploreTour } from "./tour.js";

export { arrival, restoredForm, storeForm } from "./form_store.js";
export { HeatMaps } from "./heat_maps.js";
export { initialLanguage, setLanguage, storeLanguage } from "./language.js";
export { promptBox, selectModel } from "./prompt.js";

const components = {
  AttentionView,
  CompareGrid,
  ExamplePrompts,
  ExploreTour,
  HelpDialog,
  NotebookList,
  Picture,
  PromptBox,
  TextMatrix,
  TokenVectors,
};

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
  document.addEventListener("input", storeTyped);
  watchPresses();
  mendButtons();
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

const GO = ["generate-go", "compare-go", "regions-go", "explore-go"];
const STOP = ["generate-stop", "compare-stop", "regions-stop", "explore-stop"];

const hasClosable = () =>
  [...document.querySelectorAll("[role=listbox], dialog[open], .gallery-preview, .pw-tour")].some((each) => each.checkVisibility());

// Ctrl+Enter runs the open tab, Esc stops it: as in other tools. Esc with an open list, full view or card closes that.
function keyPressed(event) {
  const isRun = event.key === "Enter" && (event.ctrlKey || event.metaKey);
  const isStop = event.key === "Escape" && !hasClosable();
  if (!isRun && !isStop) return;
  if ((isRun ? GO : STOP).some(pressButton)) {
    event.preventDefault();
    event.stopPropagation();
  }
}
