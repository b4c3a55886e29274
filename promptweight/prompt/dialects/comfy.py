"""Reads the dialect ``comfy``: ComfyUI's round brackets, where an explicit weight replaces the enclosing one.

ComfyUI splits at the outermost brackets and starts again inside; on balanced text that is one pass with a
stack. On unbalanced text two rules of its own show: after a stray ``)`` as many ``(`` are text, and an
unclosed ``(`` still makes a group when the text happens to end with ``)``.
"""

from __future__ import annotations

import re

from promptweight.prompt.builder import Builder
from promptweight.prompt.literals import NUMBER_LIKE, UNUSUAL_WEIGHT, finite, within_reach
from promptweight.prompt.model import Part, Prompt
from promptweight.prompt.source_map import Flow
from promptweight.prompt.textual_inversion import note_embeddings

MARK = re.compile(r"\\?+[()]|:")
BARE_FACTOR = 1.1


def read_comfy(source: str) -> Prompt:
    """Read a prompt as ComfyUI does (comfy/sd1_clip.py, ``token_weights``); its infinite weights are text."""
    reader = ComfyReader(source)
    reader.read()
    builder = reader.builder
    builder.parts.append(Part(source, 1.0, 0, len(source), 0, builder.length))
    builder.scanned = 2 * len(source) + reader.looked_at
    return note_embeddings(builder.prompt())


class ComfyReader:
    """The brackets of a source, matched, and the walk over them."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.flow = Flow.whole(source)
        self.builder = Builder(source, "comfy")
        self.brackets: list[int] = []  # places of the brackets that are not escaped
        self.colons: list[int] = []  # for every bracket, the last colon since the bracket before it, or -1
        self.closing: dict[
            int, int
        ] = {}  # from an opening bracket to its closing one, as indices of brackets
        self.escapes: list[int] = []  # places of the backslashes that escape a bracket
        self.escapes_passed = 0
        self.looked_at = 0
        self.find_marks()

    def find_marks(self) -> None:
        """Find brackets, escapes and colons, and match brackets the way ComfyUI counts levels."""
        opened: list[int] = []
        level = 0
        colon = -1
        for found in MARK.finditer(self.source):
            mark, place = found[0], found.start()
            if mark == ":":
                colon = place
                continue
            if mark[0] == "\\":
                self.escapes.append(place)
                continue
            index = len(self.brackets)
            self.brackets.append(place)
            self.colons.append(colon)
            colon = -1
            if mark == "(":
                if level >= 0:
                    opened.append(index)
                else:
                    self.builder.remarks.add("stray-disables", place, place + 1)
                level += 1
            else:
                if opened:
                    self.closing[opened.pop()] = index
                else:
                    self.builder.remarks.add("stray-closer", place, place + 1, bracket=")")
                level -= 1

    def read(self) -> None:
        """Walk over the text; its end moves in where an unclosed bracket makes a group after all."""
        end, weight, origin = len(self.source), 1.0, "none"
        begun = 0  # where the text that has not been added yet begins
        index, last = 0, len(self.brackets) - 1
        level = 0
        while index <= last:
            place = self.brackets[index]
            closing = self.closing.get(index)
            if self.source[place] == ")":
                level -= 1
            elif level < 0:
                level += 1
            elif closing is not None and closing <= last:
                self.text(begun, place, weight, origin)
                self.group(index, closing, weight)
                index = closing
                begun = self.brackets[closing] + 1
            else:
                self.text(begun, place, weight, origin)
                begun = place
                if index == last or self.source[end - 1] != ")" or self.brackets[last] != end - 1:
                    self.builder.remarks.add("unclosed-text", place, place + 1, bracket="(")
                    break
                weight, origin, end = self.weigh(index, last, weight)
                begun = place + 1
                last -= 1
            index += 1
        self.text(begun, end, weight, origin)

    def group(self, first: int, last: int, weight: float) -> None:
        """Add the text of a matched group and of all that is nested in it."""
        outside: list[tuple[float, str, int]] = []
        origin, end, begun = "none", 0, self.brackets[first]
        for index in range(first, last + 1):
            place = self.brackets[index]
            if index in self.closing:
                self.text(begun, place, weight, origin)
                outside.append((weight, origin, end))
                weight, origin, end = self.weigh(index, self.closing[index], weight)
            else:
                self.text(begun, end, weight, origin)
                weight, origin, end = outside.pop()
            begun = place + 1

    def weigh(self, opening: int, closing: int, enclosing: float) -> tuple[float, str, int]:
        """A group's weight, its origin, and where the group's text ends."""
        start, end, colon = self.brackets[opening], self.brackets[closing], self.colons[closing]
        if colon > start + 1:
            written = self.source[colon + 1 : end]
            self.looked_at += len(written)
            value = finite(written)
            if value is not None:
                self.warn_about_weight(start, colon, end, value)
                return within_reach(value), "number", colon
            if NUMBER_LIKE.match(written):
                self.builder.remarks.add("weight-unreadable", colon + 1, end, value=written.strip())
        if end == start + 1:
            self.builder.remarks.add("empty-group", start, end + 1)
        return within_reach(enclosing * BARE_FACTOR), "round", end

    def warn_about_weight(self, start: int, colon: int, end: int, value: float) -> None:
        """Warn where a weight is far from 1, or looks like the second half of a ratio."""
        if self.source[colon - 1] in "0123456789" and self.source[colon + 1 : end].strip().isdecimal():
            written = self.source[max(start + 1, colon - 4) : end]
            self.builder.remarks.add("weight-ratio-fixed", colon, end, value=written, weight=value)
        elif abs(value) > UNUSUAL_WEIGHT:
            self.builder.remarks.add("weight-large", colon + 1, end, weight=value)

    def text(self, start: int, end: int, weight: float, origin: str) -> None:
        """Add source[start:end] without the backslashes that escape brackets."""
        if start >= end:
            return
        ranges = []
        while self.escapes_passed < len(self.escapes) and self.escapes[self.escapes_passed] < end:
            escape = self.escapes[self.escapes_passed]
            self.escapes_passed += 1
            if escape >= start:
                if start < escape:
                    ranges.append((start, escape))
                start = escape + 1
        ranges.append((start, end))
        self.builder.span(self.flow, ranges, weight, origin=origin)
