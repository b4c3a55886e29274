"""``AND``: where a prompt is split into parts, and the weight that each part ends with."""

from __future__ import annotations

import re
from dataclasses import dataclass

from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.literals import ASCII_NUMBER, PART_NUMBER, finite
from promptweight.prompt.source_map import Flow

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
