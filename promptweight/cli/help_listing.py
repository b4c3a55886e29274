"""The commands and options that the READMEs list, taken from the commands' own help.

    python -m promptweight.cli.help_listing README.md README.pt-br.md

writes them between the two marks in each file; a test tells when that is to be done.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer.main

from promptweight.cli.main import app

BEGIN = "<!-- the commands: python -m promptweight.cli.help_listing README.md README.pt-br.md -->"
END = "<!-- end of the commands -->"
LISTED_OPTIONS = (
    "prompt", "output", "model", "negative", "method", "space", "mode", "balance", "steps", "guidance",
    "seed", "n", "overlay", "overlay_all", "maps", "metadata", "from_file", "as_json",
)  # fmt: skip
"""The options of `generate` that are listed."""

_WIDTH = 110


def make_listing() -> str:
    """Return the listing, with its marks: every command in a line, and the main options of `generate`."""
    program: Any = typer.main.get_command(app)
    commands = {name: command.get_short_help_str(_WIDTH) for name, command in program.commands.items()}
    parameters = {parameter.name: parameter for parameter in program.commands["generate"].params}
    chosen = {_names(parameters[name]): parameters[name].help for name in LISTED_OPTIONS}
    lines = [
        BEGIN,
        "```",
        "promptweight COMMAND",
        *_rows(commands),
        "",
        "promptweight generate",
        *_rows(chosen),
        "```",
        END,
    ]
    return "\n".join(lines)


def replace_listing(text: str) -> str:
    """Return a README with the listing as it now is between its marks.

    Raises:
        ValueError: the marks are not in it, once each and in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in after or END in after:
        raise ValueError(f"{BEGIN} and {END} must each be in it once, in this order")
    return f"{before}{make_listing()}{after}"


def main(files: Sequence[str]) -> None:
    """Write the listing into some files."""
    for name in files:
        path = Path(name)
        path.write_text(replace_listing(path.read_text(encoding="utf-8")), encoding="utf-8")


def _names(parameter: Any) -> str:
    """Return the spellings of an option, short first, and what its value is called."""
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    names = ", ".join(sorted(parameter.opts, key=len))
    return names if parameter.metavar is None else f"{names} {parameter.metavar}"


def _rows(listed: dict[str, str]) -> list[str]:
    """Return names and what they mean in two columns."""
    left = max(map(len, listed)) + 4
    rows = []
    for name, told in listed.items():
        lines = textwrap.wrap(told, _WIDTH - left)
        rows.append(f"  {name:<{left - 2}}{lines[0]}")
        rows += [" " * left + line for line in lines[1:]]
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
