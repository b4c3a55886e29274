"""Reads the dialect ``compel``: parts, blends, swaps, weights, and the spacing that it gives its text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from promptweight.prompt.builder import SPACE, Builder
from promptweight.prompt.dialects.compel_grammar import (
    Group,
    Joined,
    LoraTag,
    Node,
    Reader,
    SwapNode,
    Word,
    pair_quotes,
    run,
)
from promptweight.prompt.literals import finite, within_reach
from promptweight.prompt.model import Lora, Part, Prompt, Swap
from promptweight.prompt.source_map import Flow

SWAP_DEFAULTS: dict[str, float | str] = {"s_start": 0.0, "s_end": 0.0, "t_start": 0.2, "t_end": 1.0}
TIGHT_COMMA = re.compile(r",\S")
ESCAPE = re.compile(r"(?<!\\)\\++[()\"]")


@dataclass(frozen=True, slots=True)
class Piece:
    """A leaf with its weight and the weight's origin; for a swap, ``origin`` is ``begin`` or ``end``."""

    node: Word | LoraTag | SwapNode
    weight: float
    origin: str


def read_compel(source: str) -> Prompt:
    """Read a prompt as compel does (damian0815/compel, ``PromptParser.parse_conjunction``)."""
    builder = Builder(source, "compel")
    flow = spaced_commas(source)
    reader = Reader(flow.text, len(flow.text), pair_quotes(flow.text))
    joined, leading = find_joined(reader)
    if joined is None:
        nodes, _ = run(reader.prompt(0))
        add_part(builder, flow, nodes, 0, len(flow.text))
    else:
        keep_loras(builder, flow, leading)
        add_joined(builder, flow, joined)
        add_rest(builder, flow, reader, joined)
    if not builder.parts:
        builder.parts.append(Part(source, 1.0, 0, len(source), 0, builder.length))
    warn_about_brackets(builder, flow, reader)
    builder.scanned = reader.looked_at + 2 * len(source)
    return builder.prompt()


def spaced_commas(source: str) -> Flow:
    """The source with a space after every comma, which compel puts there first."""
    texts, runs = [], []
    place = length = 0
    for match in TIGHT_COMMA.finditer(source):
        comma = match.start() + 1
        texts.append(source[place:comma])
        texts.append(" ")
        runs.append((length, place, comma - place))
        length += comma - place + 1
        place = comma
    texts.append(source[place:])
    runs.append((length, place, len(source) - place))
    return Flow("".join(texts), tuple(runs))


def find_joined(reader: Reader) -> tuple[Joined | None, list[Node]]:
    """The ``.and()`` or ``.blend()`` that the prompt is, and the tags that may stand before a blend."""
    joined = reader.joined(0, (".and", ".add"))
    if joined is not None:
        return joined, []
    leading: list[Node] = []
    place = reader.skip(0)
    while (tag := reader.lora(place)) is not None:
        leading.append(tag)
        place = reader.skip(tag.end)
    return reader.joined(place, (".blend",)), leading


def add_joined(builder: Builder, flow: Flow, joined: Joined) -> None:
    """Add the prompts that an ``.and()`` or ``.blend()`` joins."""
    blend = joined.operator == ".blend"
    values = joined.values
    normalize = True
    if blend and values and values[-1][0] == "no_normalize":
        normalize = False
        values = values[:-1]
    weights = [finite(name) for name, _ in values]
    if None in weights or (weights and len(weights) != len(joined.prompts)):
        builder.remarks.add(
            "operator-counts",
            flow.place(joined.start),
            flow.place_after(joined.end),
            name=joined.operator,
            parts=len(joined.prompts),
            weights=sum(weight is not None for weight in weights),
        )
    for number, (nodes, start, end) in enumerate(joined.prompts):
        weight = weights[number] if number < len(weights) else None
        add_part(
            builder,
            flow,
            nodes,
            start,
            end,
            weight=1.0 if weight is None else weight,
            blend=0 if blend else None,
            normalize=normalize,
        )


def add_rest(builder: Builder, flow: Flow, reader: Reader, joined: Joined) -> None:
    """Keep what stands after the joined prompts; compel refuses it or loses it."""
    nodes, _ = run(reader.prompt(joined.end))
    if all(isinstance(node, LoraTag) for node in nodes):
        keep_loras(builder, flow, nodes)
        return
    start = reader.skip(joined.end)
    builder.remarks.add(
        "operator-rest", flow.place(start), flow.place_after(len(flow.text.rstrip())), name=joined.operator
    )
    add_part(builder, flow, nodes, start, len(flow.text))


def keep_loras(builder: Builder, flow: Flow, nodes: list[Node]) -> None:
    """Note the networks that tags name."""
    for node in nodes:
        if isinstance(node, LoraTag):
            place, end = flow.place(node.start), flow.place_after(node.end)
            builder.loras.append(Lora(node.name, node.weight, place, end))


def add_part(
    builder: Builder,
    flow: Flow,
    nodes: list[Node],
    start: int,
    end: int,
    *,
    weight: float = 1.0,
    blend: int | None = None,
    normalize: bool = True,
) -> None:
    """Add one prompt: its pieces, fused as compel fuses them."""
    pieces = flatten(nodes)
    for piece in pieces:
        if isinstance(piece.node, LoraTag):
            keep_loras(builder, flow, [piece.node])
    if nodes and not any(isinstance(piece.node, Word) for piece in pieces):
        return
    if builder.length:
        builder.joint(flow.place(start), flow.place(start), "and")
    clean_start = builder.length
    add_pieces(builder, flow, pieces)
    builder.parts.append(
        Part(
            text=flow.text[start:end],
            weight=weight,
            start=flow.place(start),
            end=flow.place_after(end),
            clean_start=clean_start,
            clean_end=builder.length,
            blend=blend,
            normalize=normalize,
        )
    )


def flatten(nodes: list[Node], enclosing: float = 1.0, *, swaps: bool = True) -> list[Piece]:
    """The leaves of nested groups in reading order, each with the product of the weights round it.

    A swap gives its original's words between two pieces of its own; without ``swaps``, the words alone.
    """
    pieces: list[Piece] = []
    stack: list[tuple[Iterator[Node], float, str, SwapNode | None]]
    stack = [(iter(nodes), enclosing, "none", None)]
    while stack:
        rest, weight, origin, swap = stack[-1]
        node = next(rest, None)
        if node is None:
            stack.pop()
            if swap is not None:
                pieces.append(Piece(swap, weight, "end"))
        elif isinstance(node, Group):
            inner = origin if node.origin == "none" else node.origin
            stack.append((iter(node.nodes), within_reach(weight * node.weight), inner, None))
        elif isinstance(node, SwapNode):
            if swaps:
                pieces.append(Piece(node, weight, "begin"))
            stack.append((iter(node.original), weight, origin, node if swaps else None))
        else:
            pieces.append(Piece(node, weight, origin))
    return pieces


def fuse(pieces: list[Piece]) -> list[list[Piece]]:
    """Neighboring words of equal weight together; a swap's marks stand alone."""
    fused: list[list[Piece]] = []
    for piece in pieces:
        if isinstance(piece.node, LoraTag):
            continue
        last = fused[-1][-1] if fused else None
        is_word = isinstance(piece.node, Word)
        if last is not None and is_word and isinstance(last.node, Word) and last.weight == piece.weight:
            fused[-1].append(piece)
        else:
            fused.append([piece])
    return fused


def word_ranges(text: str, words: list[Piece]) -> list[tuple[int, int]]:
    """The ranges of fused words: ``SPACE`` between them, escapes taken off.

    compel takes a backslash off every time it makes a fragment: twice for each, and once more when fusing.
    """
    ranges: list[tuple[int, int]] = []
    for number, piece in enumerate(words):
        assert isinstance(piece.node, Word)
        place, end = piece.node.start, piece.node.end
        if number:
            ranges.append(SPACE)
        passes = 2 + (len(words) - number if number else len(words) - 1)
        for escape in ESCAPE.finditer(text, place, end):
            if place < escape.start():
                ranges.append((place, escape.start()))
            place = escape.start() + min(passes, len(escape[0]) - 1)
        if place < end:
            ranges.append((place, end))
    return ranges


def add_pieces(builder: Builder, flow: Flow, pieces: list[Piece]) -> None:
    """Add the words as spans, with a space between spans, and note the swaps."""
    begun: list[int] = []
    first = builder.length
    for words in fuse(pieces):
        node = words[0].node
        if isinstance(node, SwapNode):
            if words[0].origin == "begin":
                begun.append(builder.length + (builder.length > first))
                continue
            edited = fuse(flatten(node.edited, words[0].weight, swaps=False))
            builder.swaps.append(
                Swap(
                    clean_start=min(begun.pop(), builder.length),
                    clean_end=builder.length,
                    edited=tuple((joined_text(flow.text, word), word[0].weight) for word in edited),
                    options=tuple(swap_options(node).items()),
                    start=flow.place(node.start),
                    end=flow.place_after(node.end),
                )
            )
            continue
        ranges = word_ranges(flow.text, words)
        if ranges:
            if builder.length > first:
                builder.gap(flow.place(words[0].node.start))
            builder.span(flow, ranges, words[0].weight, origin=words[0].origin)


def joined_text(text: str, words: list[Piece]) -> str:
    """The text of fused words."""
    return "".join(" " if span == SPACE else text[slice(*span)] for span in word_ranges(text, words))


def swap_options(node: SwapNode) -> dict[str, float | str]:
    """The options of a swap over compel's defaults; ``shape_freedom`` f sets ``s_end`` to 1 - f^(1/3)."""
    options = dict(SWAP_DEFAULTS)
    given = dict(node.options)
    freedom = given.pop("shape_freedom", None)
    if isinstance(freedom, float) and freedom >= 0:
        options["s_end"] = 1.0 - freedom ** (1 / 3)
    return options | given


def warn_about_brackets(builder: Builder, flow: Flow, reader: Reader) -> None:
    """Warn about brackets and quotes that could not be read, and so are text."""
    for place, read in reader.brackets.items():
        if read is None:
            builder.remarks.add("unclosed-text", flow.place(place), flow.place(place) + 1, bracket="(")
    for place, read in reader.quoted.items():
        if read is None:
            builder.remarks.add("quote-unclosed", flow.place(place), flow.place(place) + 1)
