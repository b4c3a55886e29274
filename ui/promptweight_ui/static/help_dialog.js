// Help of the page: a button in the header that opens a dialog with the tabs, the keys and the documentation.
import { element } from "./elements.js";
import { currentLanguage, onLanguageChange, translator } from "./language.js";

const TABS = ["generate", "compare", "regions", "explore", "history"];
const KEYS = { run: "Ctrl + Enter", stop: "Esc", weight: "Ctrl + ↑ ↓" };
const DOCUMENTS = {
  en: { readme: "README.md", syntax: "docs/prompt-syntax.md", folder: "docs/" },
  "pt-br": { readme: "README.pt-br.md", syntax: "docs/pt-br/sintaxe-dos-prompts.md", folder: "docs/pt-br/" },
};
const COMMAND = "promptweight --help";

export class HelpDialog {
  /**
   * @param {HTMLElement} root
   * @param {any} props of the Gradio component: `version`, `texts` with the titles of the tabs
   */
  constructor(root, props) {
    this.version = props.version;
    this.translate = translator(props.texts);
    this.button = element("button", { type: "button", class: "pw-help-open", "aria-haspopup": "dialog", onclick: () => this.open() }, "?");
    this.dialog = element("dialog", {
      class: "pw-help",
      "aria-labelledby": "pw-help-title",
      // A click beside the content is one on the dialog itself.
      onclick: (event) => event.target === this.dialog && this.dialog.close(),
    });
    root.querySelector(".pw-help-place").replaceChildren(this.button, this.dialog);
    onLanguageChange(() => this.update());
    this.update();
  }

  open() {
    this.dialog.showModal();
  }

  update() {
    const { translate } = this;
    const documents = DOCUMENTS[currentLanguage()];
    this.button.setAttribute("aria-label", translate("open"));
    this.button.title = translate("open");
    const close = element("button", { type: "button", class: "pw-button", onclick: () => this.dialog.close() }, translate("close"));
    const code = (text) => element("code", {}, text);
    const content = element(
      "div",
      {},
      element("header", {}, element("h2", { id: "pw-help-title" }, translate("open")), close),
      element("p", { class: "pw-help-version" }, translate("version", { version: this.version })),
      element("h3", {}, translate("tabs")),
      list(TABS.map((name) => [translate(`${name}_tab`), translate(name)])),
      element("h3", {}, translate("keys")),
      list(Object.entries(KEYS).map(([name, keys]) => [element("kbd", {}, keys), translate(`key_${name}`)])),
      element("h3", {}, translate("docs")),
      list([
        ...Object.entries(documents).map(([name, file]) => [code(file), translate(`docs_${name}`)]),
        [code(COMMAND), translate("docs_terminal")],
      ]),
      element("p", { class: "pw-help-version" }, translate("docs_where")),
    );
    this.dialog.replaceChildren(content);
  }
}

const list = (rows) =>
  element("dl", {}, ...rows.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
