"""Settings of the documentation site: `sphinx-build --fail-on-warning docs out/site`."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

import promptweight
from promptweight_ui.recorded_page import write_pages

project = "promptweight"
author = "the promptweight developers"
copyright = author  # noqa: A001 - the name that Sphinx reads
version = release = promptweight.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]  # formulas of the notebooks
html_math_renderer = "mathml"  # which browsers draw without a script from the network
nb_execution_mode = "off"  # the tests run the notebooks; `-D nb_execution_mode=force` shows their output

default_role = "code"
autodoc_member_order = "bysource"
add_module_names = False
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = "promptweight"
html_copy_source = False
html_show_sphinx = False

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "promptweight/mini/weights/mini/README.md": "model-cards/mini.md",
    "promptweight/mini/weights/mini-dit/README.md": "model-cards/mini-dit.md",
    "CONTRIBUTING.md": "contributing.md",
    "examples/notebooks/README.md": "index.md",
}
"""Pages of the site that show files from outside `docs/`."""

EXPLORE = re.compile(r"\[([^]]+)\]\(\.\./examples/explore_page\.py\)")
"""Link of a page of `docs/` to the script that writes the recorded pages of the Explore tab."""


def copy_notebooks(app: Sphinx, _config: object) -> None:
    """Copy the notebooks into the source folder, where Sphinx finds them."""
    target = Path(app.srcdir) / "notebooks"
    target.mkdir(exist_ok=True)
    for notebook in (ROOT / "examples" / "notebooks").glob("*.ipynb"):
        shutil.copyfile(notebook, target / notebook.name)


def link_pages(app: Sphinx, name: str, source: list[str]) -> None:
    """Let links to files outside `docs/` lead to the pages that show them."""
    folder = (Path(app.srcdir) / name).parent

    def target(link: re.Match[str]) -> str:
        path = Path(os.path.normpath(folder / link[1]))
        page = PAGES.get(path.relative_to(ROOT).as_posix()) if path.is_relative_to(ROOT) else None
        return link[0] if page is None else f"](/{page})"

    source[0] = re.sub(r"\]\(([^)#\s:]+\.md)\)", target, source[0])
    # the script of the repository makes pages that the site has
    source[0] = EXPLORE.sub(r'<a href="explore/index.html">\1</a>', source[0])


def mark_examples(*arguments: Any) -> None:
    """Mark the indented examples of a docstring, whose lines are the last argument, as code."""
    lines = arguments[-1]
    for number in range(len(lines) - 1, 1, -1):
        before, gap, line = lines[number - 2 : number + 1]
        if line.startswith("    ") and not gap and before and not before.startswith(" "):
            lines[number:number] = ["::", ""]


def write_explore_pages(app: Sphinx, exception: Exception | None) -> None:
    """Write the pages with a recorded run of the app's Explore tab into the built site."""
    if exception is None and app.builder.format == "html":
        write_pages(Path(app.outdir) / "explore", notebooks="../notebooks")


def write_formula(translator: Any, node: nodes.math | nodes.math_block) -> None:
    """Write a formula of LaTeX as MathML."""
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    translator.body.append(convert(node.astext(), display=display))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Connect the functions above to the build."""
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    app.connect("config-inited", copy_notebooks)
    app.connect("source-read", link_pages)
    app.connect("build-finished", write_explore_pages)
    app.connect("autodoc-process-docstring", mark_examples, priority=100)  # before napoleon
