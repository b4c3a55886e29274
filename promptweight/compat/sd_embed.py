"""sd_embed's interface: one function for each model family, from weighted prompts to embeddings.

    from promptweight.compat import get_weighted_text_embeddings_sd15

    prompt_embeds, neg_prompt_embeds = get_weighted_text_embeddings_sd15(pipe, "a (red:1.4) cat", "blurry")

Names, arguments and results are those of xhinker/sd_embed; prompts have AUTOMATIC1111's syntax, and each row
is multiplied by its weight. Rows of padding are those of the pipelines themselves, also in the second text
encoder of SDXL and in the T5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from promptweight.conditioning import (
    MAX_CLIP_SKIP,
    BatchEncoder,
    EncoderSection,
    EncodingSettings,
    check_lora_scale,
    find_family,
    get_absent_encoders,
    get_text_encoders,
    scale_text_loras,
)
from promptweight.errors import ModelError, SettingError
from promptweight.messages import message
from promptweight.prompt import Prompt, as_prompt
from promptweight.validation import check_integer
from promptweight.weighting import Weighting

_DIALECT = "a1111"


def get_weighted_text_embeddings_sd15(
    pipe: Any,
    prompt: str = "",
    neg_prompt: str = "",
    pad_last_block: bool = False,
    clip_skip: int = 0,
) -> tuple[Tensor, Tensor]:
    """Encode a prompt and a negative prompt for Stable Diffusion 1 or 2.

    Args:
        pipe: the pipeline.
        prompt: the prompt, of any length.
        neg_prompt: the negative prompt.
        pad_last_block: whether the last chunk is filled with padding; otherwise it ends with the longer text.
        clip_skip: the number of last layers of the text encoder to skip, for both prompts.

    Returns:
        `prompt_embeds` and `negative_prompt_embeds`, each (1, tokens, channels).

    Raises:
        ModelError: the pipeline was loaded without text encoders.
        SettingError: an argument has an invalid value, or the pipeline is of another family.
    """
    encoded = _encode(pipe, "Stable Diffusion 1 and 2", prompt, neg_prompt, clip_skip=clip_skip)
    embeds = encoded.embeds if pad_last_block else encoded.cut_padding(encoded.embeds)
    return embeds[:1], embeds[1:]


def get_weighted_text_embeddings_sdxl(
    pipe: Any,
    prompt: str = "",
    neg_prompt: str = "",
    pad_last_block: bool = True,
    lora_scale: float | None = None,
    clip_skip: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Encode a prompt and a negative prompt for SDXL.

    Args:
        pipe: the pipeline.
        prompt: the prompt, of any length.
        neg_prompt: the negative prompt.
        pad_last_block: whether the last chunk is filled with padding; otherwise it ends with the longer text.
        lora_scale: the scale of the LoRAs in the text encoders; None is 1.
        clip_skip: the number of last layers of the text encoders to skip, for both prompts.

    Returns:
        `prompt_embeds` and `negative_prompt_embeds`, each (1, tokens, channels), `pooled_prompt_embeds` and
        `negative_pooled_prompt_embeds`, each (1, channels).

    Raises:
        ModelError: the pipeline was loaded without text encoders.
        SettingError: an argument has an invalid value, or the pipeline is of another family.
    """
    encoded = _encode(
        pipe, "Stable Diffusion XL", prompt, neg_prompt, clip_skip=clip_skip, lora_scale=lora_scale
    )
    embeds = encoded.embeds if pad_last_block else encoded.cut_padding(encoded.embeds)
    return embeds[:1], embeds[1:], encoded.pooled[:1], encoded.pooled[1:]


def get_weighted_text_embeddings_sd3(
    pipe: Any,
    prompt: str = "",
    neg_prompt: str = "",
    pad_last_block: bool = True,
    use_t5_encoder: bool = True,
    lora_scale: float | None = None,
    clip_skip: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Encode a prompt and a negative prompt for Stable Diffusion 3.

    Args:
        pipe: the pipeline.
        prompt: the prompt, of any length in the CLIP encoders.
        neg_prompt: the negative prompt.
        pad_last_block: whether the last chunk of the CLIP encoders is filled with padding; otherwise it ends
            after the longer text.
        use_t5_encoder: whether the T5 encodes the prompts; otherwise its rows are zeros.
        lora_scale: the scale of the LoRAs in the CLIP encoders; None is 1.
        clip_skip: the number of last layers of the CLIP encoders to skip, for both prompts.

    Returns:
        `prompt_embeds` and `negative_prompt_embeds`, each (1, tokens, channels), `pooled_prompt_embeds` and
        `negative_pooled_prompt_embeds`, each (1, channels).

    Raises:
        ModelError: the pipeline was loaded without text encoders.
        SettingError: an argument has an invalid value, or the pipeline is of another family.
    """
    encoded = _encode(
        pipe,
        "Stable Diffusion 3",
        prompt,
        neg_prompt,
        clip_skip=clip_skip,
        lora_scale=lora_scale,
        without=() if use_t5_encoder else ("t5",),
    )
    embeds = encoded.embeds if pad_last_block else encoded.cut_padding(encoded.embeds)
    return embeds[:1], embeds[1:], encoded.pooled[:1], encoded.pooled[1:]


def get_weighted_text_embeddings_flux1(
    pipe: Any,
    prompt: str = "",
    prompt2: str | None = None,
    device: str | torch.device | None = None,
) -> tuple[Tensor, Tensor]:
    """Encode a prompt for FLUX.1.

    Args:
        pipe: the pipeline.
        prompt: the prompt of the CLIP encoder; its pooled vector is the mean of those of all chunks.
        prompt2: the prompt of the T5; None is `prompt`.
        device: the device of the result; None is that of the pipeline, where the text is encoded.

    Returns:
        `prompt_embeds`, (1, tokens, channels), and `pooled_prompt_embeds`, (1, channels).

    Raises:
        ModelError: the pipeline was loaded without text encoders.
        SettingError: an argument has an invalid value, or the pipeline is of another family.
    """
    encoded = _encode(pipe, "FLUX.1", prompt if prompt2 is None else prompt2, "")
    pooled = _mean_pooled(pipe, prompt)
    return encoded.embeds[:1].to(device), pooled.to(device)


@dataclass(frozen=True)
class _Encoded:
    """A prompt and its negative prompt, encoded.

    Attributes:
        embeds: the embeddings, (2, tokens, channels).
        pooled: the pooled vectors, (2, channels).
        sections: the sections of the tokens.
    """

    embeds: Tensor
    pooled: Tensor
    sections: Sequence[EncoderSection]

    def cut_padding(self, embeds: Tensor) -> Tensor:
        """Return embeddings whose first section ends after the longer text and one end of text."""
        section = self.sections[0]
        last = max(
            (token.position for table in section.positive for token in table.tokens if token.kind == "text"),
            default=0,
        )
        return torch.cat([embeds[:, : last + 2], embeds[:, section.rows :]], 1)


@torch.no_grad()
def _encode(
    pipe: Any,
    family_name: str,
    prompt: str,
    neg_prompt: str,
    *,
    clip_skip: int | None = None,
    lora_scale: float | None = None,
    without: Sequence[str] = (),
) -> _Encoded:
    """Encode a prompt and a negative prompt as two prompts of one batch; clip skip acts on both.

    Raises:
        ModelError: the pipeline was loaded without text encoders.
        SettingError: an argument has an invalid value, or the pipeline is of another family.
    """
    family = find_family(pipe)
    if family.name != family_name:
        raise SettingError(message("compat-family", family=family_name, name=type(pipe).__name__))
    if clip_skip is not None:
        check_integer("clip_skip", clip_skip, 0, MAX_CLIP_SKIP)
    scale = check_lora_scale(lora_scale)
    prompts = [_parse("prompt", prompt), _parse("neg_prompt", neg_prompt)]
    encoders = {
        kind: encoder
        for kind, encoder in get_text_encoders(pipe, family, unit="tokens").items()
        if kind.name not in without
    }
    if not any(kind in encoders for section in family.sections for kind in section):
        raise ModelError(message("text-encoders-missing", pipeline=type(pipe).__name__))
    batch = BatchEncoder(
        prompts={"positive": prompts, "negative": [as_prompt("", _DIALECT)]},
        encoders=encoders,
        absent=get_absent_encoders(pipe, family, encoders),
        settings=EncodingSettings(Weighting("scale"), clip_skip),
        warn=lambda _: None,
    )
    with scale_text_loras(encoders.values(), scale):
        sections, embeds = batch.encode_sections(family.sections)
        pooled = batch.encode_pooled(family.pooled)["positive"] if family.pooled else torch.empty(2, 0)
    return _Encoded(embeds["positive"], pooled, sections)


@torch.no_grad()
def _mean_pooled(pipe: Any, prompt: str) -> Tensor:
    """Return the mean of the pooled vectors of all chunks of a prompt of FLUX.1, (1, channels)."""
    family = find_family(pipe)
    (kind,) = family.pooled
    encoder = get_text_encoders(pipe, family, unit="tokens").get(kind)
    if encoder is None:
        raise ModelError(message("text-encoders-missing", pipeline=type(pipe).__name__))
    chunked = replace(encoder, kind=replace(kind, is_chunked=True))
    table = chunked.tokenize(_parse("prompt", prompt))
    vectors = [chunked.encode_chunk(table, chunk).pooled for chunk in range(table.chunks)]
    return torch.stack([vector for vector in vectors if vector is not None]).mean(0, keepdim=True)


def _parse(name: str, text: str) -> Prompt:
    """Parse one prompt.

    Raises:
        SettingError: it is not text, or does not have one text for all steps.
    """
    if not isinstance(text, str):
        raise SettingError(message("prompts-type", kind=type(text).__name__, advice=""))
    prompt = as_prompt(text, _DIALECT)
    if prompt.scheduled or len(prompt.parts) > 1:
        raise SettingError(message("prompt-scheduled", name=name, prompt=text))
    return prompt
