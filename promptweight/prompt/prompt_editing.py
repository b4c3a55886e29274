"""Prompt editing and alternation: which brackets change the text during sampling, and the text at each step.

``[from:to:when]``, ``[to:when]``, ``[from::when]`` and ``[a|b|…]`` as A1111 reads them. One pass over the
brackets with a stack finds them all; one pass over their marks gives the text of a step. Nesting is free.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from promptweight.prompt.literals import SCHEDULE_NUMBER

MARK = re.compile(r"\\.|[\\()\[\]:|]")
NOMINAL_STEPS = 1_000_000
"""Stands for any number of steps where only the first step is asked for."""

EDIT, ALTERNATION = "edit", "alternation"
Remark = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Change:
    """One edit or alternation: places of its opening, separators and end; ``when`` as written."""

    meaning: str
    start: int
    separators: tuple[int, ...]
    stop: int
    when: str = ""

    def last_step_before(self, steps: int, first_pass_steps: int | None, old: bool) -> int:
        """The last step that has the text before the edit, at most ``steps``; below 1 for none.

        A number with a point is a fraction of ``steps``, any other counts steps. In a second pass, whose
        first pass had ``first_pass_steps``, counting goes on where the first ended. ``old``: below 1 is a
        fraction.
        """
        value = float(self.when)
        if old:
            value = value * steps if value < 1 else value
        elif "." in self.when:
            value = (value - (0.0 if first_pass_steps is None else 1.0)) * steps
        else:
            value -= first_pass_steps or 0
        return int(max(-1.0, min(float(steps), value)))


class OpenBracket:
    """A bracket that may still become an edit or an alternation."""

    __slots__ = ("bars", "bracket", "colons", "index", "place")

    def __init__(self, bracket: str, place: int, index: int) -> None:
        self.bracket = bracket
        self.place = place
        self.index = index  # among all brackets and colons
        self.colons: tuple[tuple[int, int], ...] = ()  # (place, index), at most two
        self.bars: list[int] | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """All the changes of a text, in the order of their openings."""

    text: str
    found: tuple[Change, ...]
    looked_at: int

    def last_steps(self, steps: int, first_pass_steps: int | None = None, old: bool = False) -> list[int]:
        """The steps after which the text may change, and the last step."""
        ends = {steps}
        for change in self.found:
            if change.meaning == ALTERNATION:
                return list(range(1, steps + 1))
            end = change.last_step_before(steps, first_pass_steps, old)
            if end >= 1:
                ends.add(end)
        return sorted(ends)

    def ranges(
        self, step: int, steps: int, first_pass_steps: int | None = None, old: bool = False
    ) -> list[tuple[int, int]]:
        """The ranges of the text that are in force at ``step`` (1-based)."""
        # A mark ends a range: (place, levels entered or left, whether the text after it is shown).
        marks: list[tuple[int, int, bool]] = []
        for change in self.found:
            if change.meaning == ALTERNATION:
                chosen = (step - 1) % (len(change.separators) + 1)
            else:
                before = step <= change.last_step_before(steps, first_pass_steps, old)
                texts = len(change.separators)  # one: [to:when]; two: [from:to:when]
                chosen = (0 if texts == 2 else -1) if before else texts - 1
            marks.append((change.start, 1, chosen == 0))
            marks.extend((place, 0, chosen == branch) for branch, place in enumerate(change.separators, 1))
            marks.append((change.stop, -1, True))
        marks.sort()
        kept: list[tuple[int, int]] = []
        in_force = [True]
        hidden = place = 0
        for mark, levels, shown in marks:
            if not hidden and place < mark:
                kept.append((place, mark))
            if levels <= 0:
                hidden -= not in_force.pop()
            if levels >= 0:
                in_force.append(shown)
                hidden += not shown
            place = mark + 1
        if place < len(self.text):
            kept.append((place, len(self.text)))
        return kept

    def at(self, step: int, steps: int, first_pass_steps: int | None = None, old: bool = False) -> str:
        """The text in force at ``step``."""
        return "".join(self.text[start:end] for start, end in self.ranges(step, steps, first_pass_steps, old))


def no_remark(code: str, start: int, end: int, **values: object) -> None:
    """Say nothing."""


def find_changes(
    text: str, dialect: str, opaque: Sequence[tuple[int, int]] = (), remark: Remark = no_remark
) -> Changes:
    """Find the edits and alternations of a text; ``opaque`` ranges hold no marks.

    A bracket counts only when everything inside it is balanced. For ``a1111`` a bar outside of an
    alternation, or a backslash with nothing to escape, makes the whole text unchanging, as it does there;
    ``pw`` reads past them.
    """
    if "]" not in text and "|" not in text:
        return Changes(text, (), 0)
    finder = Finder(text, dialect == "a1111", opaque, remark)
    finder.run()
    found = sorted(finder.found, key=lambda change: change.start)
    if found and finder.refused:
        remark("edit-refused", finder.refused_at, finder.refused_at + 1, reason=finder.refused)
        found = []
    if found and dialect == "a1111":
        given_up = groups_given_up(finder.places, finder.owners)
        found = [change for change in found if change.start not in given_up]
    return Changes(text, tuple(found), finder.looked_at)


class Finder:
    """The state of one pass over the brackets; ``strict`` keeps what A1111's choices depend on."""

    def __init__(self, text: str, strict: bool, opaque: Sequence[tuple[int, int]], remark: Remark) -> None:
        self.text = text
        self.strict = strict
        self.opaque = opaque
        self.remark = remark
        self.open: list[OpenBracket] = []
        self.found: list[Change] = []
        self.places: list[int] = []  # of all brackets and colons, where strict
        self.owners: list[Marks | None] = []  # the closed group that each belongs to, where strict
        self.refused = ""
        self.refused_at = -1
        self.looked_at = len(text)

    def run(self) -> None:
        """Go through the marks of the text."""
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
                open_brackets.append(OpenBracket(mark, place, len(self.places) - 1))
            elif mark == ")":
                if open_brackets and open_brackets[-1].bracket == "(":
                    self.close(alternation=False)
                else:
                    self.give_up()
            elif mark == "]":
                self.close_square(place)
            elif mark == ":":
                self.colon(place)
            elif mark == "|":
                self.bar(place)
            elif mark == "\\":
                self.refuse("“\\”", place)
        self.give_up()

    def colon(self, place: int) -> None:
        """A colon separates: once in round brackets, once or twice in square ones that have no bar."""
        if not self.open:
            return
        inner = self.open[-1]
        if inner.bars or len(inner.colons) == (1 if inner.bracket == "(" else 2):
            self.give_up()
        else:
            inner.colons += ((place, len(self.places) - 1),)

    def bar(self, place: int) -> None:
        """A bar separates in square brackets that have no colon."""
        inner = self.open[-1] if self.open else None
        if inner is None or inner.bracket == "(":
            self.stray_bar(place)
        elif inner.colons:
            self.stray_bar(place)
            self.give_up()
        elif inner.bars is None:
            inner.bars = [place]
        else:
            inner.bars.append(place)

    def stray_bar(self, place: int) -> None:
        """A bar that separates nothing."""
        self.refuse("“|”", place)
        self.remark("bar-outside", place, place + 1)

    def close_square(self, place: int) -> None:
        """A square bracket that closes may complete an edit or an alternation."""
        if not self.open or self.open[-1].bracket != "[":
            self.give_up()
            return
        bracket = self.open[-1]
        if bracket.bars:
            self.found.append(Change(ALTERNATION, bracket.place, tuple(bracket.bars), place))
        elif bracket.colons:
            colons = tuple(colon for colon, _ in bracket.colons)
            self.looked_at += place - colons[-1]
            number = SCHEDULE_NUMBER.fullmatch(self.text, colons[-1] + 1, place)
            if number is None:
                if len(colons) == 2:
                    value = self.text[colons[-1] + 1 : place]
                    self.remark("edit-without-step", colons[-1] + 1, place, value=value)
                self.give_up()
                return
            self.found.append(Change(EDIT, bracket.place, colons, place, number[1]))
        self.close(alternation=bool(bracket.bars))

    def close(self, *, alternation: bool) -> None:
        """The innermost bracket is closed by the mark that was just read."""
        bracket = self.open.pop()
        if self.strict:
            indices = [bracket.index, *(index for _, index in bracket.colons), len(self.places) - 1]
            marks = Marks(indices, alternation)
            for index in indices:
                self.owners[index] = marks

    def give_up(self) -> None:
        """What is open now can no longer be balanced: its brackets are text."""
        for bracket in self.open:
            for bar in bracket.bars or ():
                self.stray_bar(bar)
        self.open.clear()

    def refuse(self, reason: str, place: int) -> None:
        """A1111 reads no changes at all in such a text."""
        if self.strict and not self.refused:
            self.refused, self.refused_at = reason, place


@dataclass(slots=True)
class Marks:
    """The brackets and colons of one group, as indices into all marks of the text."""

    indices: list[int]
    fixed: bool  # an alternation: its bars can be nothing else


def groups_given_up(places: list[int], owners: list[Marks | None]) -> set[int]:
    """The opening places of the groups whose marks A1111 reads as text.

    ``places`` are those of all brackets and colons, in order; ``owners`` the closed group that each belongs
    to, None where a mark is bare. ``owners`` is changed: the marks of a group that is given up become bare.
    """
    given_up: set[int] = set()
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
        touching = closers_before(index, places, owners) if run and run_start == place + 1 else []
        length = len(touching) + run
        if touching and length >= 3 and length % 2 == 1:
            for group in touching:
                given_up.add(places[group.indices[0]])
                for mark in group.indices:
                    owners[mark] = None
        else:
            index = owner.indices[0] - 1
            run, run_start = 0, -1
    return given_up


def closers_before(index: int, places: list[int], owners: list[Marks | None]) -> list[Marks]:
    """The groups that close one directly before the other, ending with the mark at ``index``."""
    groups: list[Marks] = []
    place = places[index]
    while index >= 0:
        owner = owners[index]
        if owner is None or owner.fixed or owner.indices[-1] != index or places[index] != place - len(groups):
            break
        groups.append(owner)
        index -= 1
    return groups
