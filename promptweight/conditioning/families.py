"""The families of models: which text encoders each has, and how their outputs are joined.

Everything that differs between Stable Diffusion 1 and 2, SDXL, Stable Diffusion 3 and FLUX is data in this
file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from promptweight.conditioning.text_encoder import EncoderKind, TextEncoder
from promptweight.errors import ModelError, SettingError
from promptweight.messages import message

LONGEST_SEQUENCE = 512
"""The longest text in tokens that the pipelines with a T5 text encoder take."""


@dataclass(frozen=True)
class AbsentEncoder:
    """The zeros that stand for a text encoder which the pipeline was loaded without."""

    rows: int
    channels: int
    pooled_channels: int
    device: torch.device
    dtype: torch.dtype

    def zeros(self, *shape: int) -> Tensor:
        """Zeros of this shape where the other encoders' output is."""
        return torch.zeros(shape, device=self.device, dtype=self.dtype)


@dataclass(frozen=True)
class Family:
    """A family of pipelines.

    `sections` lie one after the other along the rows of `prompt_embeds`; the encoders of one section share
    its rows and lie side by side along the channels. `pooled` names the encoders whose pooled vectors are
    joined. An encoder that a pipeline was loaded without is left out, or leaves zeros where
    `absent_is_zeros`. `max_sequence_length` is the usual length of the encoders that `takes_length`. Where
    `negative_is_optional` the pipelines do without a negative prompt if there is none.
    """

    name: str
    pipelines: tuple[str, ...]
    sections: tuple[tuple[EncoderKind, ...], ...]
    pooled: tuple[EncoderKind, ...] = ()
    absent_is_zeros: bool = False
    max_sequence_length: int | None = None
    negative_is_optional: bool = False

    @property
    def encoders(self) -> tuple[EncoderKind, ...]:
        """Every text encoder of the family, once."""
        return tuple(dict.fromkeys([*(kind for section in self.sections for kind in section), *self.pooled]))


_SD_CLIP = EncoderKind("clip", "tokenizer", "text_encoder", "last", method="a1111", masks_padding=True)
_CLIP_L = EncoderKind("clip_l", "tokenizer", "text_encoder", "penultimate", method="scale")
_CLIP_G = EncoderKind("clip_g", "tokenizer_2", "text_encoder_2", "penultimate", method="scale")
_SD3_T5 = EncoderKind(
    "t5",
    "tokenizer_3",
    "text_encoder_3",
    "last",
    "none",
    chunked=False,
    takes_length=True,
    skips_layers=False,
    is_clip=False,
)
_FLUX_CLIP = EncoderKind(
    "clip", "tokenizer", "text_encoder", "last", "none", chunked=False, skips_layers=False
)
_FLUX_T5 = EncoderKind(
    "t5",
    "tokenizer_2",
    "text_encoder_2",
    "last",
    "none",
    chunked=False,
    takes_length=True,
    skips_layers=False,
    is_clip=False,
)

FAMILIES: tuple[Family, ...] = (
    Family(
        "Stable Diffusion 1 and 2",
        (
            "StableDiffusionPipeline",
            "StableDiffusionImg2ImgPipeline",
            "StableDiffusionInpaintPipeline",
            "StableDiffusionControlNetPipeline",
            "StableDiffusionControlNetImg2ImgPipeline",
            "StableDiffusionControlNetInpaintPipeline",
            "StableDiffusionAdapterPipeline",
            "StableDiffusionDepth2ImgPipeline",
            "StableDiffusionPAGPipeline",
            "StableDiffusionPAGImg2ImgPipeline",
            "StableDiffusionPAGInpaintPipeline",
            "StableDiffusionControlNetPAGPipeline",
            "StableDiffusionControlNetPAGInpaintPipeline",
            "LatentConsistencyModelPipeline",
            "LatentConsistencyModelImg2ImgPipeline",
        ),
        sections=((_SD_CLIP,),),
    ),
    Family(
        "Stable Diffusion XL",
        (
            "StableDiffusionXLPipeline",
            "StableDiffusionXLImg2ImgPipeline",
            "StableDiffusionXLInpaintPipeline",
            "StableDiffusionXLControlNetPipeline",
            "StableDiffusionXLControlNetImg2ImgPipeline",
            "StableDiffusionXLControlNetInpaintPipeline",
            "StableDiffusionXLControlNetUnionPipeline",
            "StableDiffusionXLControlNetUnionImg2ImgPipeline",
            "StableDiffusionXLControlNetUnionInpaintPipeline",
            "StableDiffusionXLAdapterPipeline",
            "StableDiffusionXLPAGPipeline",
            "StableDiffusionXLPAGImg2ImgPipeline",
            "StableDiffusionXLPAGInpaintPipeline",
            "StableDiffusionXLControlNetPAGPipeline",
            "StableDiffusionXLControlNetPAGImg2ImgPipeline",
        ),
        sections=((_CLIP_L, _CLIP_G),),
        pooled=(_CLIP_G,),
    ),
    Family(
        "Stable Diffusion 3",
        (
            "StableDiffusion3Pipeline",
            "StableDiffusion3Img2ImgPipeline",
            "StableDiffusion3InpaintPipeline",
            "StableDiffusion3ControlNetPipeline",
            "StableDiffusion3ControlNetInpaintingPipeline",
            "StableDiffusion3PAGPipeline",
            "StableDiffusion3PAGImg2ImgPipeline",
        ),
        sections=((_CLIP_L, _CLIP_G), (_SD3_T5,)),
        pooled=(_CLIP_L, _CLIP_G),
        absent_is_zeros=True,
        max_sequence_length=256,
    ),
    Family(
        "FLUX.1",
        (
            "FluxPipeline",
            "FluxImg2ImgPipeline",
            "FluxInpaintPipeline",
            "FluxControlNetPipeline",
            "FluxControlNetImg2ImgPipeline",
            "FluxControlNetInpaintPipeline",
            "FluxControlPipeline",
            "FluxControlImg2ImgPipeline",
            "FluxControlInpaintPipeline",
            "FluxFillPipeline",
            "FluxKontextPipeline",
            "FluxKontextInpaintPipeline",
        ),
        sections=((_FLUX_T5,),),
        pooled=(_FLUX_CLIP,),
        absent_is_zeros=True,
        max_sequence_length=512,
        negative_is_optional=True,
    ),
)


def find_family(pipe: Any) -> Family:
    """The family of a pipeline, by its class or a class it is made from.

    Raises `ModelError` naming the families and pipelines that are supported.
    """
    names = {base.__name__ for base in type(pipe).__mro__}
    for family in FAMILIES:
        if names.intersection(family.pipelines):
            return family
    known = "; ".join(f"{family.name}: {', '.join(family.pipelines)}" for family in FAMILIES)
    raise ModelError(
        message(
            "pipeline-unsupported",
            name=type(pipe).__name__,
            known=known,
        )
    )


def get_text_encoders(
    pipe: Any, family: Family, max_sequence_length: int | None = None
) -> dict[EncoderKind, TextEncoder]:
    """The text encoders that a pipeline was loaded with; `SettingError` for an impossible length."""
    length = max_sequence_length
    if length is not None and family.max_sequence_length is None:
        raise SettingError(
            f"max_sequence_length is {length}, but {family.name} reads long prompts in chunks."
        )
    if length is not None and not (type(length) is int and 2 <= length <= LONGEST_SEQUENCE):
        raise SettingError(
            f"max_sequence_length is {length!r}; it must be a whole number from 2 to {LONGEST_SEQUENCE}."
        )
    return {
        kind: TextEncoder(
            kind,
            getattr(pipe, kind.tokenizer),
            getattr(pipe, kind.model),
            pipe._execution_device,
            (length or family.max_sequence_length) if kind.takes_length else None,
        )
        for kind in family.encoders
        if getattr(pipe, kind.model, None) is not None and getattr(pipe, kind.tokenizer, None) is not None
    }


def get_absent_encoders(
    pipe: Any,
    family: Family,
    encoders: Mapping[EncoderKind, TextEncoder],
    max_sequence_length: int | None = None,
) -> dict[EncoderKind, AbsentEncoder]:
    """What stands for the text encoders that the pipeline was loaded without, in families where zeros do."""
    if not family.absent_is_zeros:
        return {}
    some = next(iter(encoders.values()))
    place = {"device": some.device, "dtype": some.model.dtype}
    config = pipe.transformer.config
    pooled = config.pooled_projection_dim
    pooled -= sum(encoders[kind].model.config.projection_dim for kind in family.pooled if kind in encoders)
    absent = {}
    for kind in family.encoders:
        if kind in encoders:
            continue
        if kind.takes_length:
            rows = max_sequence_length or family.max_sequence_length or 0
            absent[kind] = AbsentEncoder(rows, config.joint_attention_dim, 0, **place)
        else:
            # An encoder writes as many channels as it pools; two that are absent leave one block of zeros.
            absent[kind] = AbsentEncoder(pipe.tokenizer_max_length, pooled, pooled, **place)
            pooled = 0
    return absent
