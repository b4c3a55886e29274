"""Reads the dialects ``pw`` and ``a1111``: comments and tags, AND, prompt editing, then weights."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from promptweight.prompt.builder import Builder
from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.dialects.a1111_scanner import scan
from promptweight.prompt.dialects.a1111_weights import stretches
from promptweight.prompt.dialects.tags_and_comments import lift
from promptweight.prompt.literals import ASCII_NUMBER, PART_NUMBER, finite
from promptweight.prompt.model import Part, Prompt
from promptweight.prompt.prompt_editing import NOMINAL_STEPS, find_changes
from promptweight.prompt.source_map import Flow
from promptweight.prompt.textual_inversion import note_embeddings


def read(
    source: str, dialect: str, embeddings: Collection[str] = (), at: tuple[int, int] = (1, NOMINAL_STEPS)
) -> Prompt:
    """Read a prompt in the dialect ``pw`` or ``a1111``, as it is at one step of a run.

    ``embeddings`` are names that count as bare words; ``at`` is the step, from 1, and how many the run has.
    """
    builder = Builder(source, dialect)
    flow, builder.loras = lift(source, dialect, builder.remarks)
    parts = split_parts(flow, dialect, builder.remarks)
    builder.scanned += 2 * len(source)
    for number, part in enumerate(parts):
        if number:
            previous = flow.place_after(parts[number - 1].stop)
            builder.joint(previous, flow.place(part.start), "and")
        read_part(builder, flow, part, at, whole=len(parts) == 1)
    return note_embeddings(builder.prompt(), embeddings)


def last_steps(source: str, dialect: str, steps: int) -> list[int]:
    """The steps after which a part of the prompt may change in a run of ``steps``, and the last step."""
    flow, _ = lift(source, dialect, Remarks())
    parts = split_parts(flow, dialect, Remarks())
    texts = [part_text(flow, part, whole=len(parts) == 1).text for part in parts]
    return sorted({end for text in texts for end in find_changes(text, dialect).last_steps(steps)})


def part_text(flow: Flow, part: PartRange, *, whole: bool) -> Flow:
    """The text of one part, all that it says at any step."""
    end = part.stop if whole else part.end
    return flow if (part.start, end) == (0, len(flow.text)) else flow.keep([(part.start, end)])


def read_part(builder: Builder, flow: Flow, part: PartRange, at: tuple[int, int], *, whole: bool) -> None:
    """Read one part of the prompt as it is ``at`` a step; ``whole`` tells that there is no other."""
    if whole and part.weight != 1.0:
        value = flow.text[part.end : part.stop].strip()
        builder.remarks.add(
            "part-weight", flow.place(part.end), flow.place_after(part.stop), value=value, weight=part.weight
        )
    clean_start = builder.length
    text = part_text(flow, part, whole=whole)

    def remark(code: str, start: int, end: int, **values: object) -> None:
        builder.remarks.add(code, text.place(start), text.place_after(end), **values)

    changes = find_changes(text.text, builder.dialect, remark=remark)
    builder.scanned += changes.looked_at
    if changes.found:
        if not builder.scheduled:
            first = changes.found[0]
            remark("scheduled", first.start, first.stop + 1)
        builder.scheduled = True
        text = text.keep(changes.ranges(*at))
    found = scan(text, builder.dialect, builder.remarks)
    builder.scanned += found.looked_at
    for stretch in stretches(found, builder.dialect):
        if stretch.origin == "break":
            ((start, stop),) = stretch.ranges
            builder.joint(text.place(start), text.place_after(stop), "break")
        else:
            builder.span(text, stretch.ranges, stretch.weight, stretch.options, stretch.origin)
    builder.parts.append(
        Part(
            text=flow.text[part.start : part.end],
            weight=part.weight,
            start=flow.place(part.start),
            end=flow.place_after(part.end) if part.end > part.start else flow.place(part.start),
            clean_start=clean_start,
            clean_end=builder.length,
        )
    )


AND = re.compile(r"\bAND\b")


BRACKETS = re.compile(r"\\.|[()\[\]]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PartRange:
    """A part of a flow: its text ends at ``end``, where the weight begins, which ends at ``stop``."""

    start: int
    end: int
    stop: int
    weight: float


def split_parts(flow: Flow, dialect: str, remarks: Remarks) -> list[PartRange]:
    """Split at AND: anywhere for ``a1111``, outside of closed groups for ``pw``."""
    text = flow.text
    separators = [match.span() for match in AND.finditer(text)] if "AND" in text else []
    if dialect == "pw" and separators:
        separators = outside_groups(flow, separators, remarks)
    parts = []
    start = 0
    for separator_start, separator_end in [*separators, (len(text), len(text))]:
        parts.append(weigh_part(text, start, separator_start, dialect))
        start = separator_end
    if dialect == "pw" and len(parts) == 1:
        return [PartRange(0, len(text), len(text), 1.0)]
    return parts


def outside_groups(flow: Flow, separators: list[tuple[int, int]], remarks: Remarks) -> list[tuple[int, int]]:
    """The separators that stand in no group that is closed again."""
    depth_changes = [0] * (len(flow.text) + 1)
    opened: dict[str, list[int]] = {")": [], "]": []}
    for match in BRACKETS.finditer(flow.text):
        bracket = match[0]
        if bracket == "(":
            opened[")"].append(match.start())
        elif bracket == "[":
            opened["]"].append(match.start())
        elif opened.get(bracket):
            depth_changes[opened[bracket].pop()] += 1
            depth_changes[match.start()] -= 1
    outside = []
    depth = place = 0
    for start, end in separators:
        depth += sum(depth_changes[place:start])
        place = start
        if depth == 0:
            outside.append((start, end))
        else:
            remarks.add("and-in-group", flow.place(start), flow.place_after(end))
    return outside


def weigh_part(text: str, start: int, stop: int, dialect: str) -> PartRange:
    """The part between ``start`` and ``stop``, without the weight and the white space that it ends with."""
    if dialect == "pw":
        start = stop - len(text[start:stop].lstrip())
    end = start + len(text[start:stop].rstrip())
    colon = text.rfind(":", start, end)
    if colon >= 0 and not (dialect == "pw" and text[colon - 1 : colon] == "\\"):
        number = text[colon + 1 : end].strip()
        pattern = ASCII_NUMBER if dialect == "pw" else PART_NUMBER
        value = finite(number) if pattern.fullmatch(number) else None
        if value is not None:
            return PartRange(start, start + len(text[start:colon].rstrip()), stop, value)
    return PartRange(start, end, stop, 1.0)
