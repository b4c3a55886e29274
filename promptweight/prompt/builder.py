"""Builder of a `Prompt` in reading order: clean text, spans, breaks, parts and the map to the source."""

from __future__ import annotations

from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.literals import MAX_WEIGHT
from promptweight.prompt.model import NO_OPTIONS, Options, Part, Span, Swap
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

    def add_span(
        self,
        mapped: MappedText,
        ranges: list[tuple[int, int]],
        weight: float,
        options: Options = NO_OPTIONS,
        origin: str = "none",
    ) -> None:
        """Add the joined ranges of a text; `SPACE` among them adds a space."""
        clean_start = length = self.length
        start = end = -1
        texts = []
        is_source = len(mapped.runs) == 1 and mapped.runs[0][:2] == (0, 0)
        for first, last in ranges:
            if first < 0:
                texts.append(" ")
                length += 1
                continue
            texts.append(mapped.text[first:last])
            if is_source:
                if first < last:
                    if start < 0:
                        start = first
                    end = last
                    self.runs.append((length, first, last - first))
                    length += last - first
                continue
            for text_start, source_start, size in mapped.runs_in(first, last):
                if start < 0:
                    start = source_start
                end = source_start + size
                self.runs.append((length + text_start - first, source_start, size))
            length += last - first
        if length == clean_start:
            return
        self.length = length
        if start < 0:
            start = end = 0
        if abs(weight) >= MAX_WEIGHT:
            self.remarks.add("weight-overflow", start, end, limit=MAX_WEIGHT)
        text = texts[0] if len(texts) == 1 else "".join(texts)
        self.texts.append(text)
        self.spans.append(Span(text, weight, start, end, clean_start, length, options, origin))

    def add_gap(self, place: int) -> None:
        """Add a space that separates two spans in the clean text and belongs to neither."""
        self._add_space(place, place, "gap")

    def add_joint(self, place: int, end: int, origin: str) -> None:
        """Add the space of a BREAK or between parts; a new chunk begins after it."""
        self._add_space(place, end, origin)
        self.breaks.append(self.length)

    def _add_space(self, place: int, end: int, origin: str) -> None:
        """Add a single space with a span of its own."""
        self.texts.append(" ")
        self.spans.append(Span(" ", 1.0, place, end, self.length, self.length + 1, NO_OPTIONS, origin))
        self.length += 1
