"""What reading a prompt yields: weighted spans of clean text, each with its place in the source.

>>> from promptweight.prompt import parse
>>> prompt = parse("um (gato:1.4) vermelho")
>>> prompt.text
'um gato vermelho'
>>> [(span.text, span.weight) for span in prompt.spans]
[('um ', 1.0), ('gato', 1.4), (' vermelho', 1.0)]
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

REGIONS = ("left", "right", "top", "bottom", "center")
MODES = ("embedding", "logit", "p2p", "value", "clip")

BREAK_FRAGMENT = "BREAK"
"""The text of the fragment that stands for a chunk break, as A1111 writes it."""


@dataclass(frozen=True, slots=True)
class Options:
    """How one word's weight acts, beyond its size; ``None`` leaves the choice to the caller.

    ``steps``: (begin, end) as fractions of the sampling run, 0 <= begin < end <= 1.
    ``to``: the weight that is reached at the end of ``steps``, linearly; enclosing weights multiply it.
    ``region``: one of ``REGIONS``, or a box (left, top, right, bottom) in fractions of the picture.
    ``mode``: one of ``MODES``.
    ``share``: the share of all words' attention that the group is to get, 0 < share < 1, whatever weight
    that takes; neighboring spans of one share are one group.
    """

    steps: tuple[float, float] | None = None
    to: float | None = None
    region: str | tuple[float, float, float, float] | None = None
    mode: str | None = None
    share: float | None = None

    def __bool__(self) -> bool:
        given = (self.steps, self.to, self.region, self.mode, self.share)
        return any(option is not None for option in given)

    def __str__(self) -> str:
        """The options as they are written inside the braces: ``steps=0.2-0.8, region=left``."""
        written = []
        if self.steps is not None:
            written.append(f"steps={self.steps[0]:.12g}-{self.steps[1]:.12g}")
        if self.to is not None:
            written.append(f"to={self.to:.12g}")
        if self.region is not None:
            region = (
                self.region
                if isinstance(self.region, str)
                else " ".join(f"{edge:.12g}" for edge in self.region)
            )
            written.append(f"region={region}")
        if self.mode is not None:
            written.append(f"mode={self.mode}")
        if self.share is not None:
            written.append(f"share={percent(self.share)}")
        return ", ".join(written)


def percent(share: float) -> str:
    """A share as it is written in prompts: ``25%``."""
    return f"{100 * share:.12g}%"


NO_OPTIONS = Options()


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of clean text under one weight.

    ``start, end`` are offsets in the source (without the brackets), ``clean_start, clean_end`` in the clean
    text. ``origin`` says where the weight comes from: ``none``, ``round`` ``(x)``, ``square`` ``[x]``,
    ``number`` ``(x:1.2)``, ``plus`` ``x++``, ``minus`` ``x--``; ``break``, ``and`` and ``gap`` mark the
    single space that stands in the clean text where a new chunk or part begins, or between two words that
    compel separates.
    """

    text: str
    weight: float
    start: int
    end: int
    clean_start: int
    clean_end: int
    options: Options = NO_OPTIONS
    origin: str = "none"


@dataclass(frozen=True, slots=True)
class Lora:
    """A ``<lora:name:weight>`` (or ``lyco``, ``hypernet``) tag, lifted out of the text."""

    name: str
    weight: float
    start: int
    end: int
    kind: str = "lora"


@dataclass(frozen=True, slots=True)
class Embedding:
    """The name of a textual inversion, at its place in the source and in the clean text, where it stays."""

    name: str
    start: int
    end: int
    clean_start: int
    clean_end: int


@dataclass(frozen=True, slots=True)
class Part:
    """One of the prompts that ``AND``, or compel's ``.and()`` or ``.blend()``, joins.

    ``text`` is the part's own source, at ``start`` to ``end``; ``clean_start, clean_end`` is its place in
    the clean text of the whole. Parts of one blend carry the same number in ``blend``, which is ``None``
    elsewhere; ``normalize`` tells whether the blend's weights are divided by their sum.
    """

    text: str
    weight: float
    start: int
    end: int
    clean_start: int
    clean_end: int
    blend: int | None = None
    normalize: bool = True


@dataclass(frozen=True, slots=True)
class Swap:
    """compel's ``a.swap(b)``: the clean text keeps a; ``edited`` is b, which takes over its attention."""

    clean_start: int
    clean_end: int
    edited: tuple[tuple[str, float], ...]
    options: tuple[tuple[str, float | str], ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """Something odd in source[start:end]; ``severity`` is ``info``, ``warning`` or ``error``."""

    code: str
    severity: str
    message: str
    message_pt: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Conversion:
    """A prompt rewritten in another dialect, and what was lost, at its place in the old source."""

    text: str
    losses: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True)
class Prompt:
    """A prompt that has been read.

    ``text`` is what a text encoder gets. ``spans`` cover it completely, in order, without overlap.
    ``breaks`` are the offsets in it at which a new chunk begins. ``runs`` are ``(clean_start, source_start,
    length)`` of every stretch that was copied from the source as it stands. ``scheduled`` tells that the
    text changes during sampling (``promptweight.schedule``); ``text`` is then the one of the first step.
    ``scanned`` counts the characters that the scanner looked at, looking ahead included.

    ``str(prompt)`` writes the prompt again, every weight in a bracket of its own and mistakes put right;
    reading that gives the same prompt. For ``compel`` and ``plain`` it is the source.
    """

    source: str
    dialect: str
    text: str
    spans: tuple[Span, ...]
    breaks: tuple[int, ...] = ()
    parts: tuple[Part, ...] = ()
    loras: tuple[Lora, ...] = ()
    embeddings: tuple[Embedding, ...] = ()
    swaps: tuple[Swap, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    scheduled: bool = False
    runs: tuple[tuple[int, int, int], ...] = field(default=(), repr=False)
    scanned: int = field(default=0, repr=False, compare=False)

    def __str__(self) -> str:
        from promptweight.prompt.conversion import normal_form

        return normal_form(self)

    @cached_property
    def fragments(self) -> list[tuple[str, float]]:
        """The (text, weight) pairs in canonical form.

        No empty text, neighbors of equal weight (to six decimals) joined, and ``("BREAK", -1.0)`` wherever
        a new chunk begins. For the ``a1111`` dialect these are the fragments that A1111's own weight parser
        finds in the source as it stands, with ``AND``, tags, comments and prompt editing still unread.
        """
        if self.dialect == "a1111":
            from promptweight.prompt.dialects.a1111_weights import a1111_fragments

            return a1111_fragments(self.source)
        return canonical(span_pieces(self.spans))

    def part_fragments(self, part: Part) -> list[tuple[str, float]]:
        """The canonical fragments of one of ``parts``."""
        inside = (span for span in self.spans if part.clean_start <= span.clean_start < part.clean_end)
        return canonical(span_pieces(inside))

    @property
    def weighted(self) -> bool:
        """Whether any weight differs from 1."""
        return any(span.weight != 1.0 or span.options for span in self.spans)

    def to_source(self, clean_offset: int) -> int:
        """The source offset of the character at ``clean_offset`` of the clean text."""
        index = bisect_right(self.runs, (clean_offset, len(self.source) + 1, 0)) - 1
        if index < 0:
            return 0
        clean_start, source_start, length = self.runs[index]
        return source_start + min(clean_offset - clean_start, length)


def same_weight(one: float, other: float) -> bool:
    """Whether two weights agree to the six decimals of the canonical form."""
    return round(one, 6) == round(other, 6)


def canonical(pieces: Iterable[tuple[str, str, float]]) -> list[tuple[str, float]]:
    """(text, weight) pairs of ``(kind, text, weight)`` pieces, in canonical form.

    Kinds: ``text``; ``break``, which becomes a BREAK fragment; ``gap``, which keeps its neighbors apart.
    """
    fragments: list[tuple[str, float]] = []
    pending: list[str] = []
    pending_weight = 1.0
    for kind, text, weight in [*pieces, ("gap", "", 1.0)]:
        if pending and not (kind == "text" and (not text or same_weight(weight, pending_weight))):
            fragments.append(("".join(pending), pending_weight))
            pending = []
        if kind == "break":
            fragments.append((BREAK_FRAGMENT, weight))
        elif kind == "text" and text:
            if not pending:
                pending_weight = weight
            pending.append(text)
    return fragments


def span_pieces(spans: Iterable[Span]) -> Iterator[tuple[str, str, float]]:
    """Spans as the pieces that ``canonical`` takes."""
    for span in spans:
        if span.origin == "break":
            yield "break", "", -1.0
        else:
            yield ("gap" if span.origin in ("and", "gap") else "text"), span.text, span.weight
