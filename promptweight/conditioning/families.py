"""Model families: the text encoders of each, and the way their outputs are joined.

All differences between Stable Diffusion 1 and 2, SDXL, Stable Diffusion 3 and FLUX are data in this file,
which needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from promptweight.errors import ModelError
from promptweight.messages import message

MAX_SEQUENCE_LENGTH = 512
"""Length in tokens of the longest text that the pipelines with a T5 text encoder accept."""


@dataclass(frozen=True, slots=True)
class EncoderKind:
    """One text encoder of a model family.

    Attributes:
        name: its name in token tables, warnings and metadata.
        tokenizer: the attribute of the pipeline that holds its tokenizer.
        model: the attribute of the pipeline that holds the model.
        layer: the output for the denoiser: the normalized "last" one, or the hidden states before the last
            layer.
        method: the weighting method that applies unless the user names another.
        is_chunked: whether it encodes long prompts in chunks; otherwise in one chunk of `max_sequence_length`
            or of the tokenizer's length.
        has_max_sequence_length: whether `max_sequence_length` is the length of its chunk.
        supports_clip_skip: whether `clip_skip` applies to it.
        masks_padding: whether its pipelines follow `use_attention_mask` in its configuration.
        is_clip: whether weights can act inside it.
    """

    name: str
    tokenizer: str
    model: str
    layer: Literal["last", "penultimate"]
    method: str
    is_chunked: bool = True
    has_max_sequence_length: bool = False
    supports_clip_skip: bool = True
    masks_padding: bool = False
    is_clip: bool = True


@dataclass(frozen=True)
class Family:
    """A family of pipelines with the same text encoders.

    Attributes:
        name: its name for users.
        pipelines: the names of its pipeline classes in diffusers.
        sections: the text encoders by sections of `prompt_embeds`. Sections follow each other along the rows;
            the encoders of one section share its rows and are concatenated along the channels.
        pooled: the encoders whose pooled vectors are concatenated.
        absent_is_zeros: whether zeros replace the output of an encoder that the pipeline was loaded without;
            otherwise the encoder is left out.
        max_sequence_length: the default length of the encoders with `has_max_sequence_length`.
        negative_is_optional: whether the pipelines run without negative embeddings where there is no negative
            prompt.
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
    is_chunked=False,
    has_max_sequence_length=True,
    supports_clip_skip=False,
    is_clip=False,
)
_FLUX_CLIP = EncoderKind(
    "clip", "tokenizer", "text_encoder", "last", "none", is_chunked=False, supports_clip_skip=False
)
_FLUX_T5 = EncoderKind(
    "t5",
    "tokenizer_2",
    "text_encoder_2",
    "last",
    "none",
    is_chunked=False,
    has_max_sequence_length=True,
    supports_clip_skip=False,
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
"""The supported model families."""


def find_family(pipe: Any) -> Family:
    """Return the family of a pipeline, by its class or one of its base classes.

    Raises:
        ModelError: there is none; the error lists the supported families and pipelines.
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
