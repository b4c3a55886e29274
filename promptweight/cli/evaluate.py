"""`promptweight evaluate`: what a model draws, what its maps find, what weights do to it, in figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptweight.cli import console, options


def evaluate(
    model: Annotated[
        str, typer.Argument(help="A built-in model; with --report any model that generate takes.")
    ] = "mini",
    number: Annotated[int, typer.Option(min=1, help="Prompts per question.")] = 200,
    seed: Annotated[int, typer.Option(help="Chooses the held-out prompts and scenes.")] = 0,
    report: Annotated[
        Path | None, typer.Option(help="Write a report with tables and plots into this folder.")
    ] = None,
    questions: Annotated[
        str,
        typer.Option(
            help="What the report asks, separated by commas: drawing, localisation, faithfulness, response, "
            "targets, leakage. All that the model can be asked when not given."
        ),
    ] = "",
    way: Annotated[
        list[str] | None,
        typer.Option(
            help="Of the question response: a way in which weights act, or a space (embedding, attention). "
            "May be given several times; all when not given."
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure a model against truths that are known exactly."""
    from promptweight.errors import SettingError
    from promptweight.evaluation import run, table, to_list

    chosen = [name.strip() for name in questions.split(",") if name.strip()]
    if report is None:
        for option, is_given in (("--questions", chosen), ("--way", way)):
            if is_given:
                raise SettingError(f"{option} chooses the parts of a report; name its folder with --report")
        figures = run(model, number=number, seed=seed)
    else:
        from promptweight.evaluation import report as write_report

        progress = console.make_console(stderr=True)
        sections, files = write_report(
            model,
            report,
            chosen=chosen,
            number=number,
            seed=seed,
            ways=way or (),
            follow=lambda name: progress.print(f"measuring {name} …"),
        )
        figures = [figure for section in sections for figure in section.figures]
        progress.print(f"{files[0]} and {len(files) - 1} more files are written")
    if as_json:
        console.print_json(to_list(figures))
    elif figures:
        console.make_console(stderr=False).print(table(figures))
