"""Encoding of weighted prompts: the embeddings that a diffusers pipeline takes, token tables and warnings."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from promptweight.conditioning.advice import advice_of
from promptweight.conditioning.encoding_warnings import collect_warnings
from promptweight.conditioning.families import MAX_CLIP_SKIP, Family, check_weighting
from promptweight.conditioning.family_lookup import find_family
from promptweight.conditioning.lora_scale import check_lora_scale, scale_text_loras
from promptweight.conditioning.pipeline_encoders import (
    check_max_sequence_length,
    get_absent_encoders,
    get_text_encoders,
)
from promptweight.conditioning.pipeline_encoding import PipelineEncoder
from promptweight.conditioning.prompt_embeds import BatchEncoder, EncoderSection, EncodingSettings
from promptweight.conditioning.token_table import TokenTable
from promptweight.conditioning.unused_fields import find_unused_fields
from promptweight.errors import ModelError, SettingError
from promptweight.messages import Message, message
from promptweight.prompt import ParseTree, Prompt, as_prompt
from promptweight.validation import check_integer
from promptweight.weighting import KEY_WEIGHTINGS, Weighting

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline

Prompts = str | Prompt | Sequence[str | Prompt]
"""One prompt or several, as text or parsed."""


@dataclass(frozen=True)
class EncodedPrompts:
    """Encoded prompts.

    Attributes:
        inputs: the keyword arguments for the call of the pipeline: tensors, or lists of them for pipelines
            that take the embeddings of each prompt in a list.
        sections: the text encoders and token tables of each range of rows of `prompt_embeds`.
        warnings: messages for the user about parts of the prompts without effect.
        settings: the settings of the encoding, which a session follows.
        other_negative_embeds: the embeddings of negative prompts that the pipeline does not take, but a
            session may use; None where it does, or has a default of its own.
    """

    inputs: dict[str, Any]
    sections: tuple[EncoderSection, ...]
    warnings: tuple[Message, ...]
    settings: EncodingSettings
    other_negative_embeds: Tensor | None = None

    @property
    def negative_prompt_embeds(self) -> Tensor | None:
        """Embeddings of the negative prompts, also where the pipeline takes none; None without any."""
        return self.inputs.get("negative_prompt_embeds", self.other_negative_embeds)

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
    pipe: Pipeline,
    prompt: Prompts,
    negative_prompt: Prompts | None = "",
    *,
    weighting: Weighting | str | None = None,
    dialect: str = "pw",
    clip_skip: int | None = None,
    max_sequence_length: int | None = None,
    lora_scale: float | None = None,
    image: Any = None,
) -> dict[str, Any]:
    """Encode weighted prompts to the keyword arguments that `pipe(...)` takes.

        inputs = encode(pipe, "um (gato:1.4) vermelho", "feio")
        image = pipe(**inputs, num_inference_steps=25).images[0]

    Arguments and errors are those of `encode_prompts`; the result is its `inputs`.
    """
    return encode_prompts(
        pipe,
        prompt,
        negative_prompt,
        weighting=weighting,
        dialect=dialect,
        clip_skip=clip_skip,
        max_sequence_length=max_sequence_length,
        lora_scale=lora_scale,
        image=image,
    ).inputs


@torch.no_grad()
def encode_prompts(
    pipe: Pipeline,
    prompt: Prompts,
    negative_prompt: Prompts | None = "",
    *,
    weighting: Weighting | str | None = None,
    dialect: str = "pw",
    clip_skip: int | None = None,
    max_sequence_length: int | None = None,
    lora_scale: float | None = None,
    image: Any = None,
    in_session: bool = False,
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
        weighting: how weights act, as `Weighting.of` takes it; None is the default of the dialect, else of
            each text encoder.
        dialect: the dialect of prompts given as text.
        clip_skip: the number of last layers of the CLIP text encoders to skip, 0 or more; as in the
            pipelines, negative prompts skip none.
        max_sequence_length: the length in tokens of a T5 text; None is the family's default.
        lora_scale: the scale of the LoRAs in the text encoders, as pipelines take it in
            `cross_attention_kwargs` or `joint_attention_kwargs`; None is 1.
        image: the image or images of the pipeline's call, where it encodes the text together with them
            (Qwen-Image Edit); None elsewhere.
        in_session: whether the result is for `promptweight.attach`: weights that act in the denoiser's
            attention stay out of the embeddings.

    Raises:
        ModelError: the pipeline is of no supported family, or was loaded without text encoders.
        SettingError: an argument has an invalid value.
    """
    family = find_family(pipe)
    _check_image(pipe, family, image)
    prompts, negatives = parse_prompt_pairs(prompt, negative_prompt, dialect)
    settings = _make_settings(pipe, family, weighting, clip_skip, lora_scale, in_session)
    warnings: dict[Message, None] = {}
    inputs: dict[str, Any]
    if family.outputs:
        check_max_sequence_length(family, max_sequence_length)
        _check_weights(family, (*prompts, *negatives), settings, warnings)
        encoder = PipelineEncoder(pipe, family, settings, max_sequence_length, image)
        sections, inputs = encoder.encode_batch(prompts, negatives)
        if not in_session:
            _check_lengths(sections, inputs)
    else:
        sections, inputs = _encode_sections(
            pipe, family, prompts, negatives, settings, max_sequence_length, warnings
        )
    if negative_prompt is None and getattr(pipe.config, "force_zeros_for_empty_prompt", False):
        inputs |= {key: torch.zeros_like(x) for key, x in inputs.items() if key.startswith("negative_")}
    warnings |= dict.fromkeys(collect_warnings(sections, family, settings))
    every_prompt = (*prompts, *negatives)
    warnings |= dict.fromkeys(find_unused_fields(Weighting.of(weighting), every_prompt, family, settings))
    parameters = inspect.signature(type(pipe).__call__).parameters
    accepted = set(parameters)
    has_negative = any(prompt.text.strip() for prompt in negatives)
    if has_negative and "negative_prompt_embeds" not in accepted and not in_session:
        unused = message("negative-unsupported", name=type(pipe).__name__)
        warnings[unused] = None
    if family.negative_is_optional and negative_prompt is None:
        accepted = {key for key in accepted if not key.startswith("negative_")}
    accepted_inputs = {key: x for key, x in inputs.items() if key in accepted}
    text = parameters.get("negative_prompt")
    if "negative_prompt_embeds" in accepted_inputs and text is not None and text.default is not None:
        accepted_inputs["negative_prompt"] = None  # its default text is refused beside embeddings
    others = None if negative_prompt is None else inputs["negative_prompt_embeds"]
    if "negative_prompt_embeds" in accepted:
        others = None
    return EncodedPrompts(accepted_inputs, sections, tuple(warnings), settings, others)


def _encode_sections(
    pipe: Pipeline,
    family: Family,
    prompts: Sequence[Prompt],
    negatives: Sequence[Prompt],
    settings: EncodingSettings,
    max_sequence_length: int | None,
    warnings: dict[Message, None],
) -> tuple[tuple[EncoderSection, ...], dict[str, Any]]:
    """Encode prompts with the text encoders of a pipeline, weighted; return sections and inputs."""
    encoders = get_text_encoders(pipe, family, max_sequence_length)
    if not any(kind in encoders for section in family.sections for kind in section):
        raise ModelError(message("text-encoders-missing", pipeline=type(pipe).__name__))
    batch = BatchEncoder(
        prompts={"positive": prompts, "negative": negatives},
        encoders=encoders,
        absent=get_absent_encoders(pipe, family, encoders, max_sequence_length),
        settings=settings,
        warn=lambda message: warnings.setdefault(message),
    )
    with scale_text_loras(encoders.values(), settings.lora_scale):
        sections, embeds = batch.encode_sections(family.sections)
        vectors = batch.encode_pooled(family.pooled) if family.pooled else {}
    inputs = {"prompt_embeds": embeds["positive"], "negative_prompt_embeds": embeds["negative"]}
    if family.pooled:
        inputs["pooled_prompt_embeds"] = vectors["positive"]
        inputs["negative_pooled_prompt_embeds"] = vectors["negative"]
    return sections, inputs


def _check_image(pipe: Pipeline, family: Family, image: Any) -> None:
    """Check that an image is given where the text is encoded together with it, and only there.

    Raises:
        SettingError: it is missing, or has no use.
    """
    if family.encodes_image and image is None:
        raise SettingError(message("encoding-image-missing", pipeline=type(pipe).__name__))
    if not family.encodes_image and image is not None:
        raise SettingError(message("encoding-image-unused", pipeline=type(pipe).__name__))


def _check_weights(
    family: Family,
    prompts: Sequence[Prompt],
    settings: EncodingSettings,
    warnings: dict[Message, None],
) -> None:
    """Check that weights of prompts act where a pipeline encodes itself; warn where not as in their dialect.

    Raises:
        SettingError: they act in attention, and the encoding is for no session.
    """
    weighted = [prompt for prompt in prompts if any(span.is_weighted for span in prompt.spans)]
    if not weighted or settings.weighting.name == "none":
        return
    if not settings.in_session:
        name = settings.word_default(weighted[0].dialect)
        raise SettingError(message("weighting-needs-session", weighting=name))
    is_default = settings.weighting.name is None
    if is_default and not all(settings.weighting.is_presence(prompt.dialect) for prompt in weighted):
        warnings[message("weights-in-attention", family=family.name)] = None


def _check_lengths(sections: Sequence[EncoderSection], inputs: Mapping[str, Any]) -> None:
    """Check that the texts of a role have one length where the pipeline takes no padding.

    Raises:
        SettingError: they have several.
    """
    if any(name.endswith("_mask") for name in inputs) or isinstance(inputs["prompt_embeds"], list):
        return
    for tables in (sections[0].positive, sections[0].negative):
        lengths = {table.rows for table in tables}
        if len(lengths) > 1:
            raise SettingError(message("text-lengths", lengths=sorted(lengths)))


def _make_settings(
    pipe: Pipeline,
    family: Family,
    weighting: Weighting | str | None,
    clip_skip: int | None,
    lora_scale: float | None,
    in_session: bool,
) -> EncodingSettings:
    checked = Weighting.of(weighting)
    if (advice := advice_of(pipe)) is not None:
        checked = checked.calibrated(advice.weighting)
    check_weighting(checked, family)
    if checked.name in KEY_WEIGHTINGS and not in_session:
        raise SettingError(message("weighting-needs-session", weighting=checked.name))
    if clip_skip is not None:
        check_integer("clip_skip", clip_skip, 0, MAX_CLIP_SKIP)
    return EncodingSettings(
        checked, clip_skip, in_session, check_lora_scale(lora_scale), weights_embeddings=not family.outputs
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
        raise SettingError(message("negative-prompt-number", number=len(prompts), given=len(negatives)))
    return prompts, negatives * (len(prompts) // len(negatives))


def parse_prompts(prompts: Prompts, dialect: str) -> list[Prompt]:
    """Parse one prompt or a list of prompts.

    Raises:
        SettingError: there are no prompts, or one is not text or a Prompt.
    """
    if isinstance(prompts, Mapping) or not isinstance(prompts, (str, Prompt, ParseTree, Iterable)):
        advice = "; pass encoded prompts to the pipeline" if isinstance(prompts, Mapping) else ""
        raise SettingError(message("prompts-type", kind=type(prompts).__name__, advice=advice))
    many = [prompts] if isinstance(prompts, (str, Prompt, ParseTree)) else list(prompts)
    for number, prompt in enumerate(many):
        if not isinstance(prompt, (str, Prompt, ParseTree)):
            raise SettingError(message("prompt-number-type", number=number, kind=type(prompt).__name__))
    if not many:
        raise SettingError(message("prompts-empty"))
    return [as_prompt(prompt, dialect) for prompt in many]
