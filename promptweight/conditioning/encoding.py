"""Prompts to the keyword arguments of a pipeline's call, with the token tables and warnings of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from promptweight.conditioning.encoding_warnings import collect_warnings
from promptweight.conditioning.families import find_family, get_absent_encoders, get_text_encoders
from promptweight.conditioning.prompt_embeds import EncoderSection, Encoding, EncodingSettings
from promptweight.conditioning.text_encoder import EncoderMode
from promptweight.conditioning.token_table import TokenTable
from promptweight.errors import ModelError, SettingError
from promptweight.messages import Message, message
from promptweight.prompt import Prompt, parse
from promptweight.weighting import get_method, get_normalizer

Prompts = str | Prompt | Sequence[str | Prompt]


@dataclass(frozen=True)
class EncodedPrompts:
    """Encoded prompts: `inputs` for the pipeline's call, the tables behind them, what the user should know.

    `sections` say which text encoder wrote which rows of `prompt_embeds`.
    """

    inputs: dict[str, Tensor]
    sections: tuple[EncoderSection, ...]
    warnings: tuple[Message, ...]

    @property
    def positive(self) -> tuple[TokenTable, ...]:
        """The token table of each prompt, for the first section that an encoder wrote."""
        return self._first_written.positive

    @property
    def negative(self) -> tuple[TokenTable, ...]:
        """The token table of each negative prompt, for the same section."""
        return self._first_written.negative

    @property
    def _first_written(self) -> EncoderSection:
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
    pooled: Literal["clean", "weighted"] = "clean",
    mode: EncoderMode = "embedding",
    max_sequence_length: int | None = None,
) -> dict[str, Tensor]:
    """The `inputs` of `encode_prompts`, which see: the keyword arguments that `pipe(...)` takes.

    inputs = encode(pipe, "um (gato:1.4) vermelho", "feio")
    image = pipe(**inputs, num_inference_steps=25).images[0]
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
    pooled: Literal["clean", "weighted"] = "clean",
    mode: EncoderMode = "embedding",
    max_sequence_length: int | None = None,
) -> EncodedPrompts:
    """Encode weighted prompts for a diffusers pipeline.

    A prompt whose weights are all 1 gives bit for bit what the pipeline's own `encode_prompt` gives for it
    alone, and the same bits whatever others are encoded with it. Long prompts take several chunks of a CLIP
    encoder; prompts and negative prompts are evened out with empty chunks.

    Args:
        pipe: a pipeline of a supported family (`promptweight.conditioning.families`).
        prompt: a prompt or a list of them, as text or parsed.
        negative_prompt: one for all prompts, or a list with one for each. None is what the pipeline does when
            it is given none, which is not always an empty text (SDXL may use zeros).
        method: a name in `promptweight.weighting.METHODS`; None is the usual one of each text encoder.
        normalizer: a name in `promptweight.weighting.NORMALIZERS`; None leaves the weights as they are.
        dialect: how prompts given as text are read.
        clip_skip: how many of the last layers of the CLIP text encoders are left out, 0 or more; as in the
            pipelines, negative prompts are read with all of them.
        pooled: whether the pooled vector, where the family has one, is of the clean text or also weighted.
        mode: where weights act whose words do not say it themselves: "embedding", by `method`; or "clip", in
            the self-attention of the CLIP text encoders (`promptweight.conditioning.clip_bias`), which leaves
            a T5 alone.
        max_sequence_length: the length in tokens of a T5 text; None is the family's usual one.

    Raises:
        ModelError: the pipeline is of no supported family, or was loaded without text encoders.
        SettingError: a value outside its range.
    """
    family = find_family(pipe)
    prompts, negatives = paired_prompts(prompt, negative_prompt, dialect)
    settings = _settings(method, normalizer, clip_skip, pooled, mode)
    encoders = get_text_encoders(pipe, family, max_sequence_length)
    if not any(kind in encoders for section in family.sections for kind in section):
        raise ModelError(f"This {type(pipe).__name__} was loaded without the text encoders that it needs.")
    warnings: dict[Message, None] = {}
    encoding = Encoding(
        prompts={"positive": prompts, "negative": negatives},
        encoders=encoders,
        absent=get_absent_encoders(pipe, family, encoders, max_sequence_length),
        settings=settings,
        warn=lambda message: warnings.setdefault(message),
    )
    sections, embeds = encoding.prompt_embeds(family.sections)
    inputs = {"prompt_embeds": embeds["positive"], "negative_prompt_embeds": embeds["negative"]}
    if family.pooled:
        vectors = encoding.pooled_prompt_embeds(family.pooled)
        inputs["pooled_prompt_embeds"] = vectors["positive"]
        inputs["negative_pooled_prompt_embeds"] = vectors["negative"]
    if negative_prompt is None and getattr(pipe.config, "force_zeros_for_empty_prompt", False):
        inputs |= {key: torch.zeros_like(x) for key, x in inputs.items() if key.startswith("negative_")}
    warnings |= dict.fromkeys(collect_warnings(sections, family, settings))
    taken = set(inspect.signature(type(pipe).__call__).parameters)
    has_negative = any(prompt.text.strip() for prompt in negatives)
    if has_negative and "negative_prompt_embeds" not in taken:
        unread = message("negative-unsupported", name=type(pipe).__name__)
        warnings[unread] = None
    if family.negative_is_optional and negative_prompt is None:
        taken = {key for key in taken if not key.startswith("negative_")}
    return EncodedPrompts({key: x for key, x in inputs.items() if key in taken}, sections, tuple(warnings))


def _settings(
    method: str | None, normalizer: str | None, clip_skip: int | None, pooled: str, mode: EncoderMode
) -> EncodingSettings:
    if clip_skip is not None and (type(clip_skip) is not int or clip_skip < 0):
        raise SettingError(f"clip_skip is {clip_skip!r}; it must be a whole number from 0, or None.")
    if pooled not in ("clean", "weighted"):
        raise SettingError(f"pooled is {pooled!r}; it must be 'clean' or 'weighted'.")
    if mode not in get_args(EncoderMode):
        raise SettingError(f"mode is {mode!r}; it must be {' or '.join(map(repr, get_args(EncoderMode)))}.")
    return EncodingSettings(
        method=None if method is None else get_method(method),
        normalizer=get_normalizer(normalizer or "none"),
        clip_skip=clip_skip,
        weighted_pool=pooled == "weighted",
        mode=mode,
    )


def paired_prompts(
    prompt: Prompts, negative_prompt: Prompts | None, dialect: str
) -> tuple[list[Prompt], list[Prompt]]:
    """The prompts as parsed, and as many negative prompts; one negative prompt serves all.

    Raises:
        SettingError: no prompts, something else than prompts, or another number of negative ones.
    """
    prompts = as_prompts(prompt, dialect)
    negatives = as_prompts("" if negative_prompt is None else negative_prompt, dialect)
    if len(negatives) not in (1, len(prompts)):
        raise SettingError(
            f"There are {len(negatives)} negative prompts for {len(prompts)} prompts; "
            f"give 1 or {len(prompts)}."
        )
    return prompts, negatives * (len(prompts) // len(negatives))


def as_prompts(prompts: Prompts, dialect: str) -> list[Prompt]:
    """The prompts as parsed, one or many."""
    if isinstance(prompts, Mapping) or not isinstance(prompts, (str, Prompt, Iterable)):
        hint = "; encoded prompts go to the pipeline itself" if isinstance(prompts, Mapping) else ""
        raise SettingError(
            f"The prompt is a {type(prompts).__name__}; it must be text, a Prompt or a list of these{hint}."
        )
    many = [prompts] if isinstance(prompts, (str, Prompt)) else list(prompts)
    for number, prompt in enumerate(many):
        if not isinstance(prompt, (str, Prompt)):
            raise SettingError(f"Prompt {number} is a {type(prompt).__name__}; it must be text or a Prompt.")
    if not many:
        raise SettingError("The list of prompts is empty; at least one is needed.")
    return [parse(prompt, dialect) if isinstance(prompt, str) else prompt for prompt in many]
