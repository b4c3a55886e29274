"""Builder of the notebooks, in Portuguese and in English, from `sources/`.

    python examples/notebooks/make.py                            write the notebooks, without outputs
    python examples/notebooks/make.py --execute out/notebooks    write them executed, into another folder

A source is a Python file in the percent format of editors and jupytext. `# %%` begins a code cell,
`# %% [markdown] lang="pt"` a text cell in one language. A line of code that ends in `# pt` or `# en` is in
that notebook alone; every other line is in both, so that the two cannot diverge. Lines before the first cell
belong to the source alone.

The repository holds the notebooks without outputs; the tests execute them.
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
    "kinds": {"pt": "tipos_de_atencao", "en": "kinds_of_attention"},
    "word_weight": {"pt": "o_peso_de_uma_palavra", "en": "the_weight_of_a_word"},
    "weighting": {"pt": "qual_ponderacao_usar", "en": "which_weighting"},
    "honest_maps": {"pt": "ler_mapas_com_honestidade", "en": "reading_maps_honestly"},
}
"""File names of the notebooks by source and language, in reading order."""

CELL = re.compile(r"^# %%(?: \[(markdown)\] lang=\"(pt|en)\")?$")
TAG = re.compile(r"  # (pt|en)$")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def build(source: str, language: str) -> Any:
    """Return the notebook of a source text in one language, without outputs.

    Args:
        source: Text in the percent format.
        language: `pt` or `en`.

    Raises:
        ValueError: A line begins with `# %%` but is not the header of a cell.
    """
    cells: list[Any] = []
    included = False
    for number, line in enumerate(source.splitlines(), 1):
        if line.startswith("# %%"):
            header = CELL.match(line)
            if header is None:
                raise ValueError(f"line {number} must be the header of a code or markdown cell; got {line}")
            included = header[2] in (None, language)
            if included:
                new = nbformat.v4.new_markdown_cell if header[1] else nbformat.v4.new_code_cell
                cells.append(new(id=f"cell-{len(cells)}"))
        elif included and cells[-1].cell_type == "markdown":
            cells[-1].source += line.removeprefix("#").removeprefix(" ") + "\n"
        elif included:
            tag = TAG.search(line)
            if tag is None or tag[1] == language:
                cells[-1].source += TAG.sub("", line) + "\n"
    for cell in cells:
        cell.source = cell.source.strip("\n")
    return nbformat.v4.new_notebook(cells=cells, metadata=METADATA)


def execute(notebook: Any, folder: Path) -> None:
    """Run a notebook in place, with `folder` as the working directory, and store the outputs of its cells.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell raised an exception.
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
    notebook.metadata = nbformat.from_dict(METADATA)  # without the kernel's Python version
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/jpeg", None)  # Pillow outputs every image as PNG and as JPEG


def main() -> None:
    """Write the notebooks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sources", nargs="*", default=[*NAMES], help=f"of {', '.join(NAMES)}; all of them by default"
    )
    parser.add_argument("--execute", type=Path, metavar="FOLDER", help="execute the notebooks into FOLDER")
    options = parser.parse_args()
    folder = options.execute or FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for source in options.sources:
        text = (FOLDER / "sources" / f"{source}.py").read_text(encoding="utf-8")
        for language, name in NAMES[source].items():
            notebook = build(text, language)
            if options.execute:
                execute(notebook, folder)
            path = folder / f"{name}.ipynb"
            nbformat.write(notebook, path)
            print(path)


if __name__ == "__main__":
    main()
