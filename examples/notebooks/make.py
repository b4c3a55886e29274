"""Writes the notebooks from `sources/`, in Portuguese and in English: `python examples/notebooks/make.py`.

A source is a Python file in the percent format that editors and jupytext know. `# %%` begins a cell of code,
`# %% [markdown] lang="pt"` one of text in one language. A line of code that ends in `# pt` or `# en` is in
that notebook alone; everything else is in both, so the two cannot drift apart. What stands before the first
cell is for the source alone.

`--execute` runs the notebooks and keeps what they show; without it they are written without outputs.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import nbformat

FOLDER = Path(__file__).parent
NAMES = {
    "attention": {"pt": "o_que_e_atencao", "en": "what_is_attention"},
    "kinds": {"pt": "quem_olha_para_quem", "en": "who_looks_at_whom"},
    "word_weight": {"pt": "o_peso_de_uma_palavra", "en": "the_weight_of_a_word"},
    "weighting": {"pt": "qual_ponderacao_usar", "en": "which_weighting"},
    "honest_maps": {"pt": "ler_mapas_com_honestidade", "en": "reading_maps_honestly"},
}
"""The notebooks' file names, by source and language, in the order in which they are read."""

CELL = re.compile(r"^# %%(?: \[(markdown)\] lang=\"(pt|en)\")?$")
TAG = re.compile(r"  # (pt|en)$")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def build(source: str, language: str) -> Any:
    """Return the notebook of a source's text in one language, without outputs.

    Raises:
        ValueError: a line looks like the beginning of a cell, but is none.
    """
    cells: list[Any] = []
    kept = False
    for number, line in enumerate(source.splitlines(), 1):
        if line.startswith("# %%"):
            begins = CELL.match(line)
            if begins is None:
                raise ValueError(f"line {number} begins no cell of a known kind: {line}")
            kept = begins[2] in (None, language)
            if kept:
                new = nbformat.v4.new_markdown_cell if begins[1] else nbformat.v4.new_code_cell
                cells.append(new(id=f"cell-{len(cells)}"))
        elif kept and cells[-1].cell_type == "markdown":
            cells[-1].source += line.removeprefix("#").removeprefix(" ") + "\n"
        elif kept:
            tag = TAG.search(line)
            if tag is None or tag[1] == language:
                cells[-1].source += TAG.sub("", line) + "\n"
    for cell in cells:
        cell.source = cell.source.strip("\n")
    return nbformat.v4.new_notebook(cells=cells, metadata=METADATA)


def execute(notebook: Any, folder: Path) -> None:
    """Run a notebook in `folder` and keeps in it what its cells show.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised.
    """
    from nbclient import NotebookClient

    client = NotebookClient(
        notebook,
        timeout=None,
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=40"],
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    notebook.metadata = nbformat.from_dict(METADATA)  # the kernel adds the version of this Python
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/jpeg", None)  # Pillow shows every picture twice


def main() -> None:
    """Write every notebook."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="*", default=[*NAMES], help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--execute", action="store_true", help="run them and keep what they show")
    parser.add_argument("--output", type=Path, default=FOLDER)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for source in options.sources:
        text = (FOLDER / "sources" / f"{source}.py").read_text(encoding="utf-8")
        for language, name in NAMES[source].items():
            notebook = build(text, language)
            if options.execute:
                execute(notebook, options.output)
            path = options.output / f"{name}.ipynb"
            nbformat.write(notebook, path)
            print(path)


if __name__ == "__main__":
    main()
