"""Encoding of weighted prompts: the embeddings that a diffusers pipeline takes, token tables and warnings."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from promptweight.conditioning.encoding_warnings import collect_warnings
from promptweight.conditioning.families import find_family
from promptweight.conditioning.pipeline_encoders import get_absent_encoders, get_text_encoders
from promptweight.conditioning.prompt_embeds import BatchEncoder, EncoderSection, EncodingSettings
from promptweight.conditioning.token_table import TokenTable
from promptweight.errors import ModelError, SettingError
from promptweight.messages import Message, message
from promptweight.prompt import ParseTree, Prompt, as_prompt
from promptweight.validation import check_choice
from promptweight.weighting import ENCODER_MODES, POOLED, EncoderMode, Pooled, get_method, get_normalizer

Prompts = str | Prompt | Sequence[str | Prompt]
"""One prompt or several, as text or parsed."""


@dataclass(frozen=True)
class EncodedPrompts:
    """Encoded prompts.

    Attributes:
        inputs: the keyword arguments for the call of the pipeline.
        sections: the text encoders and token tables of each range of rows of `prompt_embeds`.
        warnings: messages for the user about parts of the prompts without effect.
        settings: the settings of the encoding, which a session follows; None if unknown.
    """

    inputs: dict[str, Tensor]
    sections: tuple[EncoderSection, ...]
    warnings: tuple[Message, ...]
    settings: EncodingSettings | None = None

    @property
    def positive(self) -> tuple[TokenTable, ...]:
        """Token table of each prompt, for the first section with a text encoder."""
        return self._first_section.positive

    @property
    def negative(self) -> tuple[TokenTable, ...]:
        """Token table of each negative prompt, for the same section."""
        return self._first_section.negative

    @property
    def _first_section(self) -> EncoderSection:
        return next(section for section in self.sections if section.encoders)


def encode(
    pipe: Any,
    prompt: Prompts,
    negative_prompt: Prompts | None = "",
    *,
    method: str | None = None,
    normalizer: str | None = None,
    dialect: str = "pw",
    clip_skip: int | None = None,
    pooled: Pooled = "clean",
    mode: EncoderMode = "embedding",
    max_sequence_length: int | None = None,
) -> dict[str, Tensor]:
    """Encode weighted prompts to the keyword arguments that `pipe(...)` takes.

        inputs = encode(pipe, "um (gato:1.4) vermelho", "feio")
        image = pipe(**inputs, num_inference_steps=25).images[0]

    Arguments and errors are those of `encode_prompts`; the result is its `inputs`.
    """
    return encode_prompts(
        pipe,
        prompt,
        negative_prompt,
        method=method,
        normalizer=normalizer,
        dialect=dialect,
        clip_skip=clip_skip,
        pooled=pooled,
        mode=mode,
        max_sequence_length=max_sequence_length,
    ).inputs


@torch.no_grad()
def encode_prompts(
    pipe: Any,
    prompt: Prompts,
    negative_prompt: Prompts | None = "",
    *,
    method: str | None = None,
    normalizer: str | None = None,
    dialect: str = "pw",
    clip_skip: int | None = None,
    pooled: Pooled = "clean",
    mode: EncoderMode = "embedding",
    max_sequence_length: int | None = None,
) -> EncodedPrompts:
    """Encode weighted prompts for a diffusers pipeline.

    A prompt whose weights are all 1 gives bit for bit the embeddings of the pipeline's own `encode_prompt`
    for this prompt alone, whatever prompts are encoded with it. Long prompts take several chunks of a CLIP
    encoder; prompts and negative prompts are padded with empty chunks to the same length.

    Args:
        pipe: a pipeline of a supported family (`promptweight.conditioning.FAMILIES`).
        prompt: a prompt or a list of them, as text or parsed.
        negative_prompt: one for all prompts, or a list with one for each. None is the pipeline's default,
            which is not always an empty text (SDXL may use zeros).
        method: a name in `promptweight.weighting.METHODS`; None is the default of each text encoder.
        normalizer: a name in `promptweight.weighting.NORMALIZERS`; None leaves the weights unchanged.
        dialect: the dialect of prompts given as text.
        clip_skip: the number of last layers of the CLIP text encoders to skip, 0 or more; as in the
            pipelines, negative prompts skip none.
        pooled: whether the pooled vector, where the family has one, is of the "clean" text or "weighted".
        mode: the mode of words without a mode of their own: "embedding", by `method`; or "clip", in the
            self-attention of the CLIP text encoders (`promptweight.conditioning.clip_bias`), which leaves a
            T5 unchanged.
        max_sequence_length: the length in tokens of a T5 text; None is the family's default.

    Raises:
        ModelError: the pipeline is of no supported family, or was loaded without text encoders.
        SettingError: an argument has an invalid value.
    """
    family = find_family(pipe)
    prompts, negatives = parse_prompt_pairs(prompt, negative_prompt, dialect)
    settings = _make_settings(method, normalizer, clip_skip, pooled, mode)
    encoders = get_text_encoders(pipe, family, max_sequence_length)
    if not any(kind in encoders for section in family.sections for kind in section):
        raise ModelError(f"this {type(pipe).__name__} was loaded without the text encoders that it needs")
    warnings: dict[Message, None] = {}
    batch = BatchEncoder(
        prompts={"positive": prompts, "negative": negatives},
        encoders=encoders,
        absent=get_absent_encoders(pipe, family, encoders, max_sequence_length),
        settings=settings,
        warn=lambda message: warnings.setdefault(message),
    )
    sections, embeds = batch.encode_sections(family.sections)
    inputs = {"prompt_embeds": embeds["positive"], "negative_prompt_embeds": embeds["negative"]}
    if family.pooled:
        vectors = batch.encode_pooled(family.pooled)
        inputs["pooled_prompt_embeds"] = vectors["positive"]
        inputs["negative_pooled_prompt_embeds"] = vectors["negative"]
    if negative_prompt is None and getattr(pipe.config, "force_zeros_for_empty_prompt", False):
        inputs |= {key: torch.zeros_like(x) for key, x in inputs.items() if key.startswith("negative_")}
    warnings |= dict.fromkeys(collect_warnings(sections, family, settings))
    accepted = set(inspect.signature(type(pipe).__call__).parameters)
    has_negative = any(prompt.text.strip() for prompt in negatives)
    if has_negative and "negative_prompt_embeds" not in accepted:
        unused = message("negative-unsupported", name=type(pipe).__name__)
        warnings[unused] = None
    if family.negative_is_optional and negative_prompt is None:
        accepted = {key for key in accepted if not key.startswith("negative_")}
    accepted_inputs = {key: x for key, x in inputs.items() if key in accepted}
    return EncodedPrompts(accepted_inputs, sections, tuple(warnings), settings)


def _make_settings(
    method: str | None, normalizer: str | None, clip_skip: int | None, pooled: str, mode: EncoderMode
) -> EncodingSettings:
    if clip_skip is not None and (type(clip_skip) is not int or clip_skip < 0):
        raise SettingError(f"clip_skip must be an integer of at least 0, or None; got {clip_skip!r}")
    check_choice("pooled", pooled, POOLED)
    check_choice("mode", mode, ENCODER_MODES)
    return EncodingSettings(
        method=None if method is None else get_method(method),
        normalizer=get_normalizer(normalizer or "none"),
        clip_skip=clip_skip,
        weighted_pool=pooled == "weighted",
        mode=mode,
    )


def parse_prompt_pairs(
    prompt: Prompts, negative_prompt: Prompts | None, dialect: str
) -> tuple[list[Prompt], list[Prompt]]:
    """Parse the prompts and as many negative prompts; a single negative prompt is repeated.

    Raises:
        SettingError: there are no prompts, a prompt is not text or a Prompt, or the numbers differ.
    """
    prompts = parse_prompts(prompt, dialect)
    negatives = parse_prompts("" if negative_prompt is None else negative_prompt, dialect)
    if len(negatives) not in (1, len(prompts)):
        raise SettingError(
            f"negative_prompt must hold 1 or {len(prompts)} prompts, as many as prompt; got {len(negatives)}"
        )
    return prompts, negatives * (len(prompts) // len(negatives))


def parse_prompts(prompts: Prompts, dialect: str) -> list[Prompt]:
    """Parse one prompt or a list of prompts.

    Raises:
        SettingError: there are no prompts, or one is not text or a Prompt.
    """
    if isinstance(prompts, Mapping) or not isinstance(prompts, (str, Prompt, ParseTree, Iterable)):
        advice = "; pass encoded prompts to the pipeline" if isinstance(prompts, Mapping) else ""
        raise SettingError(
            f"prompt must be text, a Prompt or a list of these; got {type(prompts).__name__}{advice}"
        )
    many = [prompts] if isinstance(prompts, (str, Prompt, ParseTree)) else list(prompts)
    for number, prompt in enumerate(many):
        if not isinstance(prompt, (str, Prompt, ParseTree)):
            raise SettingError(f"prompt {number} must be text or a Prompt; got {type(prompt).__name__}")
    if not many:
        raise SettingError("prompt must hold at least one prompt; got an empty list")
    return [as_prompt(prompt, dialect) for prompt in many]
