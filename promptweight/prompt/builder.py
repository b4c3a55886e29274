"""Builder of a `Prompt` in reading order: clean text, spans, breaks, parts and the map to the source."""

from __future__ import annotations

from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.literals import MAX_WEIGHT
from promptweight.prompt.model import NO_OPTIONS, Options, Part, Span, Swap
from promptweight.prompt.nodes import new_node
from promptweight.prompt.source_map import MappedText, Run

SPACE = (-1, -1)
"""Stands among the ranges of a span for one space that the source does not have there."""


class PromptBuilder:
    """The spans of a prompt, added from left to right."""

    def __init__(self) -> None:
        self.remarks = Remarks()
        self.texts: list[str] = []
        self.length = 0
        self.spans: list[Span] = []
        self.breaks: list[int] = []
        self.parts: list[Part] = []
        self.runs: list[Run] = []
        self.swaps: list[Swap] = []
        self._mapped: MappedText | None = None  # the text of the last span
        self._is_source = False

    def add_span(
        self,
        mapped: MappedText,
        ranges: list[tuple[int, int]],
        weight: float,
        options: Options = NO_OPTIONS,
        origin: str = "none",
    ) -> None:
        """Add the joined ranges of a text; `SPACE` among them adds a space."""
        if mapped is not self._mapped:
            self._mapped, self._is_source = mapped, mapped.is_source
        if self._is_source and len(ranges) == 1:
            start, end = ranges[0]
            text = mapped.text[start:end]
            if start < end:
                self.runs.append((self.length, start, end - start))
        else:
            text, start, end = self._copy_ranges(mapped, ranges)
        if not text:
            return
        if not -MAX_WEIGHT < weight < MAX_WEIGHT:
            self.remarks.add("weight-overflow", start, end, limit=MAX_WEIGHT)
        clean_start = self.length
        self.length = clean_end = clean_start + len(text)
        self.texts.append(text)
        values = (text, weight, start, end, clean_start, clean_end, options, origin)
        self.spans.append(new_node(Span, values))

    def _copy_ranges(self, mapped: MappedText, ranges: list[tuple[int, int]]) -> tuple[str, int, int]:
        """Return the joined text of ranges with its start and end in the source; note its runs."""
        length = self.length
        start = end = 0
        is_first = True
        texts = []
        for first, last in ranges:
            if first < 0:
                texts.append(" ")
                length += 1
                continue
            texts.append(mapped.text[first:last])
            for text_start, source_start, size in mapped.runs_in(first, last):
                if is_first:
                    start, is_first = source_start, False
                end = source_start + size
                self.runs.append((length + text_start - first, source_start, size))
            length += last - first
        return "".join(texts), start, end

    def add_gap(self, offset: int) -> None:
        """Add a space that separates two spans in the clean text and belongs to neither."""
        self._add_space(offset, offset, "gap")

    def add_joint(self, offset: int, end: int, origin: str) -> None:
        """Add the space of a BREAK or between parts; a new chunk begins after it."""
        self._add_space(offset, end, origin)
        self.breaks.append(self.length)

    def _add_space(self, offset: int, end: int, origin: str) -> None:
        """Add a single space with a span of its own."""
        self.texts.append(" ")
        self.spans.append(Span(" ", 1.0, offset, end, self.length, self.length + 1, NO_OPTIONS, origin))
        self.length += 1
