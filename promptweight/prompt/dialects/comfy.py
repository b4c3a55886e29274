"""Parser of the dialect `comfy`: ComfyUI's round brackets, where a number replaces the enclosing weight.

ComfyUI splits at the outermost brackets and starts again inside; on balanced text that is one pass with a
stack. On unbalanced text two rules of its own show: after a stray `)` as many `(` are text, and an unclosed
`(` still makes a group when the text happens to end with `)`.
"""

from __future__ import annotations

import re
from typing import Any

from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.literals import NUMBER_LIKE, UNUSUAL_WEIGHT, clamp_weight, parse_finite
from promptweight.prompt.model import NO_OPTIONS
from promptweight.prompt.nodes import Text, Weighted, new_node
from promptweight.prompt.source_map import MappedText
from promptweight.prompt.tree import ParseTree, TreePart

MARK = re.compile(r"\\?+[()]|:")
BARE_FACTOR = 1.1


def parse_comfy(source: str) -> ParseTree:
    """Parse a prompt as ComfyUI does (comfy/sd1_clip.py, `token_weights`); its infinite weights are text."""
    reader = _ComfyReader(source)
    reader.read()
    size = len(source)
    part = TreePart(MappedText.whole(source), tuple(reader.nodes), source, 1.0, 0, size)
    return ParseTree(source, "comfy", (part,), scanned=2 * size + reader.scanned, remarks=reader.remarks)


class _ComfyReader:
    """The brackets of a source, matched, and the walk over them."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.remarks = Remarks()
        self.nodes: list[Any] = []
        self.brackets: list[int] = []  # offsets of the brackets that are not escaped
        self.colons: list[int] = []  # for every bracket, the last colon since the bracket before it, or -1
        self.closing: dict[int, int] = {}  # from an opening bracket to its closing one, as bracket indices
        self.escapes: list[int] = []  # offsets of the backslashes that escape a bracket
        self.escapes_passed = 0
        self.scanned = 0
        self.find_marks()

    def find_marks(self) -> None:
        """Find brackets, escapes and colons, and match brackets as ComfyUI counts levels."""
        opened: list[int] = []
        brackets, colons, closing = self.brackets, self.colons, self.closing
        level = 0
        colon = -1
        for found in MARK.finditer(self.source):
            mark, offset = found[0], found.start()
            if mark == "(":
                if level >= 0:
                    opened.append(len(brackets))
                else:
                    self.remarks.add("stray-disables", offset, offset + 1)
                level += 1
            elif mark == ")":
                if opened:
                    closing[opened.pop()] = len(brackets)
                else:
                    self.remarks.add("stray-closer", offset, offset + 1, bracket=")")
                level -= 1
            else:
                if mark == ":":
                    colon = offset
                else:
                    self.escapes.append(offset)
                continue
            brackets.append(offset)
            colons.append(colon)
            colon = -1

    def read(self) -> None:
        """Add the nodes of the text, whose end moves in where an unclosed bracket makes a group after all."""
        end = len(self.source)
        begin = 0  # of the text that has no node yet
        index, last = 0, len(self.brackets) - 1
        level = 0
        unclosed: list[tuple[int, int, int, float, str]] = []  # (node, start, end, weight, origin)
        while index <= last:
            offset = self.brackets[index]
            closing = self.closing.get(index)
            if self.source[offset] == ")":
                level -= 1
            elif level < 0:
                level += 1
            elif closing is not None and closing <= last:
                self.add_text(begin, offset)
                self.add_group(index, closing)
                index = closing
                begin = self.brackets[closing] + 1
            else:
                self.add_text(begin, offset)
                begin = offset
                if index == last or self.source[end - 1] != ")" or self.brackets[last] != end - 1:
                    self.remarks.add("unclosed-text", offset, offset + 1, bracket="(")
                    unclosed.append((len(self.nodes), offset, end, 1.0, "none"))
                    self.nodes.append(None)
                    break
                weight, origin, content_end = self.weigh(index, last)
                unclosed.append((len(self.nodes), offset, end, weight, origin))
                self.nodes.append(None)
                begin, end = offset + 1, content_end
                last -= 1
            index += 1
        self.add_text(begin, end)
        stop, content_end = len(self.nodes), end
        for node, start, group_end, weight, origin in reversed(unclosed):
            self.nodes[node] = Weighted(start, group_end, content_end, stop, weight, origin)
            content_end = group_end

    def add_group(self, first: int, last: int) -> None:
        """Add the nodes of a matched group and of all that is nested in it."""
        outside: list[tuple[int, int, float, str, int]] = []  # (node, start, weight, origin, content_end)
        nodes, brackets = self.nodes, self.brackets
        begin = brackets[first]
        for index in range(first, last + 1):
            offset = brackets[index]
            closing = self.closing.get(index)
            if closing is not None:
                if begin < offset:
                    self.add_text(begin, offset)
                outside.append((len(nodes), offset, *self.weigh(index, closing)))
                nodes.append(None)
            else:
                node, start, weight, origin, content_end = outside.pop()
                if begin < content_end:
                    self.add_text(begin, content_end)
                values = (start, offset + 1, content_end, len(nodes), weight, origin, 0, NO_OPTIONS)
                nodes[node] = new_node(Weighted, values)
            begin = offset + 1

    def weigh(self, opening: int, closing: int) -> tuple[float, str, int]:
        """Return a group's weight, its origin, and the end of its text."""
        start, end, colon = self.brackets[opening], self.brackets[closing], self.colons[closing]
        if colon > start + 1:
            written = self.source[colon + 1 : end]
            self.scanned += len(written)
            value = parse_finite(written)
            if value is not None:
                self.warn_about_weight(start, colon, end, value)
                return clamp_weight(value), "number", colon
            if NUMBER_LIKE.match(written):
                self.remarks.add("weight-unreadable", colon + 1, end, value=written.strip())
        if end == start + 1:
            self.remarks.add("empty-group", start, end + 1)
        return BARE_FACTOR, "round", end

    def warn_about_weight(self, start: int, colon: int, end: int, value: float) -> None:
        """Remark on a weight that is far from 1, or that may be the second half of a ratio."""
        if self.source[colon - 1] in "0123456789" and self.source[colon + 1 : end].strip().isdecimal():
            written = self.source[max(start + 1, colon - 4) : end]
            self.remarks.add("weight-ratio-fixed", colon, end, value=written, weight=value)
        elif abs(value) > UNUSUAL_WEIGHT:
            self.remarks.add("weight-large", colon + 1, end, weight=value)

    def add_text(self, start: int, end: int) -> None:
        """Add source[start:end] without the backslashes that escape brackets."""
        if start >= end:
            return
        while self.escapes_passed < len(self.escapes) and self.escapes[self.escapes_passed] < end:
            escape = self.escapes[self.escapes_passed]
            self.escapes_passed += 1
            if escape >= start:
                if start < escape:
                    self.nodes.append(new_node(Text, (start, escape)))
                start = escape + 1
        self.nodes.append(new_node(Text, (start, end)))
