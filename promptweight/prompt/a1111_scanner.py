"""Scanner of the weight grammar of `pw` and `a1111`: `(x)`, `[x]`, `(x:1.2)`, escapes and BREAK.

A part is scanned once, with its edits and alternations known, into the nodes of the parse tree. Round and
square groups are two separate stacks, as in A1111, and may cross.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from promptweight.prompt.changes import Change, Changes
from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.literals import (
    A1111_NUMBER,
    ASCII_NUMBER,
    NUMBER_LIKE,
    UNUSUAL_WEIGHT,
    parse_finite,
    parse_options,
    parse_share,
    skip_white,
)
from promptweight.prompt.model import BREAK_KEYWORD, NO_OPTIONS, Options
from promptweight.prompt.nodes import Alternate, Break, Edit, Node, Text, Weighted, new_node
from promptweight.prompt.source_map import MappedText

FACTOR = {"(": 1.1, "[": 1 / 1.1}
ORIGIN = {"(": "round", "[": "square"}
PLAIN = re.compile(r"[^()\[\]\\:]++")
BREAK_WORD = re.compile(rf"\b{BREAK_KEYWORD}\b")
BRACES = re.compile(r"\{[^{}()\[\]]*+\}")
SHARE = re.compile(r"\s*+([^\s()\[\]\\:%]++%|[\d.][^\s()\[\]\\:%]*+)\s*+\)")
ESCAPABLE = {"pw": frozenset("()[]\\:|#"), "a1111": frozenset("()[]\\")}

# The beginning of a weight or of options: the part of a literal that an edit may complete.
OPEN_LITERAL = re.compile(r"\s*+(?:=[^()\[\]\\:]*+|[+\-.\deE]*+\s*+(?:\{[^{}()\[\]]*+(?:\}\s*+)?+)?+)")
# The keyword, or a piece of it, at the end and at the beginning of a text between the marks of edits.
KEYWORD_HEAD = re.compile(r"\b(?:B|BR|BRE|BREA)\Z")
KEYWORD_TAIL = re.compile(r"(?:REAK|EAK|AK|K)\b")
KEYWORD_FIRST = re.compile(rf"\s*+{BREAK_KEYWORD}\b")


class Scan(NamedTuple):
    """The nodes of a part.

    Attributes:
        nodes: the nodes, in source order.
        is_composed: whether an edit completes a weight or a BREAK, as in `(x:[1.2:0.8:5])`: the nodes then
            depend on the step.
        scanned: the number of characters read, lookahead included.
    """

    nodes: tuple[Node, ...]
    is_composed: bool
    scanned: int


def scan(text: MappedText, dialect: str, remarks: Remarks, changes: Changes | None = None) -> Scan:
    """Scan a text into nodes; `changes` are its edits and alternations."""
    scanner = _Scanner(text, dialect, remarks)
    scanner.scan_all(changes)
    return Scan(tuple(scanner.nodes), scanner.is_composed, scanner.scanned)


class _Scanner:
    """The state of one pass, which reads every character a bounded number of times and counts it."""

    def __init__(self, mapped: MappedText, dialect: str, remarks: Remarks) -> None:
        self.mapped = mapped
        self.text = mapped.text
        self.dialect = dialect
        self.remarks = remarks
        self.nodes: list[Any] = []
        self.is_composed = False
        self.scanned = 0
        self.end = len(self.text)  # of the text up to the next mark of an edit
        self.rounds: list[tuple[int, int]] = []  # (index of the node, offset) of the open groups
        self.squares: list[tuple[int, int]] = []
        self.closings = 0
        self.colon = -1  # the last colon since the last bracket
        self.has_breaks = BREAK_KEYWORD in self.text
        self.has_keyword_head = self.has_keyword_tail = False

    def scan_all(self, changes: Changes | None) -> None:
        """Scan to the end of the text, from one mark of an edit to the next."""
        offset = 0
        if changes is not None and changes.items:
            offset = self.scan_changes(changes)
        self.scan_range(offset, len(self.text))
        self.scanned += len(self.text)
        self.close_open_groups()

    def scan_changes(self, changes: Changes) -> int:
        """Scan up to the last mark of an edit; return the offset after it."""
        offset = 0
        heads: dict[int, int] = {}  # from the number of a change to the index of its node
        branches: dict[int, list[int]] = {}
        for start, end, number, branch in sorted(changes.marks()):
            self.scan_range(offset, start)
            self.check_edges(offset, start, end)
            offset = end
            if branch == 0:
                heads[number] = len(self.nodes)
                branches[number] = []
                self.nodes.append(None)
            branches[number].append(len(self.nodes))
            change = changes.items[number]
            if branch == len(change.separators) + change.is_alternation:
                self.close_change(heads.pop(number), change, tuple(branches.pop(number)), end)
        self.is_composed |= self.has_keyword_head and self.has_keyword_tail
        return offset

    def close_change(self, head: int, change: Change, branches: tuple[int, ...], end: int) -> None:
        """Write the node of an edit or an alternation."""
        stop = len(self.nodes)
        if change.is_alternation:
            self.nodes[head] = Alternate(change.start, end, change.separators, branches, stop)
        else:
            self.nodes[head] = Edit(change.start, end, change.separators, change.when, branches, stop)

    def check_edges(self, first: int, start: int, end: int) -> None:
        """Note whether the mark text[start:end] of an edit touches the keyword BREAK, or pieces of it.

        The mark before ends at `first`.
        """
        before = self.text[first:start]
        self.has_keyword_head |= KEYWORD_HEAD.search(before[-len(BREAK_KEYWORD) :]) is not None
        self.has_keyword_tail |= KEYWORD_TAIL.match(self.text, end) is not None
        if self.has_breaks and (
            before.rstrip().endswith(BREAK_KEYWORD) or KEYWORD_FIRST.match(self.text, end)
        ):
            self.is_composed = True

    def scan_range(self, offset: int, end: int) -> None:
        """Scan text[offset:end]."""
        self.end = end
        text, nodes = self.text, self.nodes
        plain = PLAIN.match
        while offset < end:
            character = text[offset]
            if character in "([":
                self.open_group(character, offset)
                offset += 1
            elif character in ")]":
                self.close_group("(" if character == ")" else "[", offset)
                offset += 1
            elif character == ":":
                offset = self.weight(offset)
            elif character == "\\":
                offset = self.escape(offset)
            else:
                after = plain(text, offset, end).end()  # type: ignore[union-attr]
                if self.has_breaks:
                    self.plain_with_breaks(offset, after)
                else:
                    nodes.append(new_node(Text, (offset, after)))
                offset = after

    def plain_with_breaks(self, start: int, end: int) -> None:
        """Add text without brackets, in which BREAK removes the white space around it."""
        for match in BREAK_WORD.finditer(self.text, start, end):
            before = start + len(self.text[start : match.start()].rstrip())
            if start < before:
                self.nodes.append(Text(start, before))
            start = min(end, skip_white(self.text, match.end()))
            self.nodes.append(Break(match.start(), match.end()))
            if self.rounds or self.squares:
                self.remark("break-in-group", match.start(), match.end())
        if start < end:
            self.nodes.append(Text(start, end))

    def open_group(self, bracket: str, offset: int) -> None:
        """Begin a group; its weight is known when it closes."""
        (self.rounds if bracket == "(" else self.squares).append((len(self.nodes), offset))
        self.nodes.append(None)
        self.colon = -1

    def close_group(self, bracket: str, offset: int) -> None:
        """Close the innermost group of this kind, or take the closing bracket as text."""
        if not (self.rounds if bracket == "(" else self.squares):
            self.remark("stray-closer", offset, offset + 1, bracket=self.text[offset])
            self.nodes.append(Text(offset, offset + 1))
            self.colon = -1
            return
        if bracket == "(" and self.colon >= 0:
            self.scanned += offset - self.colon
            value = self.text[self.colon + 1 : offset]
            if NUMBER_LIKE.match(value):
                self.remark("weight-unreadable", self.colon + 1, offset, value=value.strip())
        self.pop(bracket, offset, offset + 1, FACTOR[bracket], ORIGIN[bracket])

    def pop(
        self,
        bracket: str,
        content_end: int,
        end: int,
        weight: float,
        origin: str,
        options: Options = NO_OPTIONS,
    ) -> None:
        """Close the innermost group of this kind, whose closing bracket is before `end`."""
        own, other = (self.rounds, self.squares) if bracket == "(" else (self.squares, self.rounds)
        index, offset = own.pop()
        self.colon = -1
        nodes = self.nodes
        if other and other[-1][0] > index:
            self.remark("crossed-groups", end - 1, end, bracket=self.text[end - 1])
        if index == len(nodes) - 1:
            self.remark("empty-group", offset, end)
        values = (offset, end, content_end, len(nodes), weight, origin, self.closings, options)
        nodes[index] = new_node(Weighted, values)
        self.closings += 1

    def escape(self, offset: int) -> int:
        """Read a backslash: the next character is text, or the backslash itself is (A1111 drops it)."""
        following = self.text[offset + 1 : offset + 2]
        if following and following in ESCAPABLE[self.dialect]:
            self.nodes.append(Text(offset + 1, offset + 2))
            return offset + 2
        if self.dialect == "a1111":
            self.remark("backslash-dropped", offset, offset + 1)
        else:
            self.nodes.append(Text(offset, offset + 1))
        return offset + 1

    def weight(self, offset: int) -> int:
        """Read a colon: the weight that closes a round group, or else text."""
        text, end = self.text, self.end
        if end < len(text) and self.rounds and self.is_open_literal(offset + 1):
            self.is_composed = True
        number_offset = skip_white(text, offset + 1, end)
        is_pw = self.dialect == "pw"
        if is_pw and number_offset < end and text[number_offset] == "=":
            return self.share(offset, number_offset + 1)
        number = (ASCII_NUMBER if is_pw else A1111_NUMBER).match(text, number_offset, end)
        if number is None:
            self.scanned += number_offset - offset
            return self.colon_as_text(offset)
        after = number.end()
        block = None
        if is_pw:
            block = BRACES.match(text, skip_white(text, after, end), end)
            after = block.end() if block else after
        closer = skip_white(text, after, end)
        self.scanned += closer - offset
        value = parse_finite(number[0])
        if closer >= end or text[closer] != ")" or value is None or not self.rounds:
            return self.colon_as_text(offset)
        self.warn_about_weight(offset, closer, value, number[0])
        options = NO_OPTIONS
        if block is not None:
            content, source_offset = block[0][1:-1], self.mapped.source_start
            options = parse_options(content, block.start() + 1, self.remarks, source_offset)
        self.pop("(", offset, closer + 1, value, "number", options)
        return closer + 1

    def share(self, offset: int, after_sign: int) -> int:
        """Read `:=`, at `offset`: the share of attention that closes a round group, or else text."""
        match = SHARE.match(self.text, after_sign, self.end)
        self.scanned += (after_sign if match is None else match.end()) - offset
        if match is None or not self.rounds:
            return self.colon_as_text(offset)
        share = parse_share(match[1]) if match[1].endswith("%") else None
        closer = match.end() - 1
        if share is None:
            self.remark("share-unreadable", offset + 1, closer, value=match[1])
            return self.colon_as_text(offset)
        self.pop("(", offset, closer + 1, 1.0, "number", Options(share=share))
        return closer + 1

    def colon_as_text(self, offset: int) -> int:
        """Add a colon that begins no weight."""
        self.nodes.append(Text(offset, offset + 1))
        self.colon = offset
        return offset + 1

    def is_open_literal(self, offset: int) -> bool:
        """Return whether the text from `offset` to the next mark of an edit may begin a weight."""
        match = OPEN_LITERAL.match(self.text, offset, self.end)
        if match is None:
            return False
        self.scanned += match.end() - offset
        return match.end() == self.end

    def warn_about_weight(self, offset: int, closer: int, value: float, number: str) -> None:
        """Remark on a weight that is far from 1, or that may be the second half of a ratio."""
        if number.isdecimal() and self.text[offset - 1] in "0123456789":
            first = offset
            while first > 0 and offset - first < 12 and self.text[first - 1] in "0123456789.":
                first -= 1
            written = self.text[first:closer].rstrip()
            escaped = written.replace(":", "\\:", 1)
            code = "weight-ratio" if self.dialect == "pw" else "weight-ratio-fixed"
            self.remark(code, offset, closer, value=written, weight=value, escaped=escaped)
        elif abs(value) > UNUSUAL_WEIGHT:
            self.remark("weight-large", offset + 1, closer, weight=value)

    def close_open_groups(self) -> None:
        """Close the groups that are open at the end of the text: the round ones first, as A1111 does."""
        size, count = len(self.text), len(self.nodes)
        for bracket, groups in (("(", self.rounds), ("[", self.squares)):
            weight, origin = FACTOR[bracket], ORIGIN[bracket]
            for index, offset in groups:
                values = (offset, size, size, count, weight, origin, self.closings, NO_OPTIONS)
                self.nodes[index] = new_node(Weighted, values)
                self.closings += 1
                self.remark("unclosed-group", offset, offset + 1, bracket=bracket)

    def remark(self, code: str, start: int, end: int, **values: object) -> None:
        """Remark on a range of the text."""
        if self.remarks.wants_more():
            self.remarks.add(code, self.mapped.source_start(start), self.mapped.source_end(end), **values)
