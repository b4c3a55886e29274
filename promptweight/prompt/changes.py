"""Edits and alternations of a text as ranges, and the text of a step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from promptweight.prompt.nodes import last_step_before


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
        """True if the branches take turns."""
        return not self.when


@dataclass(frozen=True, slots=True)
class Changes:
    """All changes of a text, in the order of their openings; `scanned` counts the characters read."""

    text: str
    items: tuple[Change, ...]
    scanned: int

    def last_steps(self, steps: int, first_pass_steps: int | None = None, old: bool = False) -> list[int]:
        """Return the steps after which the text may change, and the last step."""
        ends = {steps}
        for change in self.items:
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
        for change in self.items:
            if change.is_alternation:
                chosen = (step - 1) % (len(change.separators) + 1)
            else:
                is_before = step <= last_step_before(change.when, steps, first_pass_steps, old)
                count = len(change.separators)  # one: [to:when]; two: [from:to:when]
                chosen = (0 if count == 2 else -1) if is_before else count - 1
            marks.append((change.start, 1, chosen == 0))
            marks.extend((offset, 0, chosen == branch) for branch, offset in enumerate(change.separators, 1))
            marks.append((change.stop, -1, True))
        marks.sort()
        ranges: list[tuple[int, int]] = []
        in_force = [True]
        hidden = offset = 0
        for mark, levels, is_shown in marks:
            if not hidden and offset < mark:
                ranges.append((offset, mark))
            if levels <= 0:
                hidden -= not in_force.pop()
            if levels >= 0:
                in_force.append(is_shown)
                hidden += not is_shown
            offset = mark + 1
        if offset < len(self.text):
            ranges.append((offset, len(self.text)))
        return ranges

    def text_at(self, step: int, steps: int, first_pass_steps: int | None = None, old: bool = False) -> str:
        """Return the text in force at `step`."""
        ranges = self.ranges_at(step, steps, first_pass_steps, old)
        return "".join(self.text[start:end] for start, end in ranges)

    def marks(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield (start, end, index of the change, branch that begins) of every mark, not in order.

        The branch is one past the last for the mark that closes a change.
        """
        for index, change in enumerate(self.items):
            yield change.start, change.start + 1, index, 0
            *separators, last = change.separators
            for branch, separator in enumerate(separators, 1):
                yield separator, separator + 1, index, branch
            if change.is_alternation:
                yield last, last + 1, index, len(change.separators)
                yield change.stop, change.stop + 1, index, len(change.separators) + 1
            else:
                yield last, change.stop + 1, index, len(change.separators)
