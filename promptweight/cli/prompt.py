"""`promptweight parse`, `convert`, `detect` and `methods`: prompts and weighting methods."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from promptweight.cli import console, options

PromptText = Annotated[str, typer.Argument(help="Prompt; - for stdin.")]


def parse(
    prompt: PromptText,
    dialect: options.Dialect = "pw",
    tokens: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Also show the tokens and chunks for each text encoder of this model: a built-in name, a "
            "folder, or a hub id in the cache.",
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the words of a prompt, their weights, and problems in it."""
    from promptweight.cli import prompt_report
    from promptweight.prompt import parse as parse_prompt

    parsed = parse_prompt(console.read_argument(prompt), dialect).at()
    if tokens is None:
        if as_json:
            console.print_json(prompt_report.to_dict(parsed))
        else:
            console.print_prompt(parsed, stderr=False)
        return
    from promptweight.cli.token_report import make_table, to_list
    from promptweight.models import tokenize_prompt

    tables = tokenize_prompt(parsed, tokens)
    if as_json:
        console.print_json({**prompt_report.to_dict(parsed), "tokens": to_list(tables)})
    else:
        console.print_prompt(parsed, stderr=False)
        console.make_console(stderr=False).print(make_table(tables))


def convert(
    prompt: PromptText,
    to: Annotated[str, typer.Option(help="Dialect of the result.")],
    dialect: Annotated[str, typer.Option("--from", help="Dialect of the prompt.")] = "pw",
    as_json: options.AsJson = False,
) -> None:
    """Convert a prompt to the dialect of another tool, and report losses."""
    from promptweight.prompt import convert as convert_prompt

    conversion = convert_prompt(console.read_argument(prompt), dialect, to)
    losses = [loss.message for loss in conversion.losses]
    if as_json:
        console.print_json({"prompt": conversion.text, "losses": losses})
    else:
        console.print_warnings(losses)
        console.print_lines([conversion.text])


def detect(prompt: PromptText, as_json: options.AsJson = False) -> None:
    """Detect the dialect of a prompt, with a confidence from 0 to 1."""
    from promptweight.prompt import detect as detect_dialect

    detection = detect_dialect(console.read_argument(prompt))
    if as_json:
        console.print_json(detection._asdict())
    else:
        console.print_lines([f"{detection.dialect} {detection.confidence:.2f}"])


def methods(as_json: options.AsJson = False) -> None:
    """List the methods that weight embeddings."""
    from promptweight.weighting import METHODS

    if as_json:
        console.print_json({name: method.description for name, method in METHODS.items()})
        return
    table = Table("method", "description")
    for name, method in METHODS.items():
        table.add_row(name, method.description)
    console.make_console(stderr=False).print(table)
