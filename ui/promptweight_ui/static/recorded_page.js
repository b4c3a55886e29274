// Page with a recorded run of the Explore tab: its components, answered by the recording instead of a server.
import { AttentionView } from "./attention_view.js";
import { watchPresses } from "./elements.js";
import { startLanguage } from "./language.js";
import { NotebookList } from "./notebook_list.js";
import { RecordedRun } from "./recorded_run.js";
import { TextMatrix } from "./text_matrix.js";
import { TokenVectors } from "./token_vectors.js";
import { ExploreTour } from "./tour.js";

/**
 * Fill the page.
 * @param {any} data the recorded run, and `texts` by component
 */
export function showRecordedRun({ language, run, texts }) {
  startLanguage(language);
  watchPresses();
  const isDark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => document.body.classList.toggle("dark", isDark.matches);
  isDark.addEventListener("change", follow);
  follow();
  const recorded = new RecordedRun(run);
  const place = (id) => document.getElementById(id);
  const answer = (method) => async (request) => recorded[method](request);
  const props = (value) => ({ value, texts: texts.explore, run_texts: texts.explore });
  const never = () => {};
  new TokenVectors(place("explore-vectors"), props(run.text.message), never, { values: answer("vectors") });
  new TextMatrix(place("explore-text"), props(run.text.message), never, { values: answer("matrix") });
  const requests = Object.fromEntries(["values", "wall", "film", "guidance"].map((name) => [name, answer(name)]));
  new AttentionView(place("explore-inside"), props(run.inside.message), never, requests);
  new NotebookList(place("explore-notebooks"), { texts: texts.explore });
  new ExploreTour(place("explore-tour"), { texts: texts.tour, notebook_texts: texts.explore });
}
