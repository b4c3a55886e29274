"""What a prompt says at every step of a run: its texts, when each is said, and which are joined by AND.

>>> from promptweight.prompt import parse
>>> script = script_of(parse("um [gato:peixe:0.5] vermelho AND um fundo azul:0.5"), steps=4)
>>> [variant.text for variant in script.variants]
['um gato vermelho', 'um fundo azul', 'um peixe vermelho']
>>> script.turns
(((0, 1.0), (1, 0.5)), ((0, 1.0), (1, 0.5)), ((2, 1.0), (1, 0.5)), ((2, 1.0), (1, 0.5)))
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from promptweight.errors import SettingError
from promptweight.prompt.dialects.a1111 import last_steps, read
from promptweight.prompt.dialects.tags_and_comments import opaque_ranges
from promptweight.prompt.model import Part, Prompt
from promptweight.prompt.parser import check_dialect
from promptweight.prompt.prompt_editing import find_changes

Turn = tuple[tuple[int, float], ...]
"""The variants that are said at one step, each with its weight; more than one where AND joins them."""

ALONE: Turn = ((0, 1.0),)
"""The first variant by itself."""

COMPOSING = ("pw", "a1111")
"""The dialects whose parts are joined after the model has seen each; compel's are joined before."""


@dataclass(frozen=True)
class Script:
    """The texts of a prompt, and when each is said.

    ``variants`` are the different texts, each a prompt of its own whose spans keep their places in the whole
    source, in the order in which they are first said. ``turns`` hold what is said at each step; the last one
    is kept to for any step beyond.
    """

    variants: tuple[Prompt, ...]
    turns: tuple[Turn, ...]

    def at(self, step: int) -> Turn:
        """What is said at a step, counted from 0."""
        return self.turns[min(step, len(self.turns) - 1)]

    @property
    def is_plain(self) -> bool:
        """Whether one text is said at every step, by itself."""
        return set(self.turns) == {ALONE}

    @property
    def changes(self) -> bool:
        """Whether what is said is not the same at every step."""
        return len(set(self.turns)) > 1


def script_of(prompt: Prompt, steps: int | None = None) -> Script:
    """What ``prompt`` says in a run of so many sampling steps.

    Prompt editing and alternation follow A1111: ``schedule`` tells the texts. Without ``steps`` a prompt that
    changes keeps the text of its first step. A prompt that neither changes nor is joined is its own and only
    variant. Raises SettingError for fewer than one step.
    """
    if steps is not None and steps < 1:
        raise SettingError(f"steps={steps} is too few; sampling needs at least 1 step")
    numbers: dict[object, int] = {}
    variants: list[Prompt] = []
    turns: list[Turn] = []
    for last, stage in stages(prompt, steps):
        turn = []
        for variant, weight in parts_of(stage):
            said = (variant.text, variant.spans, variant.breaks)
            if said not in numbers:
                numbers[said] = len(variants)
                variants.append(variant)
            turn.append((numbers[said], weight))
        turns += [tuple(turn)] * (last - len(turns))
    return Script(tuple(variants), tuple(turns))


def stages(prompt: Prompt, steps: int | None) -> Iterator[tuple[int, Prompt]]:
    """The prompt as it is read from stretch to stretch of a run: (last step, prompt), steps from 1."""
    if steps is None or not prompt.scheduled:
        yield steps or 1, prompt
        return
    names = [embedding.name for embedding in prompt.embeddings]
    for last in last_steps(prompt.source, prompt.dialect, steps):
        yield last, replace(read(prompt.source, prompt.dialect, names, (last, steps)), scheduled=False)


def parts_of(prompt: Prompt) -> Iterator[tuple[Prompt, float]]:
    """The parts of a prompt that are shown to the model apart, and their weights; itself if there is one."""
    if len(prompt.parts) < 2 or prompt.dialect not in COMPOSING:
        yield prompt, 1.0
        return
    for part in prompt.parts:
        yield part_prompt(prompt, part), part.weight


def part_prompt(prompt: Prompt, part: Part) -> Prompt:
    """One part of a prompt as a prompt of its own, whose places in the source stay those of the whole."""
    start, end = part.clean_start, part.clean_end
    return replace(
        prompt,
        text=prompt.text[start:end],
        spans=tuple(
            replace(span, clean_start=span.clean_start - start, clean_end=span.clean_end - start)
            for span in prompt.spans
            if start <= span.clean_start < end
        ),
        breaks=tuple(place - start for place in prompt.breaks if start < place <= end),
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
            for clean_start, source_start, length in prompt.runs
            if start <= clean_start < end
        ),
    )


def schedule(
    text: str,
    steps: int,
    dialect: str = "pw",
    *,
    second_pass_steps: int | None = None,
    use_old_scheduling: bool = False,
) -> list[tuple[int, str]]:
    """Resolve prompt editing into ``(last step, text)`` pairs, steps counted from 1, as A1111 gives them.

    ``steps`` are those of the first pass. With ``second_pass_steps`` the schedule is that of a second pass
    (hires fix) of so many steps: whole numbers count on from ``steps``, fractions from 1.0.
    ``use_old_scheduling``: every number below 1 is a fraction, every other one counts steps, and the second
    pass is scheduled like the first. Dialects without prompt editing have one text. Raises SettingError for
    fewer than one step.

        >>> schedule("um [gato:cão:0.5]", 10)
        [(5, 'um gato'), (10, 'um cão')]
    """
    check_dialect(dialect)
    for name, count in (("steps", steps), ("second_pass_steps", second_pass_steps)):
        if count is not None and count < 1:
            raise SettingError(f"{name}={count} is too few; sampling needs at least 1 step")
    first_pass_steps = None
    if second_pass_steps is not None and not use_old_scheduling:
        first_pass_steps, steps = steps, second_pass_steps
    if dialect not in ("pw", "a1111"):
        return [(steps, text)]
    opaque = opaque_ranges(text, dialect) if dialect == "pw" else ()
    changes = find_changes(text, dialect, opaque)
    if not changes.found:
        return [(steps, text)]
    return [
        (last, changes.at(last, steps, first_pass_steps, use_old_scheduling))
        for last in changes.last_steps(steps, first_pass_steps, use_old_scheduling)
    ]
