"""How a prompt falls into tokens and chunks for each text encoder of a model: a table, and JSON data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from promptweight.cli.prompt_report import visible

if TYPE_CHECKING:
    from promptweight.conditioning import Token, TokenTable


def make_table(tables: Sequence[TokenTable]) -> Table:
    """The chunks of every text encoder: how many tokens each holds of how many it could, and their text."""
    shown = Table(box=None, pad_edge=False, header_style="dim")
    shown.add_column("encoder")
    shown.add_column("chunk", justify="right")
    shown.add_column("tokens", justify="right")
    shown.add_column("text")
    for tokens in tables:
        for number, (chunk, text) in enumerate(zip(split_chunks(tokens), chunk_texts(tokens), strict=True)):
            name = tokens.encoder if number == 0 else ""
            filled = f"{len(chunk)}/{tokens.frame.capacity}"
            shown.add_row(name, str(number + 1), filled, Text(visible(text)))
        if tokens.cut:
            shown.add_row("", "cut", "", Text(visible(tokens.cut), style="yellow"))
    return shown


def to_list(tables: Sequence[TokenTable]) -> list[dict[str, Any]]:
    """The same as plain data, with every token; offsets are in the clean text."""
    return [
        {
            "encoder": tokens.encoder,
            "tokens": sum(token.kind == "text" for token in tokens.tokens),
            "capacity": tokens.frame.capacity,
            "chunks": [
                {
                    "tokens": len(chunk),
                    "text": text,
                    "pieces": [
                        {
                            "id": token.id,
                            "piece": token.piece,
                            "start": token.start,
                            "end": token.end,
                            "weight": token.weight,
                        }
                        for token in chunk
                    ],
                }
                for chunk, text in zip(split_chunks(tokens), chunk_texts(tokens), strict=True)
            ],
            "cut": tokens.cut,
        }
        for tokens in tables
    ]


def split_chunks(tokens: TokenTable) -> Iterator[list[Token]]:
    """The tokens of text in each chunk; beginnings, ends and padding left out."""
    length = tokens.frame.length
    for first in range(0, tokens.rows, length):
        yield [token for token in tokens.tokens[first : first + length] if token.kind == "text"]


def chunk_texts(tokens: TokenTable) -> list[str]:
    """The stretch of the clean text that each chunk holds; where a blend lays several on each other, each."""
    if not tokens.parts:
        return [
            tokens.prompt.text[chunk[0].start : chunk[-1].end] if chunk else "" for chunk in split_chunks(tokens)
        ]
    laid_over = (
        texts for block in tokens.parts for texts in zip_longest(*map(chunk_texts, block), fillvalue="")
    )
    return [" + ".join(filter(None, texts)) for texts in laid_over]
