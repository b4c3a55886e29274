"""Model families: the text encoders of each, and the way their outputs are joined.

All differences between the text inputs of pipelines are data in this file, which needs no torch. A family
either has its text encoders run by promptweight, which weights their embeddings, or has `outputs`: its
pipelines then encode the text themselves (`promptweight.conditioning.pipeline_encoding`), with their own
template, padding and masks; weights act in attention, and below 1 also on the rows of the other words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.weighting import KEY_WEIGHTINGS, Weighting

MAX_SEQUENCE_LENGTH = 512
"""Length in tokens of the longest text that the pipelines with a T5 text encoder accept."""

MAX_CLIP_SKIP = 100
"""More layers than any CLIP text encoder has; the limit of a model is checked when a prompt is encoded."""


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
        scales_loras: whether its pipelines scale its LoRAs by the "scale" of their attention arguments.
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
    scales_loras: bool = True


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
        outputs: the values that the pipelines' own `encode_prompt` returns, in order, by the names under
            which their call takes them, "" for those that it does not take; empty where promptweight encodes.
            Without names that begin with `negative_`, negative prompts are encoded by a call of their own.
        guidance_argument: the argument of the pipelines' call for the scale of classifier-free guidance, or
            of the guidance that the model was distilled with.
        encodes_image: whether the pipelines encode the text together with the image that they edit.
        is_video: whether its images are the frames of videos, each with its maps.
        supports_edits: whether prompt edits are possible; not where the model has layers for the text alone,
            or attends to an image beside the one that it draws.
        is_derived: whether the family was derived from the class of a pipeline, and its model is probed.
    """

    name: str
    pipelines: tuple[str, ...]
    sections: tuple[tuple[EncoderKind, ...], ...]
    pooled: tuple[EncoderKind, ...] = ()
    absent_is_zeros: bool = False
    max_sequence_length: int | None = None
    negative_is_optional: bool = False
    outputs: tuple[str, ...] = ()
    guidance_argument: str = "guidance_scale"
    encodes_image: bool = False
    is_video: bool = False
    supports_edits: bool = True
    is_derived: bool = False

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
    scales_loras=False,
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


def language_model(name: str, tokenizer: str = "tokenizer", model: str = "text_encoder") -> EncoderKind:
    """Return a text encoder that its pipeline runs: its embeddings carry no weights."""
    return EncoderKind(
        name,
        tokenizer,
        model,
        "last",
        "none",
        is_chunked=False,
        has_max_sequence_length=True,
        supports_clip_skip=False,
        is_clip=False,
        scales_loras=False,
    )


_MASKED_PAIR = (
    *("prompt_embeds", "prompt_attention_mask"),
    *("negative_prompt_embeds", "negative_prompt_attention_mask"),
)
"""Outputs of pipelines that encode a prompt and its negative prompt in one call, each with a mask."""

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
            "StableDiffusionInstructPix2PixPipeline",
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
            "StableDiffusionXLInstructPix2PixPipeline",
        ),
        sections=((_CLIP_L, _CLIP_G),),
        pooled=(_CLIP_G,),
    ),
    Family(
        "AnimateDiff",
        (
            "AnimateDiffPipeline",
            "AnimateDiffVideoToVideoPipeline",
            "AnimateDiffControlNetPipeline",
            "AnimateDiffVideoToVideoControlNetPipeline",
            "AnimateDiffPAGPipeline",
        ),
        sections=((_SD_CLIP,),),
        is_video=True,
    ),
    Family(
        "AnimateDiff XL",
        ("AnimateDiffSDXLPipeline",),
        sections=((_CLIP_L, _CLIP_G),),
        pooled=(_CLIP_G,),
        is_video=True,
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
    Family(
        "Qwen-Image",
        (
            "QwenImagePipeline",
            "QwenImageImg2ImgPipeline",
            "QwenImageInpaintPipeline",
            "QwenImageControlNetPipeline",
            "QwenImageControlNetInpaintPipeline",
        ),
        sections=((language_model("qwen"),),),
        max_sequence_length=512,
        negative_is_optional=True,
        outputs=("prompt_embeds", "prompt_embeds_mask"),
        guidance_argument="true_cfg_scale",
    ),
    Family(
        "Qwen-Image Edit",
        ("QwenImageEditPipeline", "QwenImageEditPlusPipeline", "QwenImageEditInpaintPipeline"),
        sections=((language_model("qwen"),),),
        max_sequence_length=512,
        negative_is_optional=True,
        outputs=("prompt_embeds", "prompt_embeds_mask"),
        guidance_argument="true_cfg_scale",
        encodes_image=True,
        supports_edits=False,
    ),
    Family(
        "Z-Image",
        ("ZImagePipeline", "ZImageImg2ImgPipeline", "ZImageInpaintPipeline"),
        sections=((language_model("qwen"),),),
        max_sequence_length=512,
        outputs=("prompt_embeds", "negative_prompt_embeds"),
        supports_edits=False,
    ),
    Family(
        "Lumina-Image 2",
        ("Lumina2Pipeline",),
        sections=((language_model("gemma"),),),
        max_sequence_length=256,
        outputs=_MASKED_PAIR,
        supports_edits=False,
    ),
    Family(
        "Chroma",
        ("ChromaPipeline", "ChromaImg2ImgPipeline"),
        sections=((language_model("t5"),),),
        max_sequence_length=512,
        outputs=(
            *("prompt_embeds", "", "prompt_attention_mask"),
            *("negative_prompt_embeds", "", "negative_prompt_attention_mask"),
        ),
    ),
    Family(
        "Krea 2",
        ("Krea2Pipeline",),
        sections=((language_model("qwen"),),),
        max_sequence_length=512,
        negative_is_optional=True,
        outputs=("prompt_embeds", "prompt_embeds_mask"),
        supports_edits=False,
    ),
    Family(
        "SANA",
        ("SanaPipeline", "SanaPAGPipeline"),
        sections=((language_model("gemma"),),),
        max_sequence_length=300,
        outputs=_MASKED_PAIR,
    ),
    Family(
        "SANA Sprint",
        ("SanaSprintPipeline", "SanaSprintImg2ImgPipeline"),
        sections=((language_model("gemma"),),),
        max_sequence_length=300,
        negative_is_optional=True,
        outputs=("prompt_embeds", "prompt_attention_mask"),
    ),
    Family(
        "PixArt-Alpha",
        ("PixArtAlphaPipeline",),
        sections=((language_model("t5"),),),
        max_sequence_length=120,
        outputs=_MASKED_PAIR,
    ),
    Family(
        "PixArt-Sigma",
        ("PixArtSigmaPipeline", "PixArtSigmaPAGPipeline"),
        sections=((language_model("t5"),),),
        max_sequence_length=300,
        outputs=_MASKED_PAIR,
    ),
    Family(
        "AuraFlow",
        ("AuraFlowPipeline",),
        sections=((language_model("t5"),),),
        max_sequence_length=256,
        outputs=_MASKED_PAIR,
    ),
    Family(
        "CogView3+",
        ("CogView3PlusPipeline",),
        sections=((language_model("t5"),),),
        max_sequence_length=224,
        outputs=("prompt_embeds", "negative_prompt_embeds"),
    ),
    Family(
        "CogView4",
        ("CogView4Pipeline", "CogView4ControlPipeline"),
        sections=((language_model("glm"),),),
        max_sequence_length=1024,
        outputs=("prompt_embeds", "negative_prompt_embeds"),
    ),
    Family(
        "ERNIE-Image",
        ("ErnieImagePipeline",),
        sections=((language_model("mistral"),),),
        outputs=("prompt_embeds",),
    ),
    Family(
        "LTX-Video",
        ("LTXPipeline", "LTXImageToVideoPipeline"),
        sections=((language_model("t5"),),),
        max_sequence_length=128,
        outputs=_MASKED_PAIR,
        is_video=True,
    ),
    Family(
        "CogVideoX",
        ("CogVideoXPipeline", "CogVideoXVideoToVideoPipeline", "CogVideoXImageToVideoPipeline"),
        sections=((language_model("t5"),),),
        max_sequence_length=226,
        outputs=("prompt_embeds", "negative_prompt_embeds"),
        is_video=True,
    ),
    Family(
        "Wan 2.1",
        ("WanPipeline", "WanVideoToVideoPipeline", "WanImageToVideoPipeline"),
        sections=((language_model("umt5"),),),
        max_sequence_length=512,
        outputs=("prompt_embeds", "negative_prompt_embeds"),
        is_video=True,
    ),
    Family(
        "SkyReels V2",
        ("SkyReelsV2Pipeline",),
        sections=((language_model("umt5"),),),
        max_sequence_length=512,
        outputs=("prompt_embeds", "negative_prompt_embeds"),
        is_video=True,
    ),
    Family(
        "SANA-Video",
        ("SanaVideoPipeline", "SanaImageToVideoPipeline"),
        sections=((language_model("gemma"),),),
        max_sequence_length=300,
        outputs=_MASKED_PAIR,
        is_video=True,
    ),
    Family(
        "PRX",
        ("PRXPipeline",),
        sections=((language_model("t5gemma"),),),
        outputs=_MASKED_PAIR,
    ),
    Family(
        "NucleusMoE-Image",
        ("NucleusMoEImagePipeline",),
        sections=((language_model("qwen", "processor"),),),
        max_sequence_length=1024,
        outputs=("prompt_embeds", "prompt_embeds_mask"),
    ),
    Family(
        "Ovis-Image",
        ("OvisImagePipeline",),
        sections=((language_model("qwen"),),),
        max_sequence_length=256,
        outputs=("prompt_embeds", "negative_prompt_embeds", "", ""),
    ),
    Family(
        "Bria",
        ("BriaPipeline",),
        sections=((language_model("t5"),),),
        max_sequence_length=128,
        outputs=("prompt_embeds", "negative_prompt_embeds", ""),
    ),
    Family(
        "FLUX.2",
        ("Flux2Pipeline",),
        sections=((language_model("mistral"),),),
        max_sequence_length=512,
        negative_is_optional=True,
        outputs=("prompt_embeds", ""),
    ),
    Family(
        "FLUX.2 klein",
        ("Flux2KleinPipeline", "Flux2KleinInpaintPipeline"),
        sections=((language_model("qwen"),),),
        max_sequence_length=512,
        negative_is_optional=True,
        outputs=("prompt_embeds", ""),
    ),
)
"""The supported model families."""


def check_weighting(weighting: Weighting, family: Family) -> None:
    """Check that a family has a weighting: few, where its pipelines encode the text themselves.

    Raises:
        SettingError: the weighting acts on embeddings or in a text encoder that promptweight does not run.
    """
    known_names = ("presence", *KEY_WEIGHTINGS)
    if family.outputs and weighting.name not in (None, "none", *known_names):
        known = ", ".join(known_names)
        raise SettingError(
            message("weighting-embeddings", family=family.name, known=known, weighting=weighting.name)
        )
