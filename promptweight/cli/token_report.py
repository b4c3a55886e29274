"""Report of the tokens and chunks of a prompt for each text encoder of a model: a table, and JSON data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from promptweight.cli.prompt_report import make_visible

if TYPE_CHECKING:
    from promptweight.conditioning import Token, TokenTable


def make_table(tables: Sequence[TokenTable]) -> Table:
    """Return a table of the chunks of every text encoder: used and available tokens, and the text."""
    result = Table(box=None, pad_edge=False, header_style="dim")
    result.add_column("encoder")
    result.add_column("chunk", justify="right")
    result.add_column("tokens", justify="right")
    result.add_column("text")
    for tokens in tables:
        for number, (chunk, text) in enumerate(zip(split_chunks(tokens), chunk_texts(tokens), strict=True)):
            name = tokens.encoder if number == 0 else ""
            used = f"{len(chunk)}/{tokens.layout.capacity}"
            result.add_row(name, str(number + 1), used, Text(make_visible(text)))
        if tokens.truncated_text:
            result.add_row("", "cut", "", Text(make_visible(tokens.truncated_text), style="yellow"))
    return result


def to_list(tables: Sequence[TokenTable]) -> list[dict[str, Any]]:
    """Return the chunks of every text encoder as JSON data; offsets of tokens are in the clean text."""
    return [
        {
            "encoder": tokens.encoder,
            "tokens": sum(token.kind == "text" for token in tokens.tokens),
            "capacity": tokens.layout.capacity,
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
            "cut": tokens.truncated_text,
        }
        for tokens in tables
    ]


def split_chunks(tokens: TokenTable) -> Iterator[list[Token]]:
    """Yield the text tokens of each chunk, without special tokens."""
    length = tokens.layout.length
    for first in range(0, tokens.rows, length):
        yield [token for token in tokens.tokens[first : first + length] if token.kind == "text"]


def chunk_texts(tokens: TokenTable) -> list[str]:
    """Return the part of the clean text in each chunk; for a blend, the texts of its parts."""
    if not tokens.parts:
        return [
            tokens.prompt.text[chunk[0].start : chunk[-1].end] if chunk else ""
            for chunk in split_chunks(tokens)
        ]
    blended = (
        texts for block in tokens.parts for texts in zip_longest(*map(chunk_texts, block), fillvalue="")
    )
    return [" + ".join(filter(None, texts)) for texts in blended]
