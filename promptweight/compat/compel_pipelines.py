"""compel's interface for whole pipelines: `CompelForSD`, `CompelForSDXL` and `CompelForFlux`.

from promptweight.compat import CompelForSDXL

conditioning = CompelForSDXL(pipe)("a (red)1.4 cat playing++")
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from promptweight.compat.compel import (
    Compel,
    DiffusersTextualInversionManager,
    ReturnedEmbeddingsType,
    as_list,
)
from promptweight.errors import SettingError
from promptweight.messages import message


@dataclass(frozen=True)
class LabelledConditioning:
    """Embeddings for the call of a pipeline.

    Attributes:
        embeds: `prompt_embeds`, (prompts, tokens, channels).
        pooled_embeds: `pooled_prompt_embeds`, (prompts, channels); None where the pipeline takes none.
        negative_embeds: `negative_prompt_embeds`; None without negative prompts.
        negative_pooled_embeds: `negative_pooled_prompt_embeds`; None without negative prompts.
        attention_mask: None; compel has masks for other pipelines.
        negative_attention_mask: None, likewise.
        tokenization_info: the token ids of each prompt, by "main_positive", "main_negative",
            "style_positive" and "style_negative".
    """

    embeds: Tensor
    pooled_embeds: Tensor | None = None
    negative_embeds: Tensor | None = None
    negative_pooled_embeds: Tensor | None = None
    attention_mask: Tensor | None = None
    negative_attention_mask: Tensor | None = None
    tokenization_info: dict[str, Any] | None = None


class CompelForSD:
    """Encoder of prompts for a Stable Diffusion 1 or 2 pipeline.

    Args:
        pipe: the pipeline.
        textual_inversion_manager: as in `Compel`.
        device: as in `Compel`.
    """

    def __init__(
        self,
        pipe: Any,
        textual_inversion_manager: DiffusersTextualInversionManager | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        self.compel = Compel(
            pipe.tokenizer,
            pipe.text_encoder,
            textual_inversion_manager,
            truncate_long_prompts=False,
            device=device,
        )

    def __call__(
        self, prompt: str | list[str], negative_prompt: str | list[str] | None = None
    ) -> LabelledConditioning:
        """Encode prompts and negative prompts, one for all or one for each, padded to one length."""
        prompts, negatives = _pair(prompt, negative_prompt)
        embeds, ids = self.compel(prompts + negatives, return_tokenization=True)
        positive, negative = _split(embeds, len(prompts))
        return LabelledConditioning(
            positive, negative_embeds=negative, tokenization_info=_list_tokens("main", ids, len(prompts))
        )


class CompelForSDXL:
    """Encoder of prompts for an SDXL pipeline. Arguments as in `CompelForSD`."""

    def __init__(
        self,
        pipe: Any,
        textual_inversion_manager: DiffusersTextualInversionManager | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        self.compel_1, self.compel_2 = (
            Compel(
                tokenizer,
                model,
                textual_inversion_manager,
                truncate_long_prompts=False,
                returned_embeddings_type=ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED,
                requires_pooled=requires_pooled,
                device=device,
            )
            for tokenizer, model, requires_pooled in (
                (pipe.tokenizer, pipe.text_encoder, False),
                (pipe.tokenizer_2, pipe.text_encoder_2, True),
            )
        )

    def __call__(
        self,
        main_prompt: str | list[str],
        style_prompt: str | list[str] | None = None,
        negative_prompt: str | list[str] | None = None,
        negative_style_prompt: str | list[str] | None = None,
    ) -> LabelledConditioning:
        """Encode prompts for the first text encoder and style prompts, by default the same, for the second.

        Negative prompts are one for all or one for each.
        """
        prompts, negatives = _pair(main_prompt, negative_prompt)
        styles, negative_styles = _pair_styles(
            prompts, negatives, style_prompt, negative_style_prompt, can_repeat=True
        )
        left, main_ids = self.compel_1(prompts + negatives, return_tokenization=True)
        right, style_ids, pooled = self.compel_2(styles + negative_styles, return_tokenization=True)
        (positive_left, negative_left), (positive_right, negative_right) = (
            _split(left, len(prompts)),
            _split(right, len(prompts)),
        )
        positive_pooled, negative_pooled = _split(pooled, len(prompts))
        return LabelledConditioning(
            self._join(positive_left, positive_right),
            positive_pooled,
            None if negative_left is None else self._join(negative_left, negative_right),
            negative_pooled,
            tokenization_info=_list_tokens("main", main_ids, len(prompts))
            | _list_tokens("style", style_ids, len(prompts)),
        )

    def _join(self, left: Tensor, right: Tensor | None) -> Tensor:
        """Pad the embeddings of both text encoders to one length and concatenate their channels."""
        assert right is not None
        longest = max(left.shape[1], right.shape[1])
        padded = []
        for compel, embeds in ((self.compel_1, left), (self.compel_2, right)):
            target = embeds.new_zeros(len(embeds), longest, embeds.shape[-1])
            padded.append(compel.pad_conditioning_tensors_to_same_length([embeds, target])[0])
        return torch.cat(padded, -1)


class CompelForFlux:
    """Encoder of prompts for a FLUX.1 pipeline. Arguments as in `CompelForSD`."""

    def __init__(
        self,
        pipe: Any,
        textual_inversion_manager: DiffusersTextualInversionManager | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        self.compel_1 = Compel(
            pipe.tokenizer,
            pipe.text_encoder,
            textual_inversion_manager,
            returned_embeddings_type=ReturnedEmbeddingsType.POOLED,
            device=device,
        )
        self.compel_2 = Compel(
            pipe.tokenizer_2, pipe.text_encoder_2, textual_inversion_manager, device=device
        )

    def __call__(
        self,
        main_prompt: str | list[str],
        style_prompt: str | list[str] | None = None,
        negative_prompt: str | list[str] | None = None,
        negative_style_prompt: str | list[str] | None = None,
    ) -> LabelledConditioning:
        """Encode prompts for the T5 and style prompts, by default the same, for the pooled vector of CLIP."""
        prompts, negatives = _pair(main_prompt, negative_prompt)
        styles, negative_styles = _pair_styles(
            prompts, negatives, style_prompt, negative_style_prompt, can_repeat=False
        )
        pooled, style_ids = self.compel_1(styles + negative_styles, return_tokenization=True)
        embeds, main_ids = self.compel_2(prompts + negatives, return_tokenization=True)
        positive, negative = _split(embeds, len(prompts))
        positive_pooled, negative_pooled = _split(pooled, len(prompts))
        return LabelledConditioning(
            positive,
            positive_pooled,
            negative,
            negative_pooled,
            tokenization_info=_list_tokens("main", main_ids, len(prompts))
            | _list_tokens("style", style_ids, len(prompts)),
        )


def _pair(prompt: Any, negative_prompt: Any) -> tuple[list[str], list[str]]:
    """Return prompts and negative prompts as lists.

    Raises:
        SettingError: negative prompts are neither one nor as many as the prompts.
    """
    prompts = as_list(prompt)
    negatives = [] if negative_prompt is None else as_list(negative_prompt)
    if negative_prompt is not None and len(negatives) not in (1, len(prompts)):
        raise SettingError(message("negative-prompt-number", number=len(prompts), given=len(negatives)))
    return prompts, negatives


def _pair_styles(
    prompts: list[str], negatives: list[str], style: Any, negative_style: Any, *, can_repeat: bool
) -> tuple[list[str], list[str]]:
    """Return style prompts and negative style prompts, by default the prompts themselves.

    Raises:
        SettingError: there are not as many as prompts, or negative ones for no negative prompt.
    """
    styles = prompts if style is None else as_list(style)
    if can_repeat and len(styles) == 1:
        styles = styles * len(prompts)
    negative_styles = negatives if negative_style is None else as_list(negative_style)
    for name, given, number in (
        ("style_prompt", styles, len(prompts)),
        ("negative_style_prompt", negative_styles, len(negatives)),
    ):
        if len(given) != number:
            raise SettingError(message("compat-lists", name=name, number=number, given=len(given)))
    return styles, negative_styles


def _split(embeds: Tensor, number: int) -> tuple[Tensor, Tensor | None]:
    """Return the rows of prompts and of negative prompts; a single negative prompt is repeated."""
    negative = embeds[number:]
    if not len(negative):
        return embeds, None
    return embeds[:number], negative.repeat(number // len(negative), *[1] * (embeds.ndim - 1))


def _list_tokens(name: str, ids: list[Tensor], number: int) -> dict[str, Any]:
    """Return the token ids of prompts and negative prompts by their names."""
    tokens: dict[str, Any] = {f"{name}_positive": ids[:number]}
    return tokens | ({f"{name}_negative": ids[number:]} if len(ids) > number else {})
