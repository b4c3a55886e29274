"""Prompt editing and alternation: the brackets whose text changes during sampling.

`[from:to:when]`, `[to:when]`, `[from::when]` and `[a|b|…]` as A1111 has them. One pass over the brackets with
a stack finds all of them, at any depth.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from promptweight.prompt.changes import Change, Changes
from promptweight.prompt.literals import SCHEDULE_NUMBER

TOKENS = re.compile(r"[^\\()\[\]:|]++|\\.|[\\()\[\]:|]")

AddRemark = Callable[..., None]


def ignore_remark(code: str, start: int, end: int, **values: object) -> None:
    """Drop a remark."""


def find_changes(text: str, dialect: str, add_remark: AddRemark = ignore_remark) -> Changes:
    """Find the edits and alternations of a text.

    A bracket counts only when everything inside it is balanced. For `a1111` a bar outside of an alternation,
    or a backslash with nothing to escape, makes the whole text constant, as it does in A1111; `pw` accepts
    both.

    Args:
        text: the text of one part.
        dialect: `pw` or `a1111`.
        add_remark: called as add_remark(code, start, end, **values).
    """
    if "|" not in text and not ("]" in text and ":" in text):
        return Changes(text, (), 0)
    finder = _ChangeFinder(text, dialect == "a1111", add_remark)
    finder.run()
    found = sorted(finder.changes, key=lambda change: change.start)
    if found and finder.refused:
        add_remark("edit-refused", finder.refused_offset, finder.refused_offset + 1, reason=finder.refused)
        found = []
    if found and None in finder.owners:
        dropped = _find_dropped_groups(finder.offsets, finder.owners, finder.alternations)
        found = [change for change in found if change.start not in dropped]
    return Changes(text, tuple(found), finder.scanned)


class _OpenBracket:
    """A bracket that may still become an edit or an alternation."""

    __slots__ = ("bars", "bracket", "colons", "index", "offset")

    def __init__(self, bracket: str, offset: int, index: int) -> None:
        self.bracket = bracket
        self.offset = offset
        self.index = index  # among all brackets and colons
        self.colons: tuple[tuple[int, int], ...] = ()  # (offset, index), at most two
        self.bars: list[int] | None = None


Marks = tuple[int, ...]
"""The brackets and colons of one group, as indices into all brackets and colons of the text."""


class _ChangeFinder:
    """The state of one pass over the brackets; `strict` keeps what A1111's choices depend on."""

    def __init__(self, text: str, strict: bool, add_remark: AddRemark) -> None:
        self.text = text
        self.strict = strict
        self.add_remark = add_remark
        self.open: list[_OpenBracket] = []
        self.changes: list[Change] = []
        self.offsets: list[int] = []  # of all brackets and colons, where strict
        self.owners: list[Marks | None] = []  # the closed group of each, where strict
        self.alternations: set[Marks] = set()
        self.refused = ""
        self.refused_offset = -1
        self.scanned = len(text)

    def run(self) -> None:
        """Read all marks of the text."""
        opened = self.open
        offset = 0
        for token in TOKENS.findall(self.text):
            if token in "()[]:" and self.strict:
                self.offsets.append(offset)
                self.owners.append(None)
            if token == "(" or token == "[":
                opened.append(_OpenBracket(token, offset, len(self.offsets) - 1))
            elif token == ":":
                if opened:
                    self.add_colon(opened[-1], offset)
            elif token == "]":
                self.close_square(offset)
            elif token == ")":
                if opened and opened[-1].bracket == "(":
                    self.close(is_alternation=False)
                else:
                    self.give_up()
            elif token == "|":
                self.add_bar(offset)
            elif token == "\\":
                self.refuse("“\\”", offset)
            offset += len(token)
        self.give_up()

    def add_colon(self, inner: _OpenBracket, offset: int) -> None:
        """Add a colon: one in round brackets, one or two in square ones without a bar."""
        if inner.bars or len(inner.colons) == (1 if inner.bracket == "(" else 2):
            self.give_up()
        else:
            inner.colons += ((offset, len(self.offsets) - 1),)

    def add_bar(self, offset: int) -> None:
        """Add a bar: a separator in square brackets without a colon."""
        inner = self.open[-1] if self.open else None
        if inner is None or inner.bracket == "(":
            self.note_stray_bar(offset)
        elif inner.colons:
            self.note_stray_bar(offset)
            self.give_up()
        elif inner.bars is None:
            inner.bars = [offset]
        else:
            inner.bars.append(offset)

    def note_stray_bar(self, offset: int) -> None:
        """Note a bar that separates nothing."""
        self.refuse("“|”", offset)
        self.add_remark("bar-outside", offset, offset + 1)

    def close_square(self, offset: int) -> None:
        """Close a square bracket, which may complete an edit or an alternation."""
        if not self.open or self.open[-1].bracket != "[":
            self.give_up()
            return
        bracket = self.open[-1]
        if bracket.bars:
            self.changes.append(Change(bracket.offset, tuple(bracket.bars), offset))
        elif bracket.colons:
            colons = tuple(colon for colon, _ in bracket.colons)
            self.scanned += offset - colons[-1]
            number = SCHEDULE_NUMBER.fullmatch(self.text, colons[-1] + 1, offset)
            if number is None:
                if len(colons) == 2:
                    value = self.text[colons[-1] + 1 : offset]
                    self.add_remark("edit-without-step", colons[-1] + 1, offset, value=value)
                self.give_up()
                return
            self.changes.append(Change(bracket.offset, colons, offset, number[1]))
        self.close(is_alternation=bool(bracket.bars))

    def close(self, *, is_alternation: bool) -> None:
        """Close the innermost bracket with the mark just read."""
        bracket = self.open.pop()
        if self.strict:
            marks = (bracket.index, *(index for _, index in bracket.colons), len(self.offsets) - 1)
            for index in marks:
                self.owners[index] = marks
            if is_alternation:
                self.alternations.add(marks)

    def give_up(self) -> None:
        """Turn all open brackets into text: they can no longer be balanced."""
        for bracket in self.open:
            for bar in bracket.bars or ():
                self.note_stray_bar(bar)
        self.open.clear()

    def refuse(self, reason: str, offset: int) -> None:
        """Note the first mark that makes A1111 find no changes in the whole text."""
        if self.strict and not self.refused:
            self.refused, self.refused_offset = reason, offset


def _find_dropped_groups(
    offsets: list[int], owners: list[Marks | None], alternations: set[Marks]
) -> set[int]:
    """Return the opening offsets of the groups whose marks A1111 takes as text.

    Args:
        offsets: the offsets of all brackets and colons, in order.
        owners: the closed group of each, `None` where a mark is bare. Changed in offset: the marks of a
            dropped group become bare.
        alternations: the groups whose bars can be nothing else.
    """
    dropped: set[int] = set()
    index = len(offsets) - 1
    run = 0  # bare marks directly to the right
    run_start = -1
    while index >= 0:
        offset, owner = offsets[index], owners[index]
        if owner is None:
            run = run + 1 if run_start == offset + 1 else 1
            run_start = offset
            index -= 1
            continue
        touching = []
        if run and run_start == offset + 1:
            touching = _closers_before(index, offsets, owners, alternations)
        length = len(touching) + run
        if touching and length >= 3 and length % 2 == 1:
            for group in touching:
                dropped.add(offsets[group[0]])
                for mark in group:
                    owners[mark] = None
        else:
            index = owner[0] - 1
            run, run_start = 0, -1
    return dropped


def _closers_before(
    index: int, offsets: list[int], owners: list[Marks | None], alternations: set[Marks]
) -> list[Marks]:
    """Return the groups that close one directly before the other, up to the mark at `index`."""
    groups: list[Marks] = []
    offset = offsets[index]
    while index >= 0:
        owner = owners[index]
        if (
            owner is None
            or owner in alternations
            or owner[-1] != index
            or offsets[index] != offset - len(groups)
        ):
            break
        groups.append(owner)
        index -= 1
    return groups
