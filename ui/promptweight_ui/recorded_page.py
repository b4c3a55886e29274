"""Pages with a recorded run of the Explore tab: one HTML file for each language, which needs no server.

A browser loads no modules from files, so a page holds the app's modules as data, under the names of an
import map; styles, texts and the recording are in the page too.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from promptweight.atomic_files import write_atomically
from promptweight_ui.app import make_theme
from promptweight_ui.explore.recording import record_run
from promptweight_ui.i18n import LANGUAGES, strings, texts_with_prefix
from promptweight_ui.static_files import CONSTANTS, STATIC, STYLES

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline

FILES = {"en": "index.html", "pt-br": "pt-br.html"}
"""Names of the pages by language."""

RUNS: Mapping[str, tuple[str, int]] = {
    "en": ("a red house beside a (green tree:2)", 6),
    "pt-br": ("um gato vermelho persegue um (rato cinza:2)", 3),
}
"""Prompt and seed of each page."""

STEPS = 25

ENTRY = "recorded_page.js"
UNQUOTED = " /(){}[];:,.=+*!?'<>|^~@$-"
"""Characters that a data URL may hold as they are."""

IMPORT = re.compile(r'(\bfrom |\bimport )"\./([\w.]+)"')
CONSTANTS_MODULE = "constants.js"
"""Module that reads a JSON file of the package; a page holds its content."""


def write_pages(
    folder: str | os.PathLike[str],
    pipe: Pipeline | None = None,
    *,
    steps: int = STEPS,
    notebooks: str | None = None,
) -> list[Path]:
    """Record a run for each language, and write its page.

    Args:
        folder: the folder; it is made if it does not exist.
        pipe: the pipeline, as for `explore.recording.record_run`; the built-in model `mini` when None.
        steps: the number of steps.
        notebooks: the relative URL of the folder with the HTML pages of the notebooks; the pages name the
            notebooks' files when None.

    Returns:
        The written files.
    """
    import promptweight

    model = promptweight.load("mini") if pipe is None else pipe
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for language, name in FILES.items():
        prompt, seed = RUNS[language]
        run = record_run(model, prompt, seed=seed, steps=steps)
        written.append(target / name)
        content = page(run, language, notebooks).encode()
        write_atomically(written[-1], partial(_write, content), overwrite=True)
    return written


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)


def page(run: Mapping[str, Any], language: str, notebooks: str | None = None) -> str:
    """Return the HTML of a page.

    Args:
        run: the recorded run.
        language: one of `LANGUAGES`.
        notebooks: as in `write_pages`.
    """
    texts, tour = strings(language), texts_with_prefix("tour_")
    data = {
        "language": language,
        "run": run,
        "texts": {
            "explore": {language: texts_with_prefix("explore_")[language]},
            "tour": {language: tour[language]},
        },
    }
    other = next(each for each in FILES if each != language)
    switch = f'<a href="{FILES[other]}" lang="{other}" hreflang="{other}">{LANGUAGES[other]}</a>'
    about = texts["explore_recorded"].format(
        prompt=run["prompt"], seed=run["seed"], step=run["step"] + 1, steps=run["inside"]["message"]["steps"]
    )
    parts = [
        _part("explore_vectors_head", texts, "explore-vectors"),
        _part("explore_text_head", texts, "explore-text"),
        _part("explore_inside_head", texts, "explore-inside"),
        f'<div class="pw-part" id="explore-limits">{_markdown(texts["explore_limits"])}</div>',
        _part("explore_notebooks", texts, "explore-notebooks"),
    ]
    site = f' data-site="{html.escape(notebooks)}"' if notebooks else ""
    title = texts["explore_recorded_title"]
    imports = json.dumps({"imports": module_urls()})
    script = f'import {{ showRecordedRun }} from "{ENTRY}";\n' + (
        'showRecordedRun(JSON.parse(document.getElementById("recorded").textContent));'
    )
    return f"""<!doctype html>
<html lang="{language}"{site}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>
{_styles()}
</style>
<script type="importmap">{_inside_script(imports)}</script>
</head>
<body>
<div class="gradio-container"><main class="pw-page tabs">
<header><h1 class="pw-title">{html.escape(title)}</h1>{switch}</header>
<div class="tabitem">
<p class="pw-lead">{html.escape(texts["explore_intro"])}</p>
<p class="pw-lead">{html.escape(about)}</p>
{_component("explore-tour")}
{"".join(parts)}
</div>
</main></div>
<script type="application/json" id="recorded">{_inside_script(json.dumps(data, ensure_ascii=False))}</script>
<script type="module">{script}</script>
</body>
</html>
"""


def module_urls() -> dict[str, str]:
    """Return the modules of the page as data URLs, by their file names."""
    urls: dict[str, str] = {}
    waiting = [ENTRY]
    while waiting:
        name = waiting.pop()
        if name in urls:
            continue
        source = STATIC.joinpath(name).read_text(encoding="utf-8")
        if name == CONSTANTS_MODULE:
            source = f"export const constants = {CONSTANTS.read_text(encoding='utf-8')};"
        waiting += [found[2] for found in IMPORT.finditer(source)]
        content = quote(IMPORT.sub(r'\1"\2"', source), safe=UNQUOTED)
        urls[name] = f"data:text/javascript;charset=utf-8,{content}"
    return urls


def _styles() -> str:
    theme = make_theme()._get_theme_css()
    variables = re.sub(r"@font-face\s*\{[^}]*\}", "", theme)  # fonts of Gradio's server
    files = (*STYLES, "recorded_page.css")
    return "\n".join([variables, *(STATIC.joinpath(name).read_text(encoding="utf-8") for name in files)])


def _component(element_id: str) -> str:
    return f'<div id="{element_id}"><div class="pw-explore"></div></div>'


def _part(head: str, texts: Mapping[str, str], element_id: str) -> str:
    return f'<div class="pw-part">{_markdown(texts[head])}{_component(element_id)}</div>'


def _inside_script(text: str) -> str:
    """Return JSON that ends no script element."""
    return text.replace("<", "\\u003c")


def _markdown(text: str) -> str:
    """Return the HTML of a heading, paragraphs and a list in Markdown, with bold words."""
    blocks = []
    for block in text.split("\n\n"):
        marked = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html.escape(block))
        lines = marked.split("\n")
        if lines[0].startswith("## "):
            blocks.append(f"<h2>{lines[0][3:]}</h2>")
        elif lines[0].startswith("- "):
            blocks.append("<ul>" + "".join(f"<li>{line[2:]}</li>" for line in lines) + "</ul>")
        else:
            blocks.append(f"<p>{' '.join(lines)}</p>")
    return "".join(blocks)
