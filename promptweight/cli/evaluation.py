"""`promptweight evaluate`: what a built-in model draws and what its maps find, in figures."""

from __future__ import annotations

from typing import Annotated

import typer

from promptweight.cli import show


def evaluate(
    model: Annotated[str, typer.Argument(help="The built-in model.")] = "mini",
    number: Annotated[int, typer.Option(min=1, help="Prompts per question.")] = 200,
    seed: Annotated[int, typer.Option(help="Chooses the held-out prompts and scenes.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure a built-in model against truths that are known exactly."""
    from promptweight.evaluate import run
    from promptweight.evaluate.report import table, to_list

    figures = run(model, number=number, seed=seed)
    if as_json:
        show.as_json(to_list(figures))
    else:
        show.console(stderr=False).print(table(figures))
