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
    parse_options,
    parse_share,
    parse_weight,
    skip_white,
)
from promptweight.prompt.model import BREAK_KEYWORD, NO_OPTIONS, Options
from promptweight.prompt.nodes import Alternate, Break, Edit, Node, Text, Weighted, new_node
from promptweight.prompt.source_map import MappedText

FACTOR = {"(": 1.1, "[": 1 / 1.1}
ORIGIN = {"(": "round", "[": "square"}
BREAK_WORD = re.compile(rf"\b{BREAK_KEYWORD}\b")
SHARE = re.compile(r"\s*+([^\s()\[\]\\:%]++%|[\d.][^\s()\[\]\\:%]*+)\s*+\)")
ESCAPABLE = {"pw": r"()\[\]\\:|#", "a1111": r"()\[\]\\"}
TOKENS = {
    dialect: re.compile(rf"[^()\[\]\\:|]++|\\[{escapable}]?+|[()\[\]:|]")
    for dialect, escapable in ESCAPABLE.items()
}
"""Plain text, an escape (or a backslash that escapes nothing), a bracket, a colon or a bar, by dialect."""

WEIGHTS = {
    "pw": re.compile(rf":\s*+(?:({ASCII_NUMBER.pattern}%?+)\s*+(\{{[^{{}}()\[\]]*+\}})?+\s*+)?+(\))?+"),
    "a1111": re.compile(rf":\s*+(?:({A1111_NUMBER.pattern})()\s*+)?+(\))?+"),
}
"""A colon with the number, the options and the closing bracket after it, as many of them as there are."""

# The beginning of a weight or of options: the part of a literal that an edit may complete.
OPEN_LITERAL = re.compile(r"\s*+(?:=[^()\[\]\\:]*+|[+\-.\deE]*+%?+\s*+(?:\{[^{}()\[\]]*+(?:\}\s*+)?+)?+)")
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
        self.changes: tuple[Change, ...] = ()
        # The marks still to come, the next one last, as `Changes.marks` yields them; one at the text's end.
        self.marks = [(len(self.text), len(self.text), -1, 0)]
        self.begin = 0  # the end of the last mark
        self.end = 0  # the start of the next one
        self.open_changes: list[
            tuple[int, list[int]]
        ] = []  # (index of the node, first nodes of the branches)
        self.rounds: list[int] = []  # indices of the nodes of the open groups, whose offsets are there
        self.squares: list[int] = []
        self.closings = 0
        self.colon = -1  # the last colon since the last bracket
        self.has_breaks = BREAK_KEYWORD in self.text
        self.has_keyword_head = self.has_keyword_tail = False

    def scan_all(self, changes: Changes | None) -> None:
        """Scan the whole text, the marks of its edits included."""
        text, nodes, rounds, squares = self.text, self.nodes, self.rounds, self.squares
        if changes is not None:
            self.changes = changes.items
            self.marks += sorted(changes.marks(), reverse=True)
        end = self.end = self.marks[-1][0]
        offset = resume = 0  # `resume` is the end of a weight or mark, whose tokens are read at its beginning
        for token in TOKENS[self.dialect].findall(text):
            if offset < resume:
                pass
            elif offset == end:
                resume = self.mark()
                end = self.end
            elif token == "(":
                rounds.append(len(nodes))
                nodes.append(offset)
                self.colon = -1
            elif token == ")" or token == "]":
                self.close_group(token, offset)
            elif token == "[":
                squares.append(len(nodes))
                nodes.append(offset)
                self.colon = -1
            elif token == ":":
                resume = self.weight(offset)
            elif token[0] == "\\":
                self.escape(token, offset)
            elif self.has_breaks:
                self.plain_with_breaks(offset, offset + len(token))
            else:
                nodes.append(new_node(Text, (offset, offset + len(token))))
            offset += len(token)
        self.scanned += len(text)
        self.is_composed |= self.has_keyword_head and self.has_keyword_tail
        self.close_open_groups()

    def mark(self) -> int:
        """Read the next mark of an edit; return the offset after it."""
        nodes = self.nodes
        start, end, number, branch = self.marks.pop()
        self.check_edges(self.begin, start, end)
        self.begin, self.end = end, self.marks[-1][0]
        if branch == 0:
            self.open_changes.append((len(nodes), [len(nodes) + 1]))
            nodes.append(None)
            return end
        head, branches = self.open_changes[-1]
        branches.append(len(nodes))
        change = self.changes[number]
        if branch == len(change.separators) + change.is_alternation:
            self.open_changes.pop()
            self.close_change(head, change, tuple(branches), end)
        return end

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
        text = self.text
        if first < start and text[start - 1] in BREAK_KEYWORD:
            before = text[max(first, start - len(BREAK_KEYWORD)) : start]
            self.has_keyword_head |= KEYWORD_HEAD.search(before) is not None
        if end < len(text) and text[end] in BREAK_KEYWORD:
            self.has_keyword_tail |= KEYWORD_TAIL.match(text, end) is not None
        if self.has_breaks and (
            text[first:start].rstrip().endswith(BREAK_KEYWORD) or KEYWORD_FIRST.match(text, end)
        ):
            self.is_composed = True

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

    def close_group(self, closer: str, offset: int) -> None:
        """Close the innermost group of this kind, or take the closing bracket as text."""
        bracket = "(" if closer == ")" else "["
        if not (self.rounds if bracket == "(" else self.squares):
            self.remark("stray-closer", offset, offset + 1, bracket=closer)
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
        index = own.pop()
        nodes = self.nodes
        offset, stop = nodes[index], len(nodes)
        if other and other[-1] > index:
            self.remark("crossed-groups", end - 1, end, bracket=self.text[end - 1])
        if index == stop - 1:
            self.remark("empty-group", offset, end)
        values = (offset, end, content_end, stop, weight, origin, self.closings, options)
        nodes[index] = new_node(Weighted, values)
        self.closings += 1
        self.colon = -1

    def escape(self, token: str, offset: int) -> None:
        """Read a backslash: the next character is text, or the backslash itself is (A1111 drops it)."""
        if len(token) == 2:
            self.nodes.append(Text(offset + 1, offset + 2))
        elif self.dialect == "a1111":
            self.remark("backslash-dropped", offset, offset + 1)
        else:
            self.nodes.append(Text(offset, offset + 1))

    def weight(self, offset: int) -> int:
        """Read a colon: the weight that closes a round group, or else text; return the offset after it."""
        if not self.rounds:
            return self.colon_as_text(offset)
        text, end = self.text, self.end
        if end < len(text) and self.is_open_literal(offset + 1):
            self.is_composed = True
        match = WEIGHTS[self.dialect].match(text, offset, end)
        assert match is not None
        number, braces, closer = match.groups()
        after = match.end()
        self.scanned += after - offset
        if number is None:
            if self.dialect == "pw" and not closer and text[after : min(after + 1, end)] == "=":
                return self.share(offset, after + 1)
            return self.colon_as_text(offset)
        value = parse_weight(number) if closer else None
        if value is None:
            return self.colon_as_text(offset)
        self.warn_about_weight(offset, after - 1, value, number)
        options = NO_OPTIONS
        if braces:
            source_offset = self.mapped.source_start
            options = parse_options(braces[1:-1], match.start(2) + 1, self.remarks, source_offset)
        self.pop("(", offset, after, value, "number", options)
        return after

    def share(self, offset: int, after_sign: int) -> int:
        """Read `:=`, at `offset`: the share of attention that closes a round group, or else text."""
        match = SHARE.match(self.text, after_sign, self.end)
        if match is None:
            return self.colon_as_text(offset)
        self.scanned += match.end() - offset
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
        nodes, size, count, closings = self.nodes, len(self.text), len(self.nodes), self.closings
        for bracket, groups in (("(", self.rounds), ("[", self.squares)):
            weight, origin = FACTOR[bracket], ORIGIN[bracket]
            for index in groups:
                offset = nodes[index]
                values = (offset, size, size, count, weight, origin, closings, NO_OPTIONS)
                nodes[index] = new_node(Weighted, values)
                closings += 1
                self.remark("unclosed-group", offset, offset + 1, bracket=bracket)

    def remark(self, code: str, start: int, end: int, **values: object) -> None:
        """Remark on a range of the text."""
        if self.remarks.wants_more():
            self.remarks.add(code, self.mapped.source_start(start), self.mapped.source_end(end), **values)
