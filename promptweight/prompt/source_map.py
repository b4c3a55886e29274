"""Text cut out of a source, with a map from its offsets back to the source."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from operator import itemgetter
from typing import NamedTuple

Run = tuple[int, int, int]
"""(start in the text, start in the source, length) of a range that is copied unchanged."""


class MappedText(NamedTuple):
    """A text with the source offsets of its characters; `runs` are in order."""

    text: str
    runs: tuple[Run, ...]

    @property
    def is_source(self) -> bool:
        """True if the offsets are those of the source."""
        return len(self.runs) == 1 and self.runs[0][:2] == (0, 0)

    @classmethod
    def whole(cls, source: str) -> MappedText:
        """Return the source itself."""
        return cls(source, ((0, 0, len(source)),))

    def select(self, ranges: Iterable[tuple[int, int]]) -> MappedText:
        """Return the text of `ranges` (in order, not overlapping) alone."""
        texts: list[str] = []
        runs: list[Run] = []
        length = 0
        for start, end in ranges:
            if start < end:
                texts.append(self.text[start:end])
                for text_start, source_start, size in self.runs_in(start, end):
                    runs.append((length + text_start - start, source_start, size))
                length += end - start
        return MappedText("".join(texts), tuple(runs))

    def source_start(self, offset: int) -> int:
        """Return the source offset of the character at `offset` (of the text's end, for the end)."""
        if not self.runs:
            return 0
        text_start, source_start, length = self.runs[self._run_at(offset)]
        return source_start + min(offset - text_start, length)

    def source_end(self, offset: int) -> int:
        """Return the source offset after the character before `offset`, before anything cut out there."""
        return self.source_start(offset - 1) + 1 if offset > 0 else self.source_start(0)

    def runs_in(self, start: int, end: int) -> list[Run]:
        """Return the runs of text[start:end]; inserted characters are in no run."""
        if len(self.runs) == 1:
            text_start, source_start, length = self.runs[0]
            if text_start <= start < end <= text_start + length:
                return [(start, source_start + start - text_start, end - start)]
        found: list[Run] = []
        for index in range(self._run_at(start), len(self.runs)):
            text_start, source_start, length = self.runs[index]
            if text_start >= end:
                break
            first = start if start > text_start else text_start
            last = end if end < text_start + length else text_start + length
            if first < last:
                found.append((first, source_start + first - text_start, last - first))
        return found

    def _run_at(self, offset: int) -> int:
        """Return the index of the run with `offset`."""
        if len(self.runs) == 1:
            return 0
        return max(0, bisect_right(self.runs, offset, key=itemgetter(0)) - 1)
