"""Text that was cut out of a source, piece by piece, and still knows where every character came from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter

Run = tuple[int, int, int]
"""(start in the flow, start in the source, length): a stretch copied as it stands."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A text with the source place of its characters; ``runs`` are in order."""

    text: str
    runs: tuple[Run, ...]

    @classmethod
    def whole(cls, source: str) -> Flow:
        """The source itself."""
        return cls(source, ((0, 0, len(source)),))

    def keep(self, ranges: Iterable[tuple[int, int]]) -> Flow:
        """The text of ``ranges`` (in order, not overlapping) alone."""
        texts: list[str] = []
        runs: list[Run] = []
        length = 0
        for start, end in ranges:
            if start < end:
                texts.append(self.text[start:end])
                for flow_start, source_start, size in self.pieces(start, end):
                    runs.append((length + flow_start - start, source_start, size))
                length += end - start
        return Flow("".join(texts), tuple(runs))

    def place(self, offset: int) -> int:
        """The source offset of the character at ``offset`` (of the text's end, for the end)."""
        if not self.runs:
            return 0
        flow_start, source_start, length = self.runs[self.run_at(offset)]
        return source_start + min(offset - flow_start, length)

    def place_after(self, offset: int) -> int:
        """The source offset after the character before ``offset``: short of a hole that was cut there."""
        return self.place(offset - 1) + 1 if offset > 0 else self.place(0)

    def run_at(self, offset: int) -> int:
        """The index of the run that holds ``offset``."""
        if len(self.runs) == 1:
            return 0
        return max(0, bisect_right(self.runs, offset, key=itemgetter(0)) - 1)

    def pieces(self, start: int, end: int) -> list[Run]:
        """The runs of flow[start:end]; what no run covers was put in and has no place in the source."""
        found: list[Run] = []
        for index in range(self.run_at(start), len(self.runs)):
            flow_start, source_start, length = self.runs[index]
            if flow_start >= end:
                break
            first = start if start > flow_start else flow_start
            last = end if end < flow_start + length else flow_start + length
            if first < last:
                found.append((first, source_start + first - flow_start, last - first))
        return found
