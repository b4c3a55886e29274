"""`promptweight methods`: the ways there are for weights to act."""

from __future__ import annotations

from rich.table import Table

from promptweight.cli import console, options


def methods(as_json: options.AsJson = False) -> None:
    """List the ways weights can act on embeddings."""
    from promptweight.weighting.methods import METHODS

    if as_json:
        console.as_json({name: method.description for name, method in METHODS.items()})
        return
    table = Table("method", "what it does")
    for name, method in METHODS.items():
        table.add_row(name, method.description)
    console.console(stderr=False).print(table)
