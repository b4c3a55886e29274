"""`promptweight methods` and `promptweight info`: what there is, and how a picture was made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from promptweight.cli import show


def methods(
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """List the ways weights can act on embeddings."""
    from promptweight.weighting import METHODS

    if as_json:
        show.as_json({name: method.description for name, method in METHODS.items()})
        return
    table = Table("method", "what it does")
    for name, method in METHODS.items():
        table.add_row(name, method.description)
    show.console(stderr=False).print(table)


def info(
    file: Annotated[Path, typer.Argument(help="A picture: PNG, JPEG or WebP.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Tell how a picture was made, from what its file says."""
    from promptweight.metadata import read, read_parameters

    found = read(file)
    if as_json:
        prompt, negative, settings = read_parameters(found.parameters or "")
        show.as_json(
            {
                "promptweight": found.record,
                "parameters": found.parameters,
                "prompt": prompt,
                "negative_prompt": negative,
                "settings": settings,
                "digital_source_type": found.digital_source_type,
            }
        )
    elif found.record is not None:
        show.lines(f"{name}: {value}" for name, value in found.record.items())
    elif found.parameters is not None:
        show.lines([found.parameters])
    else:
        show.warnings([f"{file} says nothing about how it was made"])
