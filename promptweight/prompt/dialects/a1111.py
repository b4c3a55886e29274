"""Parser of the dialects `pw` and `a1111`: comments and tags, AND, prompt editing, then weights."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from promptweight.prompt.a1111_scanner import Scan, scan
from promptweight.prompt.changes import Changes
from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.dialects.tags_and_comments import extract_tags
from promptweight.prompt.likely_mistakes import remark_on_mistakes
from promptweight.prompt.literals import ASCII_NUMBER, PART_NUMBER, parse_finite, parse_weight
from promptweight.prompt.prompt_editing import find_changes
from promptweight.prompt.source_map import MappedText
from promptweight.prompt.tree import NOMINAL_STEPS, ParseTree, TreePart

AND = re.compile(r"\bAND\b")
BRACKETS = re.compile(r"\\.|[()\[\]]", re.DOTALL)


def parse_a1111(source: str, dialect: str, embeddings: Collection[str] = ()) -> ParseTree:
    """Parse a prompt in the dialect `pw` or `a1111`; `embeddings` are names that count as bare words."""
    remarks = Remarks()
    text, loras = extract_tags(source, dialect, remarks)
    remark_on_mistakes(text, remarks)
    ranges = _split_parts(text, dialect, remarks)
    scanned = 2 * len(source)
    parts: list[TreePart] = []
    is_scheduled = False
    for number, part_range in enumerate(ranges):
        joint = (0, 0)
        if number:
            joint = text.source_end(ranges[number - 1].stop), text.source_start(part_range.start)
        part, count = _parse_part(
            text, part_range, dialect, remarks, joint, is_whole=len(ranges) == 1, is_first=not is_scheduled
        )
        is_scheduled |= part.changes is not None
        scanned += count
        parts.append(part)
    return ParseTree(source, dialect, tuple(parts), tuple(loras), tuple(embeddings), scanned, remarks)


class _PartRange(NamedTuple):
    """The range of a part: its text ends at `end`, where the weight begins, which ends at `stop`."""

    start: int
    end: int
    stop: int
    weight: float


def _parse_part(
    whole: MappedText,
    part: _PartRange,
    dialect: str,
    remarks: Remarks,
    joint: tuple[int, int],
    *,
    is_whole: bool,
    is_first: bool,
) -> tuple[TreePart, int]:
    """Parse one part.

    Args:
        whole: the text of the whole prompt.
        part: the range of the part.
        dialect: `pw` or `a1111`.
        remarks: gets the remarks.
        joint: the source range before the part.
        is_whole: whether there is no other part.
        is_first: whether no earlier part changes during sampling.

    Returns:
        The part, and the number of characters read.
    """
    if is_whole and part.weight != 1.0:
        value = whole.text[part.end : part.stop].strip()
        offsets = whole.source_start(part.end), whole.source_end(part.stop)
        remarks.add("part-weight", *offsets, value=value, weight=part.weight)
    end = part.stop if is_whole else part.end
    text = whole if (part.start, end) == (0, len(whole.text)) else whole.select([(part.start, end)])

    def add_remark(code: str, start: int, end: int, **values: object) -> None:
        remarks.add(code, text.source_start(start), text.source_end(end), **values)

    changes = find_changes(text.text, dialect, add_remark=add_remark)
    if changes.items and is_first:
        first = changes.items[0]
        add_remark("scheduled", first.start, first.stop + 1)
    found = _scan_part(text, dialect, remarks, changes)
    tree_part = TreePart(
        text,
        found.nodes,
        source_text=whole.text[part.start : part.end],
        weight=part.weight,
        start=whole.source_start(part.start),
        end=whole.source_end(part.end) if part.end > part.start else whole.source_start(part.start),
        joint=joint,
        changes=changes if changes.items else None,
        is_composed=found.is_composed,
    )
    return tree_part, changes.scanned + found.scanned


def _scan_part(text: MappedText, dialect: str, remarks: Remarks, changes: Changes) -> Scan:
    """Scan a part; where edits complete a weight or a BREAK, the remarks are those of the first step."""
    if not changes.items:
        return scan(text, dialect, remarks)
    own = Remarks()
    found = scan(text, dialect, own, changes)
    if found.is_composed:
        own = Remarks()
        first = scan(text.select(changes.ranges_at(1, NOMINAL_STEPS)), dialect, own)
        found = found._replace(scanned=found.scanned + first.scanned)
    remarks.extend(own)
    return found


def _split_parts(mapped: MappedText, dialect: str, remarks: Remarks) -> list[_PartRange]:
    """Split at AND: anywhere for `a1111`, outside of closed groups for `pw`."""
    text = mapped.text
    separators = [match.span() for match in AND.finditer(text)] if "AND" in text else []
    if dialect == "pw" and separators:
        separators = _select_outside_groups(mapped, separators, remarks)
    parts = []
    start = 0
    for separator_start, separator_end in [*separators, (len(text), len(text))]:
        parts.append(_weigh_part(text, start, separator_start, dialect))
        start = separator_end
    if dialect == "a1111" and separators:
        _remark_percents(mapped, parts, remarks)
    if dialect == "pw" and len(parts) == 1:
        return [_PartRange(0, len(text), len(text), 1.0)]
    return parts


def _select_outside_groups(
    mapped: MappedText, separators: list[tuple[int, int]], remarks: Remarks
) -> list[tuple[int, int]]:
    """Return the separators outside of groups that are closed."""
    depth_changes = [0] * (len(mapped.text) + 1)
    opened: dict[str, list[int]] = {")": [], "]": []}
    for match in BRACKETS.finditer(mapped.text):
        bracket = match[0]
        if bracket == "(":
            opened[")"].append(match.start())
        elif bracket == "[":
            opened["]"].append(match.start())
        elif opened.get(bracket):
            depth_changes[opened[bracket].pop()] += 1
            depth_changes[match.start()] -= 1
    outside = []
    depth = offset = 0
    for start, end in separators:
        depth += sum(depth_changes[offset:start])
        offset = start
        if depth == 0:
            outside.append((start, end))
        else:
            remarks.add("and-in-group", mapped.source_start(start), mapped.source_end(end))
    return outside


def _remark_percents(mapped: MappedText, parts: list[_PartRange], remarks: Remarks) -> None:
    """Remark on parts that end with a weight in percent, which A1111 reads as text."""
    for part in parts:
        colon = mapped.text.rfind(":", part.start, part.end)
        number = mapped.text[colon + 1 : part.end].strip()
        if colon >= 0 and number.endswith("%") and PART_NUMBER.fullmatch(number[:-1]):
            weight = parse_weight(number)
            offsets = mapped.source_start(colon), mapped.source_end(part.end)
            if weight is not None:
                remarks.add("part-percent", *offsets, value=number, weight=weight)


def _weigh_part(text: str, start: int, stop: int, dialect: str) -> _PartRange:
    """Return the part from `start` to `stop`, without the weight and the white space at its end."""
    if dialect == "pw":
        start = stop - len(text[start:stop].lstrip())
    end = start + len(text[start:stop].rstrip())
    colon = text.rfind(":", start, end)
    if colon >= 0 and not (dialect == "pw" and text[colon - 1 : colon] == "\\"):
        number = text[colon + 1 : end].strip()
        if dialect == "pw":
            value = parse_weight(number) if ASCII_NUMBER.fullmatch(number.removesuffix("%")) else None
        else:
            value = parse_finite(number) if PART_NUMBER.fullmatch(number) else None
        if value is not None:
            return _PartRange(start, start + len(text[start:colon].rstrip()), stop, value)
    return _PartRange(start, end, stop, 1.0)
