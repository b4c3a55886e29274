"""The families of models: which text encoders each has, and how their outputs are joined.

Everything that differs between Stable Diffusion 1 and 2, SDXL, Stable Diffusion 3 and FLUX is data in this
file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from promptweight.conditioning.encoder import EncoderKind, TextEncoder
from promptweight.errors import ModelError, SettingError


@dataclass(frozen=True)
class Family:
    """A family of pipelines.

    `sections` lie one after the other along the rows of `prompt_embeds`; the encoders of one section share
    its rows and lie side by side along the channels. `pooled` names the encoders whose pooled vectors are
    joined. An encoder that a pipeline was loaded without is left out, or leaves zeros where
    `absent_is_zeros`. `max_sequence_length` is how long the text of an encoder without chunks may be. Where
    `negative_is_optional` an empty negative prompt is not passed on, since passing one doubles the work.
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
)


def family_of(pipe: Any) -> Family:
    """The family of a pipeline, by its class or a class it is made from.

    Raises `ModelError` naming the families and pipelines that are supported.
    """
    names = {base.__name__ for base in type(pipe).__mro__}
    for family in FAMILIES:
        if names.intersection(family.pipelines):
            return family
    known = "; ".join(f"{family.name}: {', '.join(family.pipelines)}" for family in FAMILIES)
    raise ModelError(
        f"{type(pipe).__name__} is no pipeline whose prompts can be weighted. Supported: {known}."
    )


def open_encoders(
    pipe: Any, family: Family, max_sequence_length: int | None = None
) -> dict[EncoderKind, TextEncoder]:
    """The text encoders that a pipeline was loaded with."""
    if max_sequence_length is not None and family.max_sequence_length is None:
        raise SettingError(
            f"max_sequence_length is {max_sequence_length}, but {family.name} reads long prompts in chunks."
        )
    encoders = {
        kind: TextEncoder(
            kind,
            getattr(pipe, kind.tokenizer),
            getattr(pipe, kind.model),
            pipe._execution_device,
            None if kind.chunked else max_sequence_length or family.max_sequence_length,
        )
        for kind in family.encoders
        if getattr(pipe, kind.model, None) is not None and getattr(pipe, kind.tokenizer, None) is not None
    }
    if not encoders:
        raise ModelError(f"This {type(pipe).__name__} was loaded without its text encoders.")
    return encoders
