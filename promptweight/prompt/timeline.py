"""Variants of a prompt during sampling: its texts, the steps of each, and those that AND joins.

>>> from promptweight.prompt import parse
>>> timeline = parse("um [gato:peixe:0.5] vermelho AND um fundo azul:0.5").timeline(steps=4)
>>> [variant.text for variant in timeline.variants]
['um gato vermelho', 'um fundo azul', 'um peixe vermelho']
>>> timeline.steps
(((0, 1.0), (1, 0.5)), ((0, 1.0), (1, 0.5)), ((2, 1.0), (1, 0.5)), ((2, 1.0), (1, 0.5)))
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.prompt.model import Part, Prompt, Span
from promptweight.prompt.textual_inversion import note_embeddings

StepVariants = tuple[tuple[int, float], ...]
"""The variants of one step with their weights; more than one where AND joins them."""

FIRST_VARIANT: StepVariants = ((0, 1.0),)
"""The first variant by itself."""

COMPOSING_DIALECTS = ("pw", "a1111")
"""Dialects whose parts the model gets separately; compel's are joined before the model."""


@dataclass(frozen=True)
class PromptTimeline:
    """The variants of a prompt, and the variants of each step.

    Attributes:
        variants: the distinct texts, each a prompt of its own whose spans keep their offsets in the whole
            source, in the order of their first step.
        steps: the variants of each step; the last entry holds for all steps beyond.
    """

    variants: tuple[Prompt, ...]
    steps: tuple[StepVariants, ...]

    def at(self, step: int) -> StepVariants:
        """Return the variants of a step, counted from 0."""
        return self.steps[min(step, len(self.steps) - 1)]

    @property
    def is_plain(self) -> bool:
        """True if every step has the first variant by itself."""
        return set(self.steps) == {FIRST_VARIANT}

    @property
    def changes(self) -> bool:
        """True if the variants differ from step to step."""
        return len(set(self.steps)) > 1


def make_timeline(prompt: Prompt, steps: int | None = None) -> PromptTimeline:
    """Return the variants of a prompt in a run of `steps`, from its parse tree.

    Without `steps`, a prompt that changes keeps the text of its first step. A prompt that neither changes nor
    has parts is its own and only variant. `pw` changes the text after the step that the prompt names;
    `a1111` does so one step later, as A1111's sampling does.

    Raises:
        SettingError: if `steps` is below 1.
    """
    if steps is not None and steps < 1:
        raise SettingError(message("count-minimum", name="steps", count=steps))
    if not prompt.scheduled and len(prompt.parts) < 2:
        return PromptTimeline((prompt,), (FIRST_VARIANT,) * (steps or 1))
    numbers: dict[object, int] = {}
    variants: list[Prompt] = []
    of_steps: dict[int, StepVariants] = {}
    for stage, stage_steps in _stages(prompt, steps):
        of_stage = []
        for variant, weight in _split_parts(stage):
            content = (variant.text, variant.spans, variant.breaks)
            if content not in numbers:
                numbers[content] = len(variants)
                variants.append(variant)
            of_stage.append((numbers[content], weight))
        of_steps |= dict.fromkeys(stage_steps, tuple(of_stage))
    return PromptTimeline(tuple(variants), tuple(of_steps[step] for step in range(steps or 1)))


def _stages(prompt: Prompt, steps: int | None) -> Iterator[tuple[Prompt, Iterable[int]]]:
    """Yield the prompt of every choice of branches with its steps, counted from 0, by the first of them."""
    tree = prompt.tree
    if steps is None or not prompt.scheduled or tree is None:
        yield prompt, range(steps or 1)
        return
    of_branches: dict[object, tuple[int, list[int]]] = {}
    first = 0
    for last in tree.last_steps(steps):
        _, found = of_branches.setdefault(tree.branches_at(last, steps), (last, []))
        found += _steps_between(first, last, steps) if prompt.dialect == "a1111" else range(first, last)
        first = last
    names = [embedding.name for embedding in prompt.embeddings]
    for last, stage_steps in of_branches.values():
        if stage_steps:
            stage = tree.at(last, steps)
            yield replace(note_embeddings(stage, names), scheduled=False), stage_steps


def _steps_between(first: int, last: int, steps: int) -> range:
    """Return the steps, from 0, at which A1111 has the text of its steps `first` + 1 to `last`.

    A1111 takes the first text whose last step is not below the number of the step, which it counts from 0
    (`reconstruct_cond_batch`): the first text has one step more than its number says.
    """
    return range(first + 1 if first else 0, min(last + 1, steps))


def _split_parts(prompt: Prompt) -> Iterator[tuple[Prompt, float]]:
    """Yield the parts of a prompt that the model gets separately, with their weights."""
    if len(prompt.parts) < 2 or prompt.dialect not in COMPOSING_DIALECTS:
        yield prompt, 1.0
        return
    for part in prompt.parts:
        yield part_prompt(prompt, part), part.weight


def part_prompt(prompt: Prompt, part: Part) -> Prompt:
    """Return one part of a prompt as a prompt of its own, with its offsets in the whole source."""
    start, end = part.clean_start, part.clean_end
    first = bisect_left(prompt.spans, start, key=_clean_start)
    last = bisect_left(prompt.spans, end, first, key=_clean_start)
    first_run = bisect_left(prompt.runs, (start,))
    last_run = bisect_left(prompt.runs, (end,), first_run)
    return replace(
        prompt,
        text=prompt.text[start:end],
        spans=tuple(
            span._replace(clean_start=span.clean_start - start, clean_end=span.clean_end - start)
            for span in prompt.spans[first:last]
        ),
        breaks=tuple(
            offset - start
            for offset in prompt.breaks[bisect_right(prompt.breaks, start) : bisect_right(prompt.breaks, end)]
        ),
        parts=(),
        swaps=tuple(
            replace(swap, clean_start=swap.clean_start - start, clean_end=swap.clean_end - start)
            for swap in prompt.swaps
            if start <= swap.clean_start < end
        ),
        embeddings=tuple(
            replace(name, clean_start=name.clean_start - start, clean_end=name.clean_end - start)
            for name in prompt.embeddings
            if start <= name.clean_start < end
        ),
        runs=tuple(
            (clean_start - start, source_start, length)
            for clean_start, source_start, length in prompt.runs[first_run:last_run]
        ),
    )


def _clean_start(span: Span) -> int:
    """Return the key that spans are sorted by."""
    return span.clean_start
