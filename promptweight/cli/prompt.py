"""`promptweight parse`, `convert` and `detect`: the prompt language, by itself unless a model is named."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from promptweight.cli import console, options

PromptText = Annotated[str, typer.Argument(help="The prompt; - reads stdin.")]


def parse(
    prompt: PromptText,
    dialect: options.Dialect = "pw",
    tokens: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Also show the tokens and chunks of each text encoder of this model: "
            "a built-in name, a folder, or a hub id from the cache.",
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Show how a prompt is understood: its words, their weights, and what is odd in it."""
    from promptweight.cli import prompt_report
    from promptweight.prompt import parse as read

    understood = read(console.read_argument(prompt), dialect)
    if tokens is None:
        if as_json:
            console.print_json(prompt_report.to_dict(understood))
        else:
            console.print_prompt(understood, stderr=False)
        return
    from promptweight.cli.token_report import make_table, to_list
    from promptweight.models import token_tables

    tables = token_tables(understood, tokens)
    if as_json:
        console.print_json({**prompt_report.to_dict(understood), "tokens": to_list(tables)})
    else:
        console.print_prompt(understood, stderr=False)
        console.make_console(stderr=False).print(make_table(tables))


def convert(
    prompt: PromptText,
    to: Annotated[str, typer.Option(help="The dialect to write.")],
    dialect: Annotated[str, typer.Option("--from", help="The dialect to read.")] = "pw",
    as_json: options.AsJson = False,
) -> None:
    """Rewrite a prompt in another tool's dialect, and say what is lost."""
    from promptweight.prompt import convert as rewrite

    conversion = rewrite(console.read_argument(prompt), dialect, to)
    losses = [loss.message for loss in conversion.losses]
    if as_json:
        console.print_json({"prompt": conversion.text, "losses": losses})
    else:
        console.print_warnings(losses)
        console.print_lines([conversion.text])


def detect(prompt: PromptText, as_json: options.AsJson = False) -> None:
    """Guess the dialect of a prompt, and how sure the guess is (0 to 1)."""
    from promptweight.prompt import detect as guess

    found = guess(console.read_argument(prompt))
    if as_json:
        console.print_json(found._asdict())
    else:
        console.print_lines([f"{found.dialect} {found.confidence:.2f}"])


def methods(as_json: options.AsJson = False) -> None:
    """List the ways weights can act on embeddings."""
    from promptweight.weighting import METHODS

    if as_json:
        console.print_json({name: method.description for name, method in METHODS.items()})
        return
    table = Table("method", "what it does")
    for name, method in METHODS.items():
        table.add_row(name, method.description)
    console.make_console(stderr=False).print(table)
