"""Puts a Prompt together in reading order: clean text, spans, breaks, parts, the map back to the source."""

from __future__ import annotations

from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.literals import HEAVIEST
from promptweight.prompt.model import NO_OPTIONS, Embedding, Lora, Options, Part, Prompt, Span, Swap
from promptweight.prompt.source_map import Flow, Run

SPACE = (-1, -1)
"""Stands among the ranges of a span for one space that the source does not have there."""


class Builder:
    """Collects what a reader finds, from left to right."""

    def __init__(self, source: str, dialect: str) -> None:
        self.source = source
        self.dialect = dialect
        self.remarks = Remarks()
        self.texts: list[str] = []
        self.length = 0
        self.spans: list[Span] = []
        self.breaks: list[int] = []
        self.parts: list[Part] = []
        self.runs: list[Run] = []
        self.loras: list[Lora] = []
        self.embeddings: list[Embedding] = []
        self.swaps: list[Swap] = []
        self.scheduled = False
        self.scanned = 0

    def span(
        self,
        flow: Flow,
        ranges: list[tuple[int, int]],
        weight: float,
        options: Options = NO_OPTIONS,
        origin: str = "none",
    ) -> None:
        """Add text: the ranges of a flow, joined; ``SPACE`` among them puts a space."""
        clean_start = self.length
        start = end = -1
        texts = []
        for first, last in ranges:
            if first < 0:
                texts.append(" ")
                self.length += 1
                continue
            texts.append(flow.text[first:last])
            for flow_start, source_start, size in flow.pieces(first, last):
                if start < 0:
                    start = source_start
                end = source_start + size
                self.runs.append((self.length + flow_start - first, source_start, size))
            self.length += last - first
        if self.length == clean_start:
            return
        if abs(weight) >= HEAVIEST:
            self.remarks.add("weight-overflow", max(start, 0), max(end, 0), limit=HEAVIEST)
        text = "".join(texts)
        self.texts.append(text)
        self.spans.append(
            Span(text, weight, max(start, 0), max(end, 0), clean_start, self.length, options, origin)
        )

    def gap(self, place: int) -> None:
        """Add a space that separates two spans in the clean text and belongs to neither."""
        self.texts.append(" ")
        self.spans.append(Span(" ", 1.0, place, place, self.length, self.length + 1, NO_OPTIONS, "gap"))
        self.length += 1

    def joint(self, place: int, end: int, origin: str) -> None:
        """Add the space that stands for a BREAK or between parts; a new chunk begins after it."""
        self.texts.append(" ")
        self.spans.append(Span(" ", 1.0, place, end, self.length, self.length + 1, NO_OPTIONS, origin))
        self.length += 1
        self.breaks.append(self.length)

    def prompt(self) -> Prompt:
        """What was read."""
        return Prompt(
            source=self.source,
            dialect=self.dialect,
            text="".join(self.texts),
            spans=tuple(self.spans),
            breaks=tuple(self.breaks),
            parts=tuple(self.parts),
            loras=tuple(self.loras),
            embeddings=tuple(self.embeddings),
            swaps=tuple(self.swaps),
            diagnostics=self.remarks.done(),
            scheduled=self.scheduled,
            runs=tuple(self.runs),
            scanned=self.scanned,
        )
