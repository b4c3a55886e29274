// References to the notebooks: files of the source code, or pages of the documentation site.
import { element } from "./elements.js";
import { currentLanguage } from "./language.js";

const FOLDER = "examples/notebooks";

/** File names of the notebooks by language, without their endings. */
export const NOTEBOOKS = {
  attention: { en: "what_is_attention", "pt-br": "o_que_e_atencao" },
  kinds: { en: "kinds_of_attention", "pt-br": "tipos_de_atencao" },
  word_weight: { en: "the_weight_of_a_word", "pt-br": "o_peso_de_uma_palavra" },
  weighting: { en: "which_weighting", "pt-br": "qual_ponderacao_usar" },
  honest_maps: { en: "reading_maps_honestly", "pt-br": "ler_mapas_com_honestidade" },
};

/**
 * Return the path of a notebook in the language of the page.
 * @param {string} key a key of `NOTEBOOKS`
 */
export const notebookPath = (key) => `${FOLDER}/${NOTEBOOKS[key][currentLanguage()]}.ipynb`;

/**
 * Return the title of a notebook with its place: a link in the documentation site, else its path in the source code.
 * @param {string} key a key of `NOTEBOOKS`
 * @param {import("./language.js").Translate} translate
 * @returns {HTMLElement}
 */
export function notebookReference(key, translate) {
  const title = translate(`notebook_${key}`);
  const { site } = document.documentElement.dataset; // the folder of the site's notebooks; absent in the app
  if (site) return element("a", { href: `${site}/${NOTEBOOKS[key][currentLanguage()]}.html` }, title);
  return element("span", {}, `${title} `, element("code", {}, notebookPath(key)));
}

/**
 * Return the paragraph that names the notebook of a section.
 * @param {string} key a key of `NOTEBOOKS`
 * @param {import("./language.js").Translate} translate
 */
export const notebookNote = (key, translate) =>
  element("p", { class: "pw-hint pw-notebook" }, `${translate("notebook_more")} `, notebookReference(key, translate));
