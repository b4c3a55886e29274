"""`promptweight families`: the supported pipeline classes of diffusers and their text encoders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from promptweight.cli import console, options
from promptweight.errors import SettingError
from promptweight.messages import message

_OF_OTHERS = (
    "Pipelines of other classes are probed with a trial step, and refused if that does not find the words."
)


def families(
    as_json: options.AsJson = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a table of what is possible with each family.")
    ] = False,
) -> None:
    """List the supported model families: pipeline classes, text encoders, and where weights act."""
    rows = _list_families()
    if as_json and as_markdown:
        raise SettingError(message("families-format"))
    if as_json:
        console.print_json(rows)
        return
    if as_markdown:
        console.print_lines(_write_table(rows))
        return
    for row in rows:
        encoders, places = ", ".join(row["text_encoders"]), " or ".join(row["weights_act_in"])
        console.print_lines([f"{row['family']} ({encoders}; weights act in {places})"])
        console.print_lines(f"  {name}" for name in row["pipelines"])
    console.print_lines([_OF_OTHERS])


def _list_families() -> list[dict[str, Any]]:
    """Return the families as JSON values."""
    from promptweight.conditioning import FAMILIES

    return [
        {
            "family": family.name,
            "text_encoders": [encoder.name for encoder in family.encoders],
            # embeddings that the pipeline makes itself carry no weights
            "weights_act_in": ["attention"] if family.outputs else ["embeddings", "attention"],
            "maps_of": "each frame" if family.is_video else "each image",
            "edits": family.supports_edits,
            "guidance": family.guidance_argument,
            "pipelines": list(family.pipelines),
        }
        for family in FAMILIES
    ]


def _write_table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a Markdown table, in which families with the same cells share a row."""
    names: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        cells = ", ".join(row["weights_act_in"]), row["maps_of"], "yes" if row["edits"] else "no"
        names.setdefault(cells, []).append(row["family"])
    yield "| family | weights act in | maps of | edits |"
    yield "|---|---|---|---|"
    for shared, families in names.items():
        yield f"| {' | '.join([', '.join(families), *shared])} |"
