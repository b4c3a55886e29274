"""Flat segments of a prompt, which the writers of all dialects take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from promptweight.prompt.model import NO_OPTIONS, Options, Prompt
from promptweight.prompt.nodes import Alternate, Edit, Node
from promptweight.prompt.tree import ParseTree, TreePart
from promptweight.prompt.weighted_ranges import weigh_nodes


@dataclass(frozen=True, slots=True)
class Segment:
    """A `text` under one weight, a `break`, or a `mark` of prompt editing.

    Attributes:
        kind: `text`, `break` or `mark`.
        text: the clean text, or the mark as it is written.
        start, end: offsets in the source.
    """

    kind: str
    text: str
    weight: float = 1.0
    options: Options = NO_OPTIONS
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class SegmentPart:
    """The segments of one part, with the part's weight and, for compel, its blend."""

    weight: float
    blend: int | None = None
    normalize: bool = True
    segments: list[Segment] = field(default_factory=list)


def split_segments(prompt: Prompt) -> list[SegmentPart]:
    """Return the parts of a prompt at one step as segments."""
    spans = iter(prompt.spans)
    span = next(spans, None)
    parts = []
    for part in prompt.parts:
        segments: list[Segment] = []
        while span is not None and span.clean_start < part.clean_end:
            kind = "break" if span.origin == "break" else "text"
            if span.origin != "and":
                segments.append(Segment(kind, span.text, span.weight, span.options, span.start, span.end))
            span = next(spans, None)
        parts.append(SegmentPart(part.weight, part.blend, part.normalize, segments))
    return parts


def split_scheduled_segments(tree: ParseTree) -> list[SegmentPart] | None:
    """Return the parts of a tree as segments, with the texts of all steps between marks.

    `None` where an edit completes a weight or a BREAK, which segments cannot express.
    """
    if any(part.is_composed for part in tree.parts):
        return None
    is_single = len(tree.parts) == 1
    return [
        SegmentPart(1.0 if is_single else part.weight, segments=list(_marked_segments(part, tree.dialect)))
        for part in tree.parts
    ]


def _marked_segments(part: TreePart, dialect: str) -> Iterator[Segment]:
    """Yield the segments of a part, with the marks of its edits and alternations."""
    marks = sorted((mark for node in part.nodes for mark in _edit_marks(node)), reverse=True)
    text = part.text
    for weighted in weigh_nodes(part.nodes, dialect):
        kind = "break" if weighted.origin == "break" else "text"
        for start, end in weighted.ranges:
            while marks and marks[-1][0] < start:
                yield Segment("mark", marks.pop()[1])
            offsets = text.source_start(start), text.source_end(end)
            yield Segment(kind, text.text[start:end], weighted.weight, weighted.options, *offsets)
    while marks:
        yield Segment("mark", marks.pop()[1])


def _edit_marks(node: Node) -> Iterator[tuple[int, str]]:
    """Yield (offset, text) of every bracket, separator and number of an edit or alternation."""
    if isinstance(node, Edit):
        yield node.start, "["
        *separators, last = node.separators
        for separator in separators:
            yield separator, ":"
        yield last, f":{node.when}]"
    elif isinstance(node, Alternate):
        yield node.start, "["
        for separator in node.separators:
            yield separator, "|"
        yield node.end - 1, "]"
