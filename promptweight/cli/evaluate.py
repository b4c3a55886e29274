"""The command `promptweight evaluate`: prompt fidelity, attention maps and weights of a model in numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptweight.cli import console, options


def evaluate(
    model: Annotated[
        str, typer.Argument(help="A built-in model; with --report any model that generate accepts.")
    ] = "mini",
    number: Annotated[int, typer.Option(min=1, help="Prompts per measurement.")] = 200,
    seed: Annotated[int, typer.Option(help="Selects the held-out prompts and scenes.")] = 0,
    report: Annotated[
        Path | None, typer.Option(help="Write a report with tables and plots into this folder.")
    ] = None,
    only: Annotated[
        str,
        typer.Option(
            help="Measurements of the report, separated by commas: prompt-fidelity, localization, "
            "faithfulness, weight-reach, weight-response, degree-response, share-targets, negative-prompts, "
            "missing-concepts. By default all that the model allows."
        ),
    ] = "",
    weighting: Annotated[
        list[str] | None,
        typer.Option(
            help="Weighting in the measurement weight-response, as `promptweight weightings` lists them; "
            "repeatable; all by default."
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure a model against exact ground truth."""
    from promptweight.errors import SettingError
    from promptweight.evaluation import make_metric_table, measure_acceptance, metrics_to_list, write_report
    from promptweight.messages import message

    names = [name.strip() for name in only.split(",") if name.strip()]
    if report is None:
        for option, is_given in (("--only", names), ("--weighting", weighting)):
            if is_given:
                raise SettingError(message("cli-report-parts", option=option))
        metrics = measure_acceptance(model, number=number, seed=seed)
    else:
        terminal = console.make_console(stderr=True)
        sections, files = write_report(
            model,
            report,
            only=names,
            number=number,
            seed=seed,
            weightings=weighting or (),
            progress=lambda name: terminal.print(f"measuring {name} …"),
        )
        metrics = [metric for section in sections for metric in section.metrics]
        terminal.print(f"wrote {files[0]} and {len(files) - 1} more files")
    if as_json:
        console.print_json(metrics_to_list(metrics))
    elif metrics:
        console.make_console(stderr=False).print(make_metric_table(metrics))
