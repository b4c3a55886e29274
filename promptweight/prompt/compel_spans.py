"""Spans of a compel part: words of equal weight joined as compel joins them, and its swaps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from promptweight.prompt.builder import SPACE, PromptBuilder
from promptweight.prompt.literals import clamp_weight
from promptweight.prompt.model import Swap
from promptweight.prompt.nodes import Node, Substitution, Text, Weighted
from promptweight.prompt.source_map import MappedText

SWAP_DEFAULTS: dict[str, float | str] = {"s_start": 0.0, "s_end": 0.0, "t_start": 0.2, "t_end": 1.0}
ESCAPE = re.compile(r"(?<!\\)\\++[()\"]")


class _Piece(NamedTuple):
    """A word with its weight and the weight's origin; for a swap, `origin` is `begin` or `end`."""

    node: Text | Substitution
    weight: float
    origin: str


def add_compel_part(builder: PromptBuilder, mapped: MappedText, nodes: Sequence[Node]) -> None:
    """Add the words of a part as spans, with a space between spans, and its swaps."""
    begun: list[int] = []
    first = builder.length
    for words in _join_words(_weigh_words(nodes)):
        node = words[0].node
        if isinstance(node, Substitution):
            if words[0].origin == "begin":
                begun.append(builder.length + (builder.length > first))
                continue
            edited = _join_words(_weigh_words(node.edited, words[0].weight))
            builder.swaps.append(
                Swap(
                    clean_start=min(begun.pop(), builder.length),
                    clean_end=builder.length,
                    edited=tuple((_joined_text(mapped.text, word), word[0].weight) for word in edited),
                    options=tuple(_swap_options(node).items()),
                    start=mapped.source_start(node.start),
                    end=mapped.source_end(node.end),
                )
            )
            continue
        ranges = _word_ranges(mapped.text, words)
        if ranges:
            if builder.length > first:
                builder.add_gap(mapped.source_start(node.start))
            builder.add_span(mapped, ranges, words[0].weight, origin=words[0].origin)


def _weigh_words(nodes: Sequence[Node], enclosing: float = 1.0) -> list[_Piece]:
    """Return the words in order, each with the product of the weights around it.

    The words of a swap's original are between two pieces of the swap.
    """
    pieces: list[_Piece] = []
    groups: list[tuple[int, float, str, Substitution | None]] = []  # (stop, weight, origin, swap)
    weight, origin, stop = enclosing, "none", len(nodes) + 1
    for index, node in enumerate(nodes):
        while index >= stop:
            closed = groups.pop()[3]
            if closed is not None:
                pieces.append(_Piece(closed, weight, "end"))
            stop, weight, origin, _ = groups[-1] if groups else (len(nodes) + 1, enclosing, "none", None)
        if isinstance(node, Weighted):
            weight, origin, stop = clamp_weight(weight * node.weight), node.origin, node.stop
            groups.append((stop, weight, origin, None))
        elif isinstance(node, Substitution):
            pieces.append(_Piece(node, weight, "begin"))
            stop = node.stop
            groups.append((stop, weight, origin, node))
        elif isinstance(node, Text):
            pieces.append(_Piece(node, weight, origin))
    while groups:
        _, weight, _, closed = groups.pop()
        if closed is not None:
            pieces.append(_Piece(closed, weight, "end"))
    return pieces


def _join_words(pieces: list[_Piece]) -> list[list[_Piece]]:
    """Return neighboring words of equal weight together; a swap's pieces stay alone."""
    joined: list[list[_Piece]] = []
    last: _Piece | None = None
    for piece in pieces:
        is_word = isinstance(piece.node, Text)
        if last is not None and is_word and isinstance(last.node, Text) and last.weight == piece.weight:
            joined[-1].append(piece)
        else:
            joined.append([piece])
        last = piece
    return joined


def _word_ranges(text: str, words: list[_Piece]) -> list[tuple[int, int]]:
    """Return the ranges of joined words: `SPACE` between them, escapes removed.

    compel removes a backslash every time it makes a fragment: twice for each, and once more when joining.
    """
    ranges: list[tuple[int, int]] = []
    for number, piece in enumerate(words):
        offset, end = piece.node.start, piece.node.end
        if number:
            ranges.append(SPACE)
        passes = 2 + (len(words) - number if number else len(words) - 1)
        for escape in ESCAPE.finditer(text, offset, end):
            if offset < escape.start():
                ranges.append((offset, escape.start()))
            offset = escape.start() + min(passes, len(escape[0]) - 1)
        if offset < end:
            ranges.append((offset, end))
    return ranges


def _joined_text(text: str, words: list[_Piece]) -> str:
    """Return the text of joined words."""
    return "".join(" " if span == SPACE else text[slice(*span)] for span in _word_ranges(text, words))


def _swap_options(node: Substitution) -> dict[str, float | str]:
    """Return the options of a swap over compel's defaults.

    `shape_freedom` f sets `s_end` to 1 - f^(1/3).
    """
    options = dict(SWAP_DEFAULTS)
    given = dict(node.options)
    freedom = given.pop("shape_freedom", None)
    if isinstance(freedom, float) and freedom >= 0:
        options["s_end"] = 1.0 - freedom ** (1 / 3)
    return options | given
