"""A prompt as a flat list of leaves, prompt editing kept: what is written out in any dialect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.dialects.a1111 import split_parts
from promptweight.prompt.dialects.a1111_scanner import scan
from promptweight.prompt.dialects.a1111_weights import stretches
from promptweight.prompt.dialects.tags_and_comments import lift
from promptweight.prompt.model import NO_OPTIONS, Options, Prompt
from promptweight.prompt.prompt_editing import EDIT, Changes, find_changes
from promptweight.prompt.source_map import Flow


@dataclass(frozen=True, slots=True)
class Leaf:
    """Text under one weight, a ``break``, or a ``mark`` of prompt editing (``text`` as written)."""

    kind: str
    text: str
    weight: float = 1.0
    options: Options = NO_OPTIONS
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class LeafPart:
    """The leaves of one part of a prompt, with the part's weight and, for compel, its blend."""

    weight: float
    blend: int | None = None
    normalize: bool = True
    leaves: list[Leaf] = field(default_factory=list)


def leaf_parts(prompt: Prompt) -> list[LeafPart]:
    """The parts of a prompt as leaves; of prompt editing, what the first step has."""
    spans = iter(prompt.spans)
    span = next(spans, None)
    parts = []
    for part in prompt.parts:
        leaves: list[Leaf] = []
        while span is not None and span.clean_start < part.clean_end:
            kind = "break" if span.origin == "break" else "text"
            if span.origin != "and":
                leaves.append(Leaf(kind, span.text, span.weight, span.options, span.start, span.end))
            span = next(spans, None)
        parts.append(LeafPart(part.weight, part.blend, part.normalize, leaves))
    return parts


def scheduled_leaf_parts(prompt: Prompt) -> list[LeafPart]:
    """The same with all the texts of prompt editing, between marks; for ``pw`` and ``a1111``."""
    remarks = Remarks()
    flow, _ = lift(prompt.source, prompt.dialect, remarks)
    ranges = split_parts(flow, prompt.dialect, remarks)
    parts = []
    for part in ranges:
        end = part.stop if len(ranges) == 1 else part.end
        text = flow.keep([(part.start, end)])
        weight = 1.0 if len(ranges) == 1 else part.weight
        changes = find_changes(text.text, prompt.dialect)
        parts.append(LeafPart(weight, leaves=list(changing_leaves(text, changes, prompt.dialect))))
    return parts


def changing_leaves(flow: Flow, changes: Changes, dialect: str) -> Iterator[Leaf]:
    """The leaves of a part, with a mark wherever prompt editing begins, separates or ends."""
    marks = sorted(edit_marks(changes))
    kept: list[tuple[int, int]] = []
    waiting: list[tuple[int, str]] = []  # marks by their place in the text without marks
    place = length = 0
    for start, end, written in marks:
        kept.append((place, start))
        length += start - place
        waiting.append((length, written))
        place = end
    kept.append((place, len(flow.text)))
    text = flow.keep(kept)
    waiting.reverse()
    found = scan(text, dialect, Remarks())
    for stretch in stretches(found, dialect):
        for start, end in stretch.ranges:
            while start < end:
                while waiting and waiting[-1][0] <= start:
                    yield Leaf("mark", waiting.pop()[1])
                stop = min(end, waiting[-1][0]) if waiting and stretch.origin != "break" else end
                kind = "break" if stretch.origin == "break" else "text"
                places = text.place(start), text.place_after(stop)
                yield Leaf(kind, text.text[start:stop], stretch.weight, stretch.options, *places)
                start = stop
    while waiting:
        yield Leaf("mark", waiting.pop()[1])


def edit_marks(changes: Changes) -> Iterator[tuple[int, int, str]]:
    """(start, end, text) of every bracket, separator and number of prompt editing."""
    for change in changes.found:
        yield change.start, change.start + 1, "["
        *separators, last = change.separators
        for separator in separators:
            yield separator, separator + 1, changes.text[separator]
        if change.meaning == EDIT:
            yield last, change.stop + 1, f":{change.when}]"
        else:
            yield last, last + 1, "|"
            yield change.stop, change.stop + 1, "]"
