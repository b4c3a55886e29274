"""Listing of the commands and options in the documentation, generated from the command line's help.

    python -m promptweight.cli.help_listing docs/command-line.md docs/pt-br/linha-de-comando.md

replaces the text between the two marks in each file; a test fails if that is needed.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer.main

from promptweight.cli.main import app

BEGIN = "<!-- the commands: python -m promptweight.cli.help_listing FILE... -->"
END = "<!-- end of the commands -->"
LISTED_OPTIONS = (
    "prompt", "output", "model", "negative", "weighting", "target", "steps", "guidance", "seed", "n",
    "overlay", "contact_sheet", "save_maps", "metadata", "from_file", "as_json",
)  # fmt: skip
"""Options of `generate` in the listing."""

_WIDTH = 110


def make_listing() -> str:
    """Return the listing with its marks: every command in a line, and the main options of `generate`."""
    program: Any = typer.main.get_command(app)
    commands = {name: command.get_short_help_str(_WIDTH) for name, command in program.commands.items()}
    parameters = {parameter.name: parameter for parameter in program.commands["generate"].params}
    listed = {_spellings(parameters[name]): parameters[name].help for name in LISTED_OPTIONS}
    lines = [
        BEGIN,
        "```",
        "promptweight COMMAND",
        *_format_rows(commands),
        "",
        "promptweight generate",
        *_format_rows(listed),
        "```",
        END,
    ]
    return "\n".join(lines)


def replace_listing(text: str) -> str:
    """Return a page with the current listing between its marks.

    Raises:
        ValueError: the text does not have both marks once each and in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in after or END in after:
        raise ValueError(f"the text must have {BEGIN} and {END} once each, in this order")
    return f"{before}{make_listing()}{after}"


def main(files: Sequence[str]) -> None:
    """Write the listing into some files."""
    for name in files:
        path = Path(name)
        path.write_text(replace_listing(path.read_text(encoding="utf-8")), encoding="utf-8")


def _spellings(parameter: Any) -> str:
    """Return the spellings of an option, short first, and the name of its value."""
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    names = ", ".join(sorted(parameter.opts, key=len))
    return names if parameter.metavar is None else f"{names} {parameter.metavar}"


def _format_rows(texts: dict[str, str]) -> list[str]:
    """Return names and their help in two columns."""
    indent = max(map(len, texts)) + 4
    rows = []
    for name, text in texts.items():
        lines = textwrap.wrap(text, _WIDTH - indent)
        rows.append(f"  {name:<{indent - 2}}{lines[0]}")
        rows += [" " * indent + line for line in lines[1:]]
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
