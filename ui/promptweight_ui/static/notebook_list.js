// List of the notebooks at the end of the Explore tab.
import { element } from "./elements.js";
import { onLanguageChange, translator } from "./language.js";
import { NOTEBOOKS, notebookReference } from "./notebooks.js";

export class NotebookList {
  /**
   * @param {HTMLElement} root
   * @param {any} props of the Gradio component: `texts` with the titles of the notebooks
   */
  constructor(root, props) {
    this.translate = translator(props.texts);
    /** @type {HTMLElement} */
    this.root = root.querySelector(".pw-explore");
    onLanguageChange(() => this.draw());
    this.draw();
  }

  draw() {
    const { translate } = this;
    const items = Object.keys(NOTEBOOKS).map((key) =>
      element("li", {}, notebookReference(key, translate), element("p", { class: "pw-hint" }, translate(`notebook_about_${key}`))),
    );
    const where = document.documentElement.dataset.site ? [] : [element("p", { class: "pw-hint" }, translate("notebook_where"))];
    this.root.replaceChildren(element("ol", { class: "pw-notebooks" }, ...items), ...where);
  }
}
