"""Parser of the dialect `comfy`: ComfyUI's round brackets, where a number replaces the enclosing weight.

ComfyUI splits at the outermost brackets and starts again inside; on balanced text that is one pass with a
stack. On unbalanced text two rules of its own show: after a stray `)` as many `(` are text, and an unclosed
`(` still makes a group when the text happens to end with `)`.
"""

from __future__ import annotations

import re
from typing import Any

from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.likely_mistakes import remark_on_foreign_text
from promptweight.prompt.literals import NUMBER_LIKE, UNUSUAL_WEIGHT, clamp_weight, parse_finite
from promptweight.prompt.model import NO_OPTIONS
from promptweight.prompt.nodes import Text, Weighted, new_node
from promptweight.prompt.source_map import MappedText
from promptweight.prompt.tree import ParseTree, TreePart

TOKENS = re.compile(r"[^()\\:]++|\\[()]?+|[():]")
TAG = re.compile(r"<(?:lora|lyco|hypernet):[^<>\n]++>", re.IGNORECASE)
BARE_FACTOR = 1.1
CLOSER, UNMATCHED = -2, -1
"""Stand for the closing bracket of a bracket that closes another, and of one that matches none."""


def parse_comfy(source: str) -> ParseTree:
    """Parse a prompt as ComfyUI does (comfy/sd1_clip.py, `token_weights`); its infinite weights are text."""
    reader = _ComfyReader(source)
    scanned = len(source)
    if not reader.read_balanced():
        reader = _ComfyReader(source)
        reader.find_marks()
        reader.read_unbalanced()
        scanned += 2 * len(source)
    for match in TAG.finditer(source) if "<" in source else ():
        reader.remarks.add("tag-comfy", *match.span(), value=match[0])
    remark_on_foreign_text(MappedText.whole(source), reader.remarks)
    part = TreePart(MappedText.whole(source), tuple(reader.nodes), source, 1.0, 0, len(source))
    return ParseTree(source, "comfy", (part,), scanned=scanned + reader.scanned, remarks=reader.remarks)


class _ComfyReader:
    """The nodes of a source, added from left to right."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.remarks = Remarks()
        self.nodes: list[Any] = []
        self.scanned = 0
        self.brackets: list[int] = []  # offsets of the brackets that are not escaped
        self.colons: dict[int, int] = {}  # for a closing bracket, the last colon since the bracket before it
        self.closing: list[int] = []  # for every bracket, the index of the one that closes it, or a constant
        self.escapes: list[int] = []  # offsets of the backslashes that escape a bracket
        self.escapes_passed = 0

    def read_balanced(self) -> bool:
        """Add the nodes of text whose brackets all match, in one pass; return whether they do."""
        source, nodes = self.source, self.nodes
        if source.count("(") - source.count("\\(") != source.count(")") - source.count("\\)"):
            return False
        opened: list[int] = []  # the nodes of the open groups, which are their offsets so far
        offset = begin = 0
        colon = -1  # the last colon since the last bracket
        for token in TOKENS.findall(source):
            if token == "(":
                if begin < offset:
                    nodes.append(new_node(Text, (begin, offset)))
                opened.append(len(nodes))
                nodes.append(offset)
                begin, colon = offset + 1, -1
            elif token == ")":
                if not opened:
                    return False
                index = opened.pop()
                start = nodes[index]
                weight, origin, content_end = BARE_FACTOR, "round", offset
                if colon >= 0 or offset == start + 1:
                    weight, origin, content_end = self.weigh(start, colon, offset)
                if begin < content_end:
                    nodes.append(new_node(Text, (begin, content_end)))
                values = (start, offset + 1, content_end, len(nodes), weight, origin, 0, NO_OPTIONS)
                nodes[index] = new_node(Weighted, values)
                begin, colon = offset + 1, -1
            elif token == ":":
                colon = offset
            elif token == "\\(" or token == "\\)":
                if begin < offset:
                    nodes.append(new_node(Text, (begin, offset)))
                begin = offset + 1
            offset += len(token)
        if begin < offset:
            nodes.append(new_node(Text, (begin, offset)))
        return not opened

    def find_marks(self) -> None:
        """Find brackets, escapes and colons, and match brackets as ComfyUI counts levels."""
        opened: list[int] = []
        brackets, colons, closing = self.brackets, self.colons, self.closing
        level = offset = 0
        colon = -1
        for token in TOKENS.findall(self.source):
            if token == "(":
                if level >= 0:
                    opened.append(len(brackets))
                else:
                    self.remarks.add("stray-disables", offset, offset + 1)
                level += 1
                brackets.append(offset)
                closing.append(UNMATCHED)
                colon = -1
            elif token == ")":
                if opened:
                    closing[opened.pop()] = len(brackets)
                    closing.append(CLOSER)
                else:
                    self.remarks.add("stray-closer", offset, offset + 1, bracket=")")
                    closing.append(UNMATCHED)
                level -= 1
                if colon >= 0:
                    colons[len(brackets)] = colon
                    colon = -1
                brackets.append(offset)
            elif token == ":":
                colon = offset
            elif token == "\\(" or token == "\\)":
                self.escapes.append(offset)
            offset += len(token)

    def read_unbalanced(self) -> None:
        """Add the nodes of the text, whose end moves in where an unclosed bracket makes a group after all."""
        nodes, brackets, closing = self.nodes, self.brackets, self.closing
        opened: list[int] = []  # the nodes of the open groups, which are the indices of their brackets so far
        unclosed: list[tuple[int, int, int, float, str]] = []  # (node, start, end, weight, origin)
        end = len(self.source)
        begin = 0  # of the text that has no node yet
        index, last = 0, len(brackets) - 1
        level = 0
        while index <= last:
            offset, closer = brackets[index], closing[index]
            if 0 <= closer <= last:
                if begin < offset:
                    self.add_text(begin, offset)
                opened.append(len(nodes))
                nodes.append(index)
                begin = offset + 1
            elif closer == CLOSER:
                node = opened.pop()
                opening = nodes[node]
                start = brackets[opening]
                weight, origin, content_end = self.weigh(start, self.colons.get(index, -1), offset)
                if begin < content_end:
                    self.add_text(begin, content_end)
                stop = len(nodes)
                values = (start, offset + 1, content_end, stop, weight, origin, 0, NO_OPTIONS)
                nodes[node] = new_node(Weighted, values)
                begin = offset + 1
            elif self.source[offset] == ")":
                level -= 1
            elif level < 0:
                level += 1
            else:
                self.add_text(begin, offset)
                begin = offset
                if index == last or self.source[end - 1] != ")" or brackets[last] != end - 1:
                    self.remarks.add("unclosed-text", offset, offset + 1, bracket="(")
                    unclosed.append((len(nodes), offset, end, 1.0, "none"))
                    nodes.append(None)
                    break
                weight, origin, content_end = self.weigh(offset, self.colons.get(last, -1), brackets[last])
                unclosed.append((len(nodes), offset, end, weight, origin))
                nodes.append(None)
                begin, end = offset + 1, content_end
                last -= 1
            index += 1
        self.add_text(begin, end)
        stop, content_end = len(nodes), end
        for node, start, group_end, weight, origin in reversed(unclosed):
            nodes[node] = Weighted(start, group_end, content_end, stop, weight, origin)
            content_end = group_end

    def weigh(self, start: int, colon: int, end: int) -> tuple[float, str, int]:
        """Return the weight of the group from `start` to `end`, its origin, and the end of its text."""
        if colon > start + 1:
            written = self.source[colon + 1 : end]
            self.scanned += len(written)
            value = parse_finite(written)
            if value is not None:
                if not -UNUSUAL_WEIGHT <= value <= UNUSUAL_WEIGHT or self.source[colon - 1] in "0123456789":
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
        escapes = self.escapes
        while self.escapes_passed < len(escapes) and escapes[self.escapes_passed] < end:
            escape = escapes[self.escapes_passed]
            self.escapes_passed += 1
            if escape >= start:
                if start < escape:
                    self.nodes.append(new_node(Text, (start, escape)))
                start = escape + 1
        self.nodes.append(new_node(Text, (start, end)))
