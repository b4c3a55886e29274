"""Comments and network tags, which are taken out of the source before the rest is parsed."""

from __future__ import annotations

import re

from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.lora_weights import read_tag_weights
from promptweight.prompt.model import Lora
from promptweight.prompt.source_map import MappedText

# A tag holds no bracket of its own kind, so that a lone "<" is read only as far as the next one.
TAG = re.compile(r"<(\w++):([^<>\n]++)>")
NETWORKS = ("lora", "lyco", "hypernet")
LORA_ALIASES = ("loractl",)


def find_comments(source: str, dialect: str) -> list[tuple[int, int]]:
    """Return the ranges of the comments: whole lines for `pw`, any `#` to the line's end for `a1111`."""
    ranges: list[tuple[int, int]] = []
    offset = source.find("#")
    while offset >= 0:
        begins_line = offset == 0 or source[offset - 1] == "\n"
        if not begins_line and dialect != "a1111":
            offset = source.find("#", offset + 1)
            continue
        line_end = source.find("\n", offset)
        line_end = len(source) if line_end < 0 else line_end + begins_line
        ranges.append((offset, line_end))
        offset = source.find("#", line_end)
    return ranges


def find_tags(source: str) -> list[re.Match[str]]:
    """Return the `<kind:name:…>` tags."""
    return list(TAG.finditer(source)) if "<" in source else []


def _join_ranges(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges in order, overlapping ones joined."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def extract_tags(source: str, dialect: str, remarks: Remarks) -> tuple[MappedText, list[Lora]]:
    """Return the source without comments and tags, and the networks that the tags name."""
    if "#" not in source and "<" not in source:
        return MappedText.whole(source), []
    comments = find_comments(source, dialect)
    for start, end in comments:
        remarks.add("comment", start, end)
    tags = find_tags(source)
    loras: list[Lora] = []
    comment = 0
    for match in tags:
        while comment < len(comments) and comments[comment][1] <= match.start():
            comment += 1
        if comment < len(comments) and comments[comment][0] <= match.start():
            continue
        _read_tag(match, loras, remarks)
    ranges: list[tuple[int, int]] = []
    offset = 0
    for start, end in _join_ranges(comments + [match.span() for match in tags]):
        ranges.append((offset, start))
        offset = end
    ranges.append((offset, len(source)))
    return MappedText.whole(source).select(ranges), loras


def _read_tag(match: re.Match[str], loras: list[Lora], remarks: Remarks) -> None:
    """Add the network of one tag."""
    kind = match[1].lower()
    kind = "lora" if kind in LORA_ALIASES else kind
    name, *values = match[2].split(":")
    if kind not in NETWORKS:
        remarks.add("tag-unknown", match.start(), match.end(), name=match[1])
        return
    read = read_tag_weights(values)
    for code, value in read.faults:
        remarks.add(code, match.start(), match.end(), value=value, name=name, weight=read.weight)
    loras.append(
        Lora(name, read.weight, match.start(), match.end(), kind, read.text_encoder_weight, read.curve)
    )
