"""Prompt editing and alternation: the brackets whose text changes during sampling, and the text of a step.

`[from:to:when]`, `[to:when]`, `[from::when]` and `[a|b|…]` as A1111 has them. One pass over the brackets with
a stack finds all of them, at any depth; one pass over their marks gives the text of a step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from promptweight.prompt.literals import SCHEDULE_NUMBER
from promptweight.prompt.nodes import last_step_before

MARK = re.compile(r"\\.|[\\()\[\]:|]")

AddRemark = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Change:
    """One edit or alternation.

    Attributes:
        start: the offset of the opening bracket.
        separators: the offsets of the colons or bars.
        stop: the offset of the closing bracket.
        when: the step as the prompt has it; empty for an alternation.
    """

    start: int
    separators: tuple[int, ...]
    stop: int
    when: str = ""

    @property
    def is_alternation(self) -> bool:
        """Whether the branches take turns."""
        return not self.when

    @property
    def branches(self) -> list[tuple[int, int]]:
        """The ranges of the branches, without marks."""
        edges = [self.start, *self.separators]
        ends = [*self.separators, self.stop] if self.is_alternation else self.separators
        return [(start + 1, end) for start, end in zip(edges, ends, strict=False)]


@dataclass(frozen=True, slots=True)
class Changes:
    """All changes of a text, in the order of their openings; `scanned` counts the characters read."""

    text: str
    found: tuple[Change, ...]
    scanned: int

    def last_steps(self, steps: int, first_pass_steps: int | None = None, old: bool = False) -> list[int]:
        """Return the steps after which the text may change, and the last step."""
        ends = {steps}
        for change in self.found:
            if change.is_alternation:
                return list(range(1, steps + 1))
            end = last_step_before(change.when, steps, first_pass_steps, old)
            if end >= 1:
                ends.add(end)
        return sorted(ends)

    def ranges_at(
        self, step: int, steps: int, first_pass_steps: int | None = None, old: bool = False
    ) -> list[tuple[int, int]]:
        """Return the ranges of the text that are in force at `step`, counted from 1."""
        # A mark ends a range: (offset, levels entered or left, whether the text after it is in force).
        marks: list[tuple[int, int, bool]] = []
        for change in self.found:
            if change.is_alternation:
                chosen = (step - 1) % (len(change.separators) + 1)
            else:
                is_before = step <= last_step_before(change.when, steps, first_pass_steps, old)
                count = len(change.separators)  # one: [to:when]; two: [from:to:when]
                chosen = (0 if count == 2 else -1) if is_before else count - 1
            marks.append((change.start, 1, chosen == 0))
            marks.extend((place, 0, chosen == branch) for branch, place in enumerate(change.separators, 1))
            marks.append((change.stop, -1, True))
        marks.sort()
        ranges: list[tuple[int, int]] = []
        in_force = [True]
        hidden = place = 0
        for mark, levels, is_shown in marks:
            if not hidden and place < mark:
                ranges.append((place, mark))
            if levels <= 0:
                hidden -= not in_force.pop()
            if levels >= 0:
                in_force.append(is_shown)
                hidden += not is_shown
            place = mark + 1
        if place < len(self.text):
            ranges.append((place, len(self.text)))
        return ranges

    def text_at(self, step: int, steps: int, first_pass_steps: int | None = None, old: bool = False) -> str:
        """Return the text in force at `step`."""
        ranges = self.ranges_at(step, steps, first_pass_steps, old)
        return "".join(self.text[start:end] for start, end in ranges)

    def marks(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield (start, end, index of the change, branch that begins) of every mark, not in order.

        The branch is one past the last for the mark that closes a change.
        """
        for index, change in enumerate(self.found):
            yield change.start, change.start + 1, index, 0
            *separators, last = change.separators
            for branch, separator in enumerate(separators, 1):
                yield separator, separator + 1, index, branch
            if change.is_alternation:
                yield last, last + 1, index, len(change.separators)
                yield change.stop, change.stop + 1, index, len(change.separators) + 1
            else:
                yield last, change.stop + 1, index, len(change.separators)


def ignore_remark(code: str, start: int, end: int, **values: object) -> None:
    """Drop a remark."""


def find_changes(
    text: str, dialect: str, opaque: Sequence[tuple[int, int]] = (), add_remark: AddRemark = ignore_remark
) -> Changes:
    """Find the edits and alternations of a text.

    A bracket counts only when everything inside it is balanced. For `a1111` a bar outside of an alternation,
    or a backslash with nothing to escape, makes the whole text constant, as it does in A1111; `pw` accepts
    both.

    Args:
        text: the text of one part.
        dialect: `pw` or `a1111`.
        opaque: ranges without marks.
        add_remark: called as add_remark(code, start, end, **values).
    """
    if "]" not in text and "|" not in text:
        return Changes(text, (), 0)
    finder = _ChangeFinder(text, dialect == "a1111", opaque, add_remark)
    finder.run()
    found = sorted(finder.found, key=lambda change: change.start)
    if found and finder.refused:
        add_remark("edit-refused", finder.refused_at, finder.refused_at + 1, reason=finder.refused)
        found = []
    if found and dialect == "a1111":
        dropped = _find_dropped_groups(finder.places, finder.owners)
        found = [change for change in found if change.start not in dropped]
    return Changes(text, tuple(found), finder.scanned)


class _OpenBracket:
    """A bracket that may still become an edit or an alternation."""

    __slots__ = ("bars", "bracket", "colons", "index", "place")

    def __init__(self, bracket: str, place: int, index: int) -> None:
        self.bracket = bracket
        self.place = place
        self.index = index  # among all brackets and colons
        self.colons: tuple[tuple[int, int], ...] = ()  # (place, index), at most two
        self.bars: list[int] | None = None


@dataclass(slots=True)
class _Marks:
    """The brackets and colons of one group, as indices into all marks of the text."""

    indices: list[int]
    is_alternation: bool  # whose bars can be nothing else


class _ChangeFinder:
    """The state of one pass over the brackets; `strict` keeps what A1111's choices depend on."""

    def __init__(
        self, text: str, strict: bool, opaque: Sequence[tuple[int, int]], add_remark: AddRemark
    ) -> None:
        self.text = text
        self.strict = strict
        self.opaque = opaque
        self.add_remark = add_remark
        self.open: list[_OpenBracket] = []
        self.found: list[Change] = []
        self.places: list[int] = []  # of all brackets and colons, where strict
        self.owners: list[_Marks | None] = []  # the closed group of each, where strict
        self.refused = ""
        self.refused_at = -1
        self.scanned = len(text)

    def run(self) -> None:
        """Read all marks of the text."""
        hole = 0
        open_brackets = self.open
        for match in MARK.finditer(self.text):
            mark, place = match[0], match.start()
            if self.opaque:
                while hole < len(self.opaque) and self.opaque[hole][1] <= place:
                    hole += 1
                if hole < len(self.opaque) and self.opaque[hole][0] <= place:
                    continue
            if self.strict and mark in "()[]:":
                self.places.append(place)
                self.owners.append(None)
            if mark == "(" or mark == "[":
                open_brackets.append(_OpenBracket(mark, place, len(self.places) - 1))
            elif mark == ")":
                if open_brackets and open_brackets[-1].bracket == "(":
                    self.close(is_alternation=False)
                else:
                    self.give_up()
            elif mark == "]":
                self.close_square(place)
            elif mark == ":":
                self.add_colon(place)
            elif mark == "|":
                self.add_bar(place)
            elif mark == "\\":
                self.refuse("“\\”", place)
        self.give_up()

    def add_colon(self, place: int) -> None:
        """Add a colon: one in round brackets, one or two in square ones without a bar."""
        if not self.open:
            return
        inner = self.open[-1]
        if inner.bars or len(inner.colons) == (1 if inner.bracket == "(" else 2):
            self.give_up()
        else:
            inner.colons += ((place, len(self.places) - 1),)

    def add_bar(self, place: int) -> None:
        """Add a bar: a separator in square brackets without a colon."""
        inner = self.open[-1] if self.open else None
        if inner is None or inner.bracket == "(":
            self.note_stray_bar(place)
        elif inner.colons:
            self.note_stray_bar(place)
            self.give_up()
        elif inner.bars is None:
            inner.bars = [place]
        else:
            inner.bars.append(place)

    def note_stray_bar(self, place: int) -> None:
        """Note a bar that separates nothing."""
        self.refuse("“|”", place)
        self.add_remark("bar-outside", place, place + 1)

    def close_square(self, place: int) -> None:
        """Close a square bracket, which may complete an edit or an alternation."""
        if not self.open or self.open[-1].bracket != "[":
            self.give_up()
            return
        bracket = self.open[-1]
        if bracket.bars:
            self.found.append(Change(bracket.place, tuple(bracket.bars), place))
        elif bracket.colons:
            colons = tuple(colon for colon, _ in bracket.colons)
            self.scanned += place - colons[-1]
            number = SCHEDULE_NUMBER.fullmatch(self.text, colons[-1] + 1, place)
            if number is None:
                if len(colons) == 2:
                    value = self.text[colons[-1] + 1 : place]
                    self.add_remark("edit-without-step", colons[-1] + 1, place, value=value)
                self.give_up()
                return
            self.found.append(Change(bracket.place, colons, place, number[1]))
        self.close(is_alternation=bool(bracket.bars))

    def close(self, *, is_alternation: bool) -> None:
        """Close the innermost bracket with the mark just read."""
        bracket = self.open.pop()
        if self.strict:
            indices = [bracket.index, *(index for _, index in bracket.colons), len(self.places) - 1]
            marks = _Marks(indices, is_alternation)
            for index in indices:
                self.owners[index] = marks

    def give_up(self) -> None:
        """Turn all open brackets into text: they can no longer be balanced."""
        for bracket in self.open:
            for bar in bracket.bars or ():
                self.note_stray_bar(bar)
        self.open.clear()

    def refuse(self, reason: str, place: int) -> None:
        """Note the first mark that makes A1111 find no changes in the whole text."""
        if self.strict and not self.refused:
            self.refused, self.refused_at = reason, place


def _find_dropped_groups(places: list[int], owners: list[_Marks | None]) -> set[int]:
    """Return the opening offsets of the groups whose marks A1111 takes as text.

    Args:
        places: the offsets of all brackets and colons, in order.
        owners: the closed group of each, `None` where a mark is bare. Changed in place: the marks of a
            dropped group become bare.
    """
    dropped: set[int] = set()
    index = len(places) - 1
    run = 0  # bare marks directly to the right
    run_start = -1
    while index >= 0:
        place, owner = places[index], owners[index]
        if owner is None:
            run = run + 1 if run_start == place + 1 else 1
            run_start = place
            index -= 1
            continue
        touching = _closers_before(index, places, owners) if run and run_start == place + 1 else []
        length = len(touching) + run
        if touching and length >= 3 and length % 2 == 1:
            for group in touching:
                dropped.add(places[group.indices[0]])
                for mark in group.indices:
                    owners[mark] = None
        else:
            index = owner.indices[0] - 1
            run, run_start = 0, -1
    return dropped


def _closers_before(index: int, places: list[int], owners: list[_Marks | None]) -> list[_Marks]:
    """Return the groups that close one directly before the other, up to the mark at `index`."""
    groups: list[_Marks] = []
    place = places[index]
    while index >= 0:
        owner = owners[index]
        if (
            owner is None
            or owner.is_alternation
            or owner.indices[-1] != index
            or places[index] != place - len(groups)
        ):
            break
        groups.append(owner)
        index -= 1
    return groups
