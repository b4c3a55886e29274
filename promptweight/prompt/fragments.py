"""Canonical (text, weight) fragments of a prompt, the form in which other tools report their weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from promptweight.prompt.a1111_scanner import scan
from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.model import BREAK_KEYWORD, Prompt, Span
from promptweight.prompt.source_map import MappedText
from promptweight.prompt.weighted_ranges import weigh_nodes

Piece = tuple[str, str, float]
"""(kind, text, weight); a `break` becomes a BREAK fragment, a `gap` keeps its neighbors apart."""


def to_fragments(prompt: Prompt) -> list[tuple[str, float]]:
    """Return the (text, weight) pairs of a prompt in canonical form.

    Empty text is dropped, neighbors of equal weight (to six decimals) are joined, and a new chunk begins with
    `("BREAK", -1.0)`. For `a1111` these are the fragments of `parse_prompt_attention` in
    AUTOMATIC1111/stable-diffusion-webui, which gets the source with AND, tags, comments and prompt editing.

    >>> from promptweight.prompt import parse
    >>> to_fragments(parse("um (gato:1.4) vermelho").at())
    [('um ', 1.0), ('gato', 1.4), (' vermelho', 1.0)]
    """
    if prompt.dialect == "a1111":
        return _join_pieces(_a1111_pieces(prompt.source))
    return _join_pieces(_span_pieces(prompt.spans))


def _join_pieces(pieces: Iterable[Piece]) -> list[tuple[str, float]]:
    """Return pieces in canonical form."""
    fragments: list[tuple[str, float]] = []
    pending: list[str] = []
    pending_weight = 1.0
    for kind, text, weight in [*pieces, ("gap", "", 1.0)]:
        if pending and not (kind == "text" and (not text or round(weight, 6) == round(pending_weight, 6))):
            fragments.append(("".join(pending), pending_weight))
            pending = []
        if kind == "break":
            fragments.append((BREAK_KEYWORD, weight))
        elif kind == "text" and text:
            if not pending:
                pending_weight = weight
            pending.append(text)
    return fragments


def _span_pieces(spans: Iterable[Span]) -> Iterator[Piece]:
    """Yield spans as pieces."""
    for span in spans:
        if span.origin == "break":
            yield "break", "", -1.0
        else:
            yield ("gap" if span.origin in ("and", "gap") else "text"), span.text, span.weight


def _a1111_pieces(source: str) -> Iterator[Piece]:
    """Yield the pieces of A1111's weight parser; a BREAK inside a group has the group's weight, as there."""
    found = scan(MappedText.whole(source), "a1111", Remarks())
    for weighted in weigh_nodes(found.nodes, "a1111"):
        # A1111 takes BREAK with a weight other than -1 for the word, and joins it to its neighbors.
        is_break = weighted.origin == "break" and weighted.weight == -1.0
        text = "".join(source[start:end] for start, end in weighted.ranges)
        yield ("break" if is_break else "text"), text, weighted.weight
