"""Negative prompts that act in attention: their text embeddings in the model's calls, and their weights.

The text of a call becomes twice as long: beside its own embeddings every row gets those of its negative
prompt, at the end that is farther from the image, so that image and positive prompt stay neighbors. What else
a model computes of a text is computed for each position by itself, with the pooled vector of the positive
prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from promptweight.attention.batch_rows import BatchRow
from promptweight.attention.call_arguments import get_argument, set_argument
from promptweight.attention.control.negative_attention import NegativeTerms
from promptweight.attention.control.rules import KeyRules
from promptweight.attention.layers import ModelLayout
from promptweight.attention.model_calls import ModelArguments
from promptweight.attention.negative_guidance import NegativeGuidance
from promptweight.conditioning import ScheduledEncoding
from promptweight.errors import AttachError, SettingError
from promptweight.maps import PromptVariant
from promptweight.messages import message
from promptweight.weighting import MASK_BIAS

NegativeVariant = tuple[int, int]
"""Index of a negative prompt, and of its variant."""


class NegativePrompts:
    """Negative prompts of a session that act in attention.

    Args:
        guidance: the way in which they act.
        scheduled: the encoded variants and their schedules.
        indices: index of each variant among those of the session, in the order of `KeyRules`.
        variants: the token tables of the variants of the session.

    Raises:
        SettingError: AND joins several texts of a negative prompt.
    """

    def __init__(
        self,
        guidance: NegativeGuidance,
        scheduled: ScheduledEncoding,
        indices: Mapping[NegativeVariant, int],
        variants: Sequence[PromptVariant],
    ) -> None:
        self.guidance = guidance
        self._timelines = scheduled.timelines["negative"]
        for timeline in self._timelines:
            if any(len(parts) > 1 for parts in timeline.steps):
                source = timeline.variants[0].source
                raise SettingError(message("negative-guidance-and", prompt=source, guidance=guidance))
        embeds = scheduled.encoded.negative_prompt_embeds
        assert embeds is not None
        self._first_rows, self._embeds, self._indices = scheduled.first_rows["negative"], embeds, indices
        word_rows = {key: _find_word_rows(variants[index]) for key, index in indices.items()}
        self._word_bias = {key: _make_word_bias(rows, embeds.shape[1]) for key, rows in word_rows.items()}
        self._is_empty = {key: not rows for key, rows in word_rows.items()}
        self._extended: tuple[Tensor | None, dict[tuple[NegativeVariant | None, ...], Tensor]] = (None, {})
        """The call's embeddings, and by variants those that replace them."""
        self._terms: dict[object, tuple[Tensor | None, Tensor | None]] = {}
        """By variants and device, the rows on which they act and the bias of their words."""

    @property
    def is_empty(self) -> bool:
        """True if no negative prompt has a word."""
        return all(self._is_empty.values())

    def find_variants(self, rows: Sequence[BatchRow | None], step: int) -> tuple[NegativeVariant | None, ...]:
        """Return the variant of the negative prompt that acts on each batch row; None where none does.

        Args:
            rows: the rows of the batch.
            step: the step among those of the schedules.
        """
        variants: list[NegativeVariant | None] = []
        for row in rows:
            variant = None
            if row is not None and row.role == "positive":
                variant = (row.prompt, self._timelines[row.prompt].at(step)[0][0])
            variants.append(None if variant is None or self._is_empty[variant] else variant)
        return tuple(variants)

    def extend_arguments(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        layout: ModelLayout,
        variants: tuple[NegativeVariant | None, ...],
    ) -> ModelArguments:
        """Return the arguments of a call of the model with the embeddings of the negative prompts.

        Args:
            args: positional arguments of the call.
            kwargs: named arguments of the call.
            layout: the model's layout.
            variants: the result of `find_variants`.

        Raises:
            AttachError: the call has a mask for the positions of the text.
        """
        if kwargs.get("encoder_attention_mask") is not None:
            raise AttachError(message("negative-text-mask"))
        embeds = get_argument(args, kwargs, *layout.kind.text)
        variants = variants[: len(embeds)]  # FLUX's pipeline passes one row of text for several images
        if self._extended[0] is not embeds:
            self._extended = (embeds, {})
        known = self._extended[1]
        if variants not in known:
            known[variants] = self._extend_embeds(embeds, variants, layout)
        args, kwargs = set_argument(args, kwargs, *layout.kind.text, known[variants])
        if layout.kind.text_positions is not None:
            positions = get_argument(args, kwargs, *layout.kind.text_positions)
            twice = torch.cat([positions, positions], dim=-2)
            args, kwargs = set_argument(args, kwargs, *layout.kind.text_positions, twice)
        return args, kwargs

    def make_terms(
        self,
        rules: KeyRules,
        variants: tuple[NegativeVariant | None, ...],
        step: int,
        steps: int,
        size: tuple[int, int],
        device: torch.device,
        selections: frozenset[tuple[str, ...]],
    ) -> NegativeTerms:
        """Return the terms of a layer for a call; arguments as in `KeyRules.terms_at`."""
        acting = [each for each in variants if each is not None]
        key = (variants, device)
        if key not in self._terms:
            rows = [index for index, each in enumerate(variants) if each is not None]
            bias = None
            if self.guidance.name == "vsf":
                bias = torch.stack([self._word_bias[each] for each in acting])[:, None, None].to(device)
            is_all = len(rows) == len(variants)
            self._terms[key] = (None if is_all else torch.tensor(rows, device=device), bias)
        indices = [self._indices[each] for each in acting]
        terms = rules.terms_at(indices, step, steps, size, device, selections)
        return NegativeTerms(self.guidance, self._terms[key][0], terms, self._terms[key][1])

    def release(self) -> None:
        """Release the pipeline's tensors after the last call."""
        self._extended = (None, {})

    def _extend_embeds(
        self, embeds: Tensor, variants: tuple[NegativeVariant | None, ...], layout: ModelLayout
    ) -> Tensor:
        """Return embeddings with those of the negative prompts, or once more their own where none acts."""
        others = [
            own if each is None else self._embeds[self._first_rows[each[0]] + each[1]].to(own)
            for own, each in zip(embeds, variants, strict=True)
        ]
        both = [embeds, torch.stack(others)]
        order = next(iter(layout.layers.values()))[0].order
        return torch.cat(both[::-1] if order == "text first" else both, dim=1)


def make_negative_prompts(
    guidance: NegativeGuidance,
    scheduled: ScheduledEncoding,
    indices: Mapping[NegativeVariant, int],
    variants: Sequence[PromptVariant],
) -> NegativePrompts | None:
    """Make the negative prompts of a session; None if none has a word. Arguments as in `NegativePrompts`."""
    if not indices:
        return None
    negative_prompts = NegativePrompts(guidance, scheduled, indices, variants)
    return None if negative_prompts.is_empty else negative_prompts


def _find_word_rows(variant: PromptVariant) -> list[int]:
    return [row for placed in variant for row in placed.rows("text")]


def _make_word_bias(rows: Sequence[int], length: int) -> Tensor:
    """Return the bias that leaves only these keys of a text, (text positions,) float32."""
    bias = torch.full((length,), MASK_BIAS, dtype=torch.float32)
    bias[list(rows)] = 0
    return bias
