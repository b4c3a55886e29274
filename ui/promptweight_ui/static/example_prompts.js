// Examples under the prompt box, one click each, and the words that a built-in model knows.
import { element, pressButton } from "./elements.js";
import { currentLanguage, onLanguageChange, translator } from "./language.js";
import { onModelChange, promptBox } from "./prompt.js";

export class ExamplePrompts {
  /**
   * @param {HTMLElement} root
   * @param {any} props of the Gradio component: `box`, `model`, `prompts`, `words`, `texts`
   */
  constructor(root, props) {
    this.props = props;
    /** @type {HTMLElement} */
    this.root = root.querySelector(".pw-examples");
    this.translate = translator(props.texts);
    this.model = props.model;
    this.isOpen = false;
    onModelChange((model) => {
      this.model = model;
      this.update();
    });
    onLanguageChange(() => this.update());
    this.update();
  }

  update() {
    const { prompts, words } = this.props;
    const language = currentLanguage();
    const examples = prompts[language].map((prompt) =>
      this.#button("pw-example", prompt, () => {
        promptBox(this.props.box)?.write(prompt);
        pressButton("generate-go");
      }),
    );
    const row = element("div", { class: "pw-example-row" }, element("span", {}, this.translate("try")), ...examples);
    const known = words[this.model]?.[language];
    const text = element("p", {}, this.translate("try_text"));
    this.root.replaceChildren(row, text, ...(known ? [this.#known(known)] : []));
  }

  #known({ things, colors, degrees }) {
    const { model } = this;
    const values = { model, things: things.length, colors: colors.length };
    const insert = (word) => this.#button("pw-word", word, () => promptBox(this.props.box)?.insert(word));
    const list = (name, words) =>
      element("p", {}, element("b", {}, this.translate(name)), " ", ...words.flatMap((word) => [insert(word), " "]));
    const details = element(
      "details",
      { class: "pw-known", open: this.isOpen },
      element("summary", {}, this.translate("knows", values)),
      list("things", things),
      list("colors", colors),
      ...(degrees.length > 0 ? [list("degrees", degrees)] : []),
    );
    details.addEventListener("toggle", () => (this.isOpen = details.open));
    return details;
  }

  #button(name, text, onclick) {
    return element("button", { type: "button", class: name, onclick }, text);
  }
}
