"""Prompt editing and alternation: which brackets change the text during sampling, and the text at each step.

``[from:to:when]``, ``[to:when]``, ``[from::when]`` and ``[a|b|…]`` as A1111 reads them. One pass over the brackets
with a stack finds them all; one pass over their marks gives the text of a step. Nesting is free.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from promptweight.prompt.numbers import SCHEDULE_NUMBER
from promptweight.prompt.unbalanced import Marks, groups_given_up

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

        A number with a point is a fraction of ``steps``, any other counts steps. In a second pass, whose first
        pass had ``first_pass_steps``, counting goes on where the first ended. ``old``: below 1 is a fraction.
        """
        value = float(self.when)
        if old:
            value = value * steps if value < 1 else value
        elif "." in self.when:
            value = (value - (0.0 if first_pass_steps is None else 1.0)) * steps
        else:
            value -= first_pass_steps or 0
        return int(max(-1.0, min(float(steps), value)))


@dataclass(slots=True)
class OpenBracket:
    """A bracket that may still become an edit or an alternation."""

    bracket: str
    place: int
    marks: Marks
    colons: list[int] = field(default_factory=list)
    bars: list[int] = field(default_factory=list)


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
        # Each mark ends the range before it: (place, levels entered or left, whether its own level is in force after).
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

    A bracket counts only when everything inside it is balanced. For ``a1111`` a bar outside of an alternation, or
    a backslash with nothing to escape, makes the whole text unchanging, as it does there; ``pw`` reads past them.
    """
    finder = Finder(text, dialect, opaque, remark)
    finder.run()
    found = sorted(finder.found, key=lambda change: change.start)
    if finder.refused and found:
        remark("edit-refused", finder.refused_at, finder.refused_at + 1, reason=finder.refused)
    if dialect == "a1111" and not finder.refused:
        given_up = groups_given_up(finder.places, finder.owners)
        found = [change for change in found if change.start not in given_up]
    return Changes(text, () if finder.refused else tuple(found), finder.looked_at)


class Finder:
    """The state of one pass over the brackets."""

    def __init__(self, text: str, dialect: str, opaque: Sequence[tuple[int, int]], remark: Remark) -> None:
        self.text = text
        self.strict = dialect == "a1111"
        self.opaque = opaque
        self.remark = remark
        self.open: list[OpenBracket] = []
        self.found: list[Change] = []
        self.places: list[int] = []  # of all brackets and colons
        self.owners: list[Marks | None] = []  # the closed group that each belongs to
        self.refused = ""
        self.refused_at = -1
        self.looked_at = len(text)

    def run(self) -> None:
        """Go through the marks of the text."""
        hole = 0
        for match in MARK.finditer(self.text):
            place = match.start()
            while hole < len(self.opaque) and self.opaque[hole][1] <= place:
                hole += 1
            if hole < len(self.opaque) and self.opaque[hole][0] <= place:
                continue
            mark = match[0]
            if mark in "()[]:":
                self.places.append(place)
                self.owners.append(None)
            if mark == "\\":
                self.refuse("“\\”", place)
            elif mark in "([":
                self.open.append(OpenBracket(mark, place, Marks([len(self.places) - 1])))
            elif mark == ":":
                self.colon(place)
            elif mark == "|":
                self.bar(place)
            elif mark == ")":
                if self.open and self.open[-1].bracket == "(":
                    self.close()
                else:
                    self.give_up()
            elif mark == "]":
                self.close_square(place)
        self.give_up()

    def colon(self, place: int) -> None:
        """A colon separates: once in round brackets, once or twice in square ones that have no bar."""
        if not self.open:
            return
        inner = self.open[-1]
        if inner.bars or len(inner.colons) == (1 if inner.bracket == "(" else 2):
            self.give_up()
        else:
            inner.colons.append(place)
            inner.marks.indices.append(len(self.places) - 1)

    def bar(self, place: int) -> None:
        """A bar separates in square brackets that have no colon."""
        if self.open and self.open[-1].bracket == "[":
            if self.open[-1].colons:
                self.refuse("“|”", place)
                self.give_up()
            else:
                self.open[-1].bars.append(place)
        else:
            self.refuse("“|”", place)
            self.remark("bar-outside", place, place + 1)

    def close_square(self, place: int) -> None:
        """A square bracket that closes may complete an edit or an alternation."""
        if not self.open or self.open[-1].bracket != "[":
            self.give_up()
            return
        bracket = self.open[-1]
        if bracket.bars:
            bracket.marks.fixed = True
            self.found.append(Change(ALTERNATION, bracket.place, tuple(bracket.bars), place))
        elif bracket.colons:
            self.looked_at += place - bracket.colons[-1]
            number = SCHEDULE_NUMBER.fullmatch(self.text, bracket.colons[-1] + 1, place)
            if number is None:
                if len(bracket.colons) == 2:
                    value = self.text[bracket.colons[-1] + 1 : place]
                    self.remark("edit-without-step", bracket.colons[-1] + 1, place, value=value)
                self.give_up()
                return
            self.found.append(Change(EDIT, bracket.place, tuple(bracket.colons), place, number[1]))
        self.close()

    def close(self) -> None:
        """The innermost bracket is closed by the mark that was just read."""
        marks = self.open.pop().marks
        marks.indices.append(len(self.places) - 1)
        for index in marks.indices:
            self.owners[index] = marks

    def give_up(self) -> None:
        """What is open now can no longer be balanced: its brackets are text."""
        for bracket in self.open:
            for bar in bracket.bars:
                self.refuse("“|”", bar)
                self.remark("bar-outside", bar, bar + 1)
        self.open.clear()

    def refuse(self, reason: str, place: int) -> None:
        """A1111 reads no changes at all in such a text."""
        if self.strict and not self.refused:
            self.refused, self.refused_at = reason, place
