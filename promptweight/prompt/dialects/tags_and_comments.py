"""Comments and network tags, found in the source and lifted out of the text before anything else is read."""

from __future__ import annotations

import re

from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.literals import finite
from promptweight.prompt.model import Lora
from promptweight.prompt.source_map import Flow

# A tag holds no bracket of its own kind, so that a lone "<" is looked at only as far as the next one.
TAG = re.compile(r"<(\w++):([^<>\n]++)>")
NETWORKS = ("lora", "lyco", "hypernet")


def find_comments(source: str, dialect: str) -> list[tuple[int, int]]:
    """The ranges of the comments: whole lines for ``pw``, from any ``#`` to the line's end for ``a1111``."""
    ranges: list[tuple[int, int]] = []
    place = source.find("#")
    while place >= 0:
        begins_line = place == 0 or source[place - 1] == "\n"
        if not begins_line and dialect != "a1111":
            place = source.find("#", place + 1)
            continue
        line_end = source.find("\n", place)
        line_end = len(source) if line_end < 0 else line_end + begins_line
        ranges.append((place, line_end))
        place = source.find("#", line_end)
    return ranges


def find_tags(source: str) -> list[re.Match[str]]:
    """The ``<kind:name:…>`` tags."""
    return list(TAG.finditer(source)) if "<" in source else []


def opaque_ranges(source: str, dialect: str) -> list[tuple[int, int]]:
    """The ranges of comments and tags together, in order, without overlap."""
    ranges = find_comments(source, dialect) + [match.span() for match in find_tags(source)]
    ranges.sort()
    joined: list[tuple[int, int]] = []
    for start, end in ranges:
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def lift(source: str, dialect: str, remarks: Remarks) -> tuple[Flow, list[Lora]]:
    """The source without comments and tags, and the networks that the tags name."""
    if "#" not in source and "<" not in source:
        return Flow.whole(source), []
    comments = find_comments(source, dialect)
    for start, end in comments:
        remarks.add("comment", start, end)
    loras: list[Lora] = []
    comment = 0
    for match in find_tags(source):
        while comment < len(comments) and comments[comment][1] <= match.start():
            comment += 1
        if comment < len(comments) and comments[comment][0] <= match.start():
            continue
        read_tag(match, loras, remarks)
    kept: list[tuple[int, int]] = []
    place = 0
    for start, end in opaque_ranges(source, dialect):
        kept.append((place, start))
        place = end
    kept.append((place, len(source)))
    return Flow.whole(source).keep(kept), loras


def read_tag(match: re.Match[str], loras: list[Lora], remarks: Remarks) -> None:
    """Read one tag; the second value, where there is one, is the weight."""
    kind = match[1].lower()
    name, *values = match[2].split(":")
    if kind not in NETWORKS:
        remarks.add("tag-unknown", match.start(), match.end(), name=match[1])
        return
    weight = 1.0
    positional = [value for value in values if "=" not in value]
    if positional:
        read = finite(positional[0])
        if read is None:
            remarks.add("tag-weight", match.start(), match.end(), value=positional[0], name=name)
        else:
            weight = read
    loras.append(Lora(name, weight, match.start(), match.end(), kind))
