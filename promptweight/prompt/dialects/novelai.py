"""Parser of the dialect `novelai`: `{x}` × 1.05, `[x]` ÷ 1.05, and weights in numbers, `1.2::x::`.

NovelAI describes its marks from left to right: `{` and `]` multiply all the text after them by 1.05, `}` and
`[` divide it. A number weighs the text up to the next `::` or number; `::` also closes the brackets that are
open. There are no escapes, and round brackets are text.
"""

from __future__ import annotations

import re

from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.literals import ASCII_NUMBER, NOVELAI_FACTOR, UNUSUAL_WEIGHT, clamp_weight
from promptweight.prompt.model import NO_OPTIONS
from promptweight.prompt.nodes import Node, Text, Weighted, new_node
from promptweight.prompt.source_map import MappedText
from promptweight.prompt.tree import ParseTree, TreePart

MAX_LEVEL = 1000
"""The number of brackets after which the weight stays; more would leave the range of a float."""

# A number begins no weight within a word or another number. The longest weight that is written has 31 digits.
NUMBER = r"[+-]?(?:[0-9]{1,31}+(?:\.[0-9]*+)?+|\.[0-9]++)::"
MARK = re.compile(rf"(?<![\w.]){NUMBER}|[ ]?::|[{{}}\[\]]")
ROUND_WEIGHT = re.compile(rf"\([^():\\]++:\s*+({ASCII_NUMBER.pattern})\s*+\)")
DIGITS = frozenset("0123456789")
ORIGINS = {"{": "curly", "[": "square"}
OPENERS = {"}": "{", "]": "["}


def parse_novelai(source: str) -> ParseTree:
    """Parse a prompt in NovelAI's syntax.

    The space before a closing `::`, which NovelAI needs after a digit, is not text. The closing brackets of
    groups that `::` has closed have no effect.
    """
    reader = _NovelAIReader(source)
    reader.read()
    part = TreePart(MappedText.whole(source), tuple(reader.nodes), source, 1.0, 0, len(source))
    return ParseTree(source, "novelai", (part,), scanned=reader.scanned, remarks=reader.remarks)


class _NovelAIReader:
    """The state of one pass over the marks, each of which changes the weight of the text after it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.remarks = Remarks()
        self.nodes: list[Node] = []
        self.scanned = len(source)
        self.number = 1.0
        self.number_range: tuple[int, int] | None = None  # of the number that is in force
        self.level = 0  # the power of 1.05 that the brackets make
        self.opened: dict[str, list[int]] = {"{": [], "[": []}  # offsets of the open brackets
        self.closed_early = {"{": 0, "[": 0}  # brackets that "::" has closed

    def read(self) -> None:
        """Read all marks and the text between them."""
        source = self.source
        offset = 0
        for match in MARK.finditer(source):
            start, mark = match.start(), match[0]
            self.add_text(offset, start)
            offset = match.end()
            if mark in ORIGINS:
                self.opened[mark].append(start)
                self.level += 1 if mark == "{" else -1
            elif mark in OPENERS:
                self.close(mark, start)
            elif mark.strip() == "::":
                self.end(start, mark)
            else:
                self.number, self.number_range = clamp_weight(float(mark[:-2])), (start, offset)
                if abs(self.number) > UNUSUAL_WEIGHT:
                    self.remarks.add("weight-large", start, offset, weight=self.number)
        self.add_text(offset, len(source))
        for bracket, offsets in self.opened.items():
            for offset in offsets:
                self.remarks.add("unclosed-group", offset, offset + 1, bracket=bracket)
        if self.number_range is not None:
            start, end = self.number_range
            self.remarks.add("unclosed-group", start, end, bracket=source[start:end])

    def add_text(self, start: int, end: int) -> None:
        """Add source[start:end] under the weight that is in force."""
        if start >= end:
            return
        level = max(-MAX_LEVEL, min(MAX_LEVEL, self.level))
        weight = clamp_weight(self.number * NOVELAI_FACTOR**level)
        if weight != 1:
            stop = len(self.nodes) + 2
            values = (start, end, end, stop, weight, self.find_origin(), 0, NO_OPTIONS)
            self.nodes.append(new_node(Weighted, values))
        self.nodes.append(new_node(Text, (start, end)))
        self.remark_on_text(start, end)

    def find_origin(self) -> str:
        """Return the origin of the weight in force: the last mark that is open."""
        last = {
            origin: self.opened[bracket][-1] for bracket, origin in ORIGINS.items() if self.opened[bracket]
        }
        if self.number_range is not None:
            last["colons"] = self.number_range[0]
        return max(last, key=lambda origin: last[origin]) if last else "curly" if self.level > 0 else "square"

    def close(self, closer: str, offset: int) -> None:
        """Close the last bracket of its kind; brackets of the two kinds may cross."""
        bracket = OPENERS[closer]
        if self.opened[bracket]:
            self.opened[bracket].pop()
        elif self.closed_early[bracket]:
            self.closed_early[bracket] -= 1
            self.remarks.add("novelai-closed", offset, offset + 1, bracket=closer)
            return
        else:
            self.remarks.add("novelai-stray", offset, offset + 1, bracket=closer)
        self.level += -1 if bracket == "{" else 1

    def end(self, offset: int, mark: str) -> None:
        """End the weight of a number, and close all brackets."""
        source = self.source
        if mark == "::" and offset and source[offset - 1] in DIGITS:
            self.remarks.add("novelai-digit", offset - 1, offset + 2, value=source[offset - 1 : offset + 2])
        if self.number_range is None and not self.level and not any(self.opened.values()):
            self.remarks.add("novelai-colons", offset + len(mark) - 2, offset + len(mark))
        self.number, self.number_range, self.level = 1.0, None, 0
        for bracket, offsets in self.opened.items():
            self.closed_early[bracket] += len(offsets)
            offsets.clear()

    def remark_on_text(self, start: int, end: int) -> None:
        """Remark on the weights of other tools, and on the bars of NovelAI, which are text here."""
        source = self.source
        if source.find("(", start, end) >= 0:
            self.scanned += end - start
            for match in ROUND_WEIGHT.finditer(source, start, end):
                content, _, _ = match[0][1:-1].rpartition(":")
                self.remarks.add(
                    "novelai-round", *match.span(), value=match[0], meant=f"{match[1]}::{content}::"
                )
        bar = source.find("|", start, end)
        if bar >= 0:
            self.remarks.add("novelai-bar", bar, bar + 1)
