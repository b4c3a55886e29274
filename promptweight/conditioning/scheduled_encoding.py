"""Encoding of prompts with several variants: scheduled prompts, and parts joined by AND."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptweight.conditioning.encoding import EncodedPrompts, Prompts, encode_prompts, parse_prompt_pairs
from promptweight.conditioning.prompt_embeds import ROLES, Role, select_texts
from promptweight.conditioning.token_table import TokenTable
from promptweight.prompt import FIRST_VARIANT, Prompt, PromptTimeline, make_timeline
from promptweight.weighting import Weighting

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline


@dataclass(frozen=True)
class ScheduledEncoding:
    """Encoded prompts that can change from step to step.

    Attributes:
        encoded: one row for each variant of each prompt, prompt after prompt, all of one length.
        timelines: the variants of each prompt of the batch and the steps of each.
        first_rows: the row of the first variant of each prompt.
    """

    encoded: EncodedPrompts
    timelines: Mapping[Role, tuple[PromptTimeline, ...]]
    first_rows: Mapping[Role, tuple[int, ...]]

    @classmethod
    def plain(cls, encoded: EncodedPrompts) -> ScheduledEncoding:
        """Wrap encoded prompts that do not change."""
        tables = {"positive": encoded.positive, "negative": encoded.negative}
        return cls(
            encoded,
            {
                role: tuple(PromptTimeline((table.prompt,), (FIRST_VARIANT,)) for table in tables[role])
                for role in ROLES
            },
            {role: tuple(range(len(tables[role]))) for role in ROLES},
        )

    @property
    def changes(self) -> bool:
        """True if any prompt has more than one variant."""
        return any(not timeline.is_plain for role in ROLES for timeline in self.timelines[role])

    @property
    def steps(self) -> int:
        """Number of steps that the schedule was made for; 1 where no prompt changes."""
        changing = [timeline for role in ROLES for timeline in self.timelines[role] if timeline.changes]
        return max((len(timeline.steps) for timeline in changing), default=1)

    @property
    def inputs(self) -> dict[str, Any]:
        """Keyword arguments for the call of the pipeline, with the first variant of every prompt."""
        if not self.changes:
            return dict(self.encoded.inputs)
        return {
            key: select_texts(
                value, self._initial_rows("negative" if key.startswith("negative_") else "positive")
            )
            for key, value in self.encoded.inputs.items()
        }

    @property
    def tables(self) -> dict[Role, tuple[TokenTable, ...]]:
        """Token table of the first variant of every prompt."""
        every = {"positive": self.encoded.positive, "negative": self.encoded.negative}
        return {role: tuple(every[role][row] for row in self._initial_rows(role)) for role in ROLES}

    def _initial_rows(self, role: Role) -> list[int]:
        pairs = zip(self.first_rows[role], self.timelines[role], strict=True)
        return [first + timeline.at(0)[0][0] for first, timeline in pairs]


def encode_scheduled(
    pipe: Pipeline,
    prompt: Prompts,
    negative_prompt: Prompts | None = "",
    *,
    num_inference_steps: int | None = None,
    weighting: Weighting | str | None = None,
    dialect: str = "pw",
    clip_skip: int | None = None,
    max_sequence_length: int | None = None,
    lora_scale: float | None = None,
    image: Any = None,
    in_session: bool = False,
) -> ScheduledEncoding:
    """Encode prompts with all their variants in a run of `num_inference_steps` sampling steps.

    Without the number of steps, scheduled prompts keep the variant of their first step, with a warning. Empty
    chunks pad all variants to one length, so the shape is the same at every step. The other arguments and
    the errors are those of `encode_prompts`.
    """
    prompts, negatives = parse_prompt_pairs(prompt, negative_prompt, dialect)
    timelines: dict[Role, tuple[PromptTimeline, ...]] = {
        "positive": tuple(make_timeline(each, num_inference_steps) for each in prompts),
        "negative": tuple(make_timeline(each, num_inference_steps) for each in negatives),
    }
    variants: dict[Role, list[Prompt]] = {}
    first_rows: dict[Role, tuple[int, ...]] = {}
    for role in ROLES:
        variants[role], first_rows[role] = _concatenate_variants(timelines[role])
    longest = max(map(len, variants.values()))
    for each in variants.values():
        each += [each[-1]] * (longest - len(each))
    negative_variants = None if negative_prompt is None else variants["negative"]
    encoded = encode_prompts(
        pipe,
        variants["positive"],
        negative_variants,
        weighting=weighting,
        clip_skip=clip_skip,
        max_sequence_length=max_sequence_length,
        lora_scale=lora_scale,
        image=image,
        in_session=in_session,
    )
    return ScheduledEncoding(encoded, timelines, first_rows)


def _concatenate_variants(timelines: Sequence[PromptTimeline]) -> tuple[list[Prompt], tuple[int, ...]]:
    """Return the variants of all prompts, prompt after prompt, and the index of each prompt's first one."""
    variants: list[Prompt] = []
    first_rows = []
    for timeline in timelines:
        first_rows.append(len(variants))
        variants += timeline.variants
    return variants, tuple(first_rows)
