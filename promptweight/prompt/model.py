"""Data classes of a parsed prompt: weighted spans of clean text, each with its offsets in the source.

>>> from promptweight.prompt import parse
>>> prompt = parse("um (gato:1.4) vermelho").at()
>>> prompt.text
'um gato vermelho'
>>> [(span.text, span.weight) for span in prompt.spans]
[('um ', 1.0), ('gato', 1.4), (' vermelho', 1.0)]
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from promptweight.prompt.step_curve import StepCurve, changes_weight, format_step_curve
from promptweight.weighting import WordWeighting

REGIONS = ("left", "right", "top", "bottom", "center")

LoraCurve = tuple[tuple[float, float], ...]
"""Points (position, weight) by position, linear between them and constant outside.

Positions are fractions of the run if the last one is at most 1, and steps, from 0, otherwise."""

BREAK_KEYWORD = "BREAK"
"""The keyword of A1111 that begins a new chunk, and the text of its fragment."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of one weight, beyond its size; `None` leaves the choice to the caller.

    Attributes:
        steps: a curve over the sampling run that multiplies the weight; it acts between the first and the
            last point.
        layers: parts of the names of the attention layers in which the weight acts.
        region: one of `REGIONS`, or a box (left, top, right, bottom) in fractions of the image.
        weighting: one of `promptweight.weighting.WORD_WEIGHTINGS`.
        share: the share of all words' attention that the group gets, 0 < share < 1, by whatever weight that
            takes; neighboring spans with one share form one group.
    """

    steps: StepCurve | None = None
    layers: tuple[str, ...] | None = None
    region: str | tuple[float, float, float, float] | None = None
    weighting: WordWeighting | None = None
    share: float | None = None

    def __bool__(self) -> bool:
        given = (self.steps, self.layers, self.region, self.weighting, self.share)
        return any(option is not None for option in given)

    @property
    def is_local(self) -> bool:
        """True if the weight is limited to steps, layers or a region, or changes over the steps."""
        return self.steps is not None or self.layers is not None or self.region is not None

    def __str__(self) -> str:
        """Return the options in the syntax of the braces: `steps=0.2-0.8, region=left`."""
        written = []
        if self.steps is not None:
            written.append(f"steps={format_step_curve(self.steps)}")
        if self.layers is not None:
            written.append(f"layers={'+'.join(self.layers)}")
        if self.region is not None:
            region = (
                self.region
                if isinstance(self.region, str)
                else " ".join(f"{edge:.12g}" for edge in self.region)
            )
            written.append(f"region={region}")
        if self.weighting is not None:
            written.append(f"weighting={self.weighting}")
        if self.share is not None:
            written.append(f"share={format_share(self.share)}")
        return ", ".join(written)


def format_share(share: float) -> str:
    """Return a share in the syntax of prompts: `25%`."""
    return f"{100 * share:.12g}%"


NO_OPTIONS = Options()


class Span(NamedTuple):
    """A range of clean text under one weight.

    Attributes:
        start, end: offsets in the source, without the brackets.
        clean_start, clean_end: offsets in the clean text.
        origin: the syntax that gives the weight: `none`, `round` `(x)`, `square` `[x]`, `number` `(x:1.2)`,
            `plus` `x++`, `minus` `x--`, `curly` `{x}`, `colons` `1.2::x::`. `break`, `and` and `gap` mark the
            single space that the clean text has where a new chunk or part begins, or between two words that
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

    @property
    def is_weighted(self) -> bool:
        """True if the weight differs from 1 at any step."""
        steps = self.options.steps
        return self.weight != 1 or (steps is not None and changes_weight(steps))


@dataclass(frozen=True, slots=True)
class Lora:
    """A network tag, `<lora:name:weight>` (or `lyco`, `hypernet`), which is not part of the text.

    Attributes:
        name: the name of the file, which may have folders.
        weight: the weight in the denoiser, at the first step if it changes.
        start, end: offsets in the source.
        kind: `lora`, `lyco` or `hypernet`.
        text_encoder_weight: the weight in the text encoders; None if it is the same.
        curve: the weight in the denoiser by step; empty if it is constant.
    """

    name: str
    weight: float
    start: int
    end: int
    kind: str = "lora"
    text_encoder_weight: float | None = None
    curve: LoraCurve = ()


@dataclass(frozen=True, slots=True)
class Embedding:
    """The name of a textual inversion, with its offsets in the source and in the clean text."""

    name: str
    start: int
    end: int
    clean_start: int
    clean_end: int


class Part(NamedTuple):
    """One of the prompts that `AND`, or compel's `.and()` or `.blend()`, joins.

    Attributes:
        text: the part's own source, at `start` to `end`.
        weight: the weight of the part as a whole.
        clean_start, clean_end: offsets in the clean text of the whole prompt.
        blend: the same number for all parts of one blend; `None` elsewhere.
        normalize: whether the blend's weights are divided by their sum.
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
    """compel's `a.swap(b)`: the clean text has a; `edited` is b, which takes over the attention of a."""

    clean_start: int
    clean_end: int
    edited: tuple[tuple[str, float], ...]
    options: tuple[tuple[str, float | str], ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A remark on source[start:end]; `severity` is `info`, `warning` or `error`."""

    code: str
    severity: str
    message: str
    message_pt: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Conversion:
    """A prompt rewritten in another dialect; `losses` have their offsets in the old source."""

    text: str
    losses: tuple[Diagnostic, ...] = ()


class PromptSource(Protocol):
    """The parse tree that a prompt was made from; see `promptweight.prompt.tree.ParseTree`."""

    def at(self, step: int = 1, steps: int | None = None) -> Prompt:
        """Return the prompt at one step of a run."""

    def last_steps(self, steps: int) -> list[int]:
        """Return the steps after which the text may change, and the last step."""

    def branches_at(self, step: int, steps: int) -> tuple[int | None, ...]:
        """Return the index of the branch in force at a step of every edit and alternation."""


@dataclass(frozen=True)
class Prompt:
    """A prompt at one step: the flat weighted spans that a text encoder gets.

    Attributes:
        source: the prompt as the user wrote it.
        dialect: the dialect of the source.
        text: the clean text that a text encoder gets.
        spans: the weighted spans; they cover `text` completely, in order, without overlap.
        breaks: offsets in `text` at which a new chunk begins.
        parts: the prompts that `AND` or compel joins; one where nothing is joined.
        loras: the network tags.
        embeddings: the names of textual inversions.
        swaps: the replacements of compel's `.swap()`.
        diagnostics: remarks on the source.
        scheduled: whether the text changes during sampling; `text` is then that of one step.
        runs: (clean_start, source_start, length) of every range that is copied from the source unchanged.
        tree: the parse tree that the prompt was made from, which gives its other steps.
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
    tree: PromptSource | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        """Return the source; `write` returns the text with mistakes corrected."""
        return self.source

    @property
    def weighted(self) -> bool:
        """True if any span has a weight other than 1, or options."""
        return any(span.weight != 1.0 or span.options for span in self.spans)

    def to_source(self, clean_offset: int) -> int:
        """Return the source offset of the character at `clean_offset` of the clean text."""
        index = bisect_right(self.runs, (clean_offset, len(self.source) + 1, 0)) - 1
        if index < 0:
            return 0
        clean_start, source_start, length = self.runs[index]
        return source_start + min(clean_offset - clean_start, length)
