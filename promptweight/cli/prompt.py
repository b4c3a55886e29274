"""`promptweight parse`, `convert`, `detect` and `weightings`: prompts, and how weights act."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from promptweight.cli import console, options

WEIGHTING_SETTINGS = {
    "pooled=weighted": "Also weights the text of the pooled vector, where the model has one.",
    "layers=up_blocks+mid_block": "Parts of the names of the attention layers in which weights act.",
    "steps=0-0.6": "Part of the run in which weights act in attention.",
    "dial=0.25:0.5+0.5:0.7": "Calibration of presence below 1; see `promptweight calibrate`.",
    "gain=1.5": "Calibration of presence above 1: a weight w acts as w to this power.",
}
"""Examples of the settings of a weighting besides its normalizer, each with its effect."""

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
    from promptweight.prompt import parse as parse_prompt
    from promptweight.prompt import to_data

    parsed = parse_prompt(console.read_argument(prompt), dialect).at()
    if tokens is None:
        if as_json:
            console.print_json(to_data(parsed))
        else:
            console.print_prompt(parsed, stderr=False)
        return
    from promptweight.cli.token_report import make_table, to_list
    from promptweight.models import tokenize_prompt

    tables = tokenize_prompt(parsed, tokens)
    if as_json:
        console.print_json({**to_data(parsed), "tokens": to_list(tables)})
    else:
        console.print_prompt(parsed, stderr=False)
        console.make_console(stderr=False).print(make_table(tables))


def convert(
    prompt: PromptText,
    to: Annotated[str, typer.Option(help="Dialect of the result.")],
    dialect: Annotated[str, typer.Option("--from", help="Dialect of the prompt.")] = "pw",
    embedding: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Textual inversion that the prompt names as a word; comfy gets embedding:NAME. Repeatable.",
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Convert a prompt to the dialect of another tool, and report losses."""
    from promptweight.prompt import convert as convert_prompt

    conversion = convert_prompt(console.read_argument(prompt), dialect, to, embeddings=embedding or ())
    losses = [loss.message for loss in conversion.losses]
    if as_json:
        console.print_json({"prompt": conversion.text, "losses": losses})
    else:
        console.print_warnings(losses)
        console.print_text(conversion.text)


def detect(prompt: PromptText, as_json: options.AsJson = False) -> None:
    """Detect the dialect of a prompt, with a confidence from 0 to 1."""
    from promptweight.prompt import detect as detect_dialect

    detection = detect_dialect(console.read_argument(prompt))
    if as_json:
        console.print_json(detection._asdict())
    else:
        console.print_lines([f"{detection.dialect} {detection.confidence:.2f}"])


def weightings(as_json: options.AsJson = False) -> None:
    """List the values of --weighting: names, and the settings that can follow a name."""
    from promptweight.weighting import NORMALIZER_DESCRIPTIONS, WEIGHTING_DESCRIPTIONS

    settings = {
        **{f"normalizer={name}": text for name, text in NORMALIZER_DESCRIPTIONS.items() if name != "none"},
        **WEIGHTING_SETTINGS,
    }
    if as_json:
        console.print_json({"weightings": dict(WEIGHTING_DESCRIPTIONS), "settings": settings})
        return
    for title, descriptions in (("weighting", WEIGHTING_DESCRIPTIONS), ("setting", settings)):
        table = Table(title, "description")
        for name, description in descriptions.items():
            table.add_row(name, description)
        console.make_console(stderr=False).print(table)
