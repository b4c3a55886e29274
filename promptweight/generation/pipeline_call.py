"""Keyword arguments of a pipeline's call, from the options of a generation."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from promptweight.errors import SettingError
from promptweight.generation.options import MAX_SIDE, GenerateOptions
from promptweight.messages import message
from promptweight.validation import check_integer, check_number, did_you_mean

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from promptweight.protocols import Pipeline

StepEnd = Callable[["Pipeline", int, Any, dict[str, Any]], dict[str, Any]]
"""Function of the pipeline, the step from 0, its timestep and the tensors, which it returns."""

_OWN_ARGUMENTS = frozenset(
    (
        "prompt",
        "generator",
        "output_type",
        "return_dict",
        "callback",
        "callback_steps",
        "callback_on_step_end",
        "callback_on_step_end_tensor_inputs",
        "num_images_per_prompt",
    )
)
"""Arguments of pipelines that `promptweight.generate` sets itself, besides embeddings."""
_REWRITING_ARGUMENTS = frozenset(("caption_upsample_temperature", "use_pe"))
"""Arguments with which pipelines rewrite the prompt that they encode."""
_VIDEO_ARGUMENTS = frozenset(("num_frames", "frames", "video"))
"""Arguments of pipelines that draw videos."""
_PICTURES = ("image", "mask_image", "control_image", "control_mask")
"""Arguments of pipelines that have a picture; where a pipeline takes one, it cannot run without."""
_OPTIONAL_PICTURES = ("FluxKontextPipeline", "Flux2Pipeline", "Flux2KleinPipeline")
"""Pipelines that also draw images from a prompt alone."""
_SIDE_NAMES = {"height": message("height"), "width": message("width")}


def open_pipeline(pipe: str | os.PathLike[str] | DiffusionPipeline) -> Any:
    """Return `pipe` if it is a pipeline; load it if it is a name or folder that `promptweight.load` takes.

    Raises:
        SettingError: it is neither.
        ModelError: the model cannot be loaded.
    """
    from promptweight.models import load

    if isinstance(pipe, (str, os.PathLike)):
        return load(pipe)
    if not callable(pipe) or not hasattr(pipe, "components"):
        raise SettingError(message("pipeline-type", kind=type(pipe).__name__))
    return pipe


def build_call(pipe: Pipeline, options: GenerateOptions) -> dict[str, Any]:
    """Return the keyword arguments of the pipeline's call, without the text inputs.

    Raises:
        SettingError: the pipeline draws videos, has no such argument, lacks a picture that it needs, does not
            draw images of this size, or would do no step.
    """
    from promptweight.conditioning import look_up_family
    from promptweight.models import get_default_guidance_scale

    if not _VIDEO_ARGUMENTS.isdisjoint(inspect.signature(type(pipe).__call__).parameters):
        raise SettingError(message("video-generate", pipeline=type(pipe).__name__))
    check_pipeline_kwargs(pipe, options)
    check_pictures(pipe, options)
    guidance = options.guidance_scale
    family = look_up_family(pipe)
    call = {
        "num_inference_steps": options.num_inference_steps,
        "guidance_scale" if family is None else family.guidance_argument: get_default_guidance_scale(pipe)
        if guidance is None
        else guidance,
        **check_size(pipe, *_choose_size(pipe, options)),
        **options.pipeline_kwargs,
    }
    count_steps(pipe, call)
    return call


def get_encoded_image(pipe: Pipeline, options: GenerateOptions) -> Any:
    """Return the image with which the pipeline encodes the text; None where it encodes the text alone."""
    from promptweight.conditioning import look_up_family

    family = look_up_family(pipe)
    is_encoded = family is not None and family.encodes_image
    return options.pipeline_kwargs.get("image") if is_encoded else None


def check_pipeline_kwargs(pipe: Pipeline, options: GenerateOptions) -> None:
    """Check that the pipeline takes the further keyword arguments.

    Raises:
        SettingError: it does not, or promptweight sets an argument itself.
    """
    from promptweight.conditioning import look_up_family

    accepted = set(inspect.signature(type(pipe).__call__).parameters) - {"self"}
    option_names = {each.name for each in fields(options)}
    own, family = _OWN_ARGUMENTS | option_names, look_up_family(pipe)
    if family is not None and family.outputs:  # the text is encoded before the call, with the defaults
        own |= _REWRITING_ARGUMENTS | set(inspect.signature(type(pipe).encode_prompt).parameters)
        own -= {"image"}
    for name in options.pipeline_kwargs:
        if name in own or name.endswith(("prompt_embeds", "prompt_embeds_mask")):
            raise SettingError(message("pipeline-argument-own", name=name))
        if name not in accepted:
            known = sorted(accepted - _OWN_ARGUMENTS | option_names)
            raise SettingError(
                message(
                    "pipeline-argument",
                    name=name,
                    pipeline=type(pipe).__name__,
                    hint=did_you_mean(name, known),
                )
            )


def list_needed_arguments(pipeline: type) -> list[str]:
    """Return the arguments that a pipeline cannot run without: its pictures, and the kind of control."""
    name, accepted = pipeline.__name__, inspect.signature(pipeline.__call__).parameters
    if name in _OPTIONAL_PICTURES:
        return []
    needed = [each for each in _PICTURES if each in accepted]
    return [*needed, "control_mode"] if "ControlNetUnion" in name else needed


def check_pictures(pipe: Pipeline, options: GenerateOptions) -> None:
    """Check that the pipeline gets the pictures that it needs.

    Raises:
        SettingError: it does not.
    """
    given = options.pipeline_kwargs
    missing = [name for name in list_needed_arguments(type(pipe)) if given.get(name) is None]
    if missing:
        pipeline, names = type(pipe).__name__, ", ".join(missing)
        example = ", ".join(f"{name}=…" for name in missing)
        raise SettingError(message("picture-missing", pipeline=pipeline, names=names, example=example))


def count_steps(pipe: Pipeline, call: Mapping[str, Any]) -> int:
    """Return the number of steps that a call really does: fewer where it begins from a noisy picture.

    Raises:
        SettingError: the strength is not a number from 0 to 1, or leaves no step.
    """
    steps: int = call["num_inference_steps"]
    parameters = inspect.signature(type(pipe).__call__).parameters
    if "strength" not in parameters or type(pipe).__name__.startswith("LatentConsistency"):
        return steps
    strength = check_number("strength", call.get("strength", parameters["strength"].default), 0, 1)
    if getattr(pipe, "transformer", None) is None:
        left = int(steps * strength)
    else:
        left = steps - int(steps - steps * strength)
    if left < 1 and call.get("denoising_start") is None:  # which replaces the strength
        raise SettingError(message("strength-without-steps", strength=strength, steps=steps))
    return max(1, left)


def make_step_arguments(pipe: Pipeline, on_step_end: StepEnd) -> dict[str, Any]:
    """Return the keyword arguments by which a pipeline calls `on_step_end` after every step.

    Raises:
        SettingError: its call has no argument for that.
    """
    accepted = inspect.signature(type(pipe).__call__).parameters
    if "callback_on_step_end" in accepted:
        return {"callback_on_step_end": on_step_end}
    if "callback" not in accepted:
        raise SettingError(message("pipeline-callback", pipeline=type(pipe).__name__))

    def callback(step: int, timestep: Any, latents: Any) -> None:
        on_step_end(pipe, step, timestep, {"latents": latents})

    return {"callback": callback, "callback_steps": 1}


def _choose_size(pipe: Pipeline, options: GenerateOptions) -> tuple[int | None, int | None]:
    """Return the height and width of the options; without them, those of a picture that the image follows.

    It is one that changes in part, or whose form the image follows.
    """
    from PIL import Image

    arguments, given = options.pipeline_kwargs, (options.height, options.width)
    picture = arguments.get("control_image")
    if picture is None and (arguments.get("mask_image") is not None or "controlnet" in pipe.components):
        picture = arguments.get("image")
    accepts_size = "height" in inspect.signature(type(pipe).__call__).parameters
    if given != (None, None) or not (accepts_size and isinstance(picture, Image.Image)):
        return given
    multiple = _get_size_multiple(pipe)
    return picture.height // multiple * multiple or multiple, picture.width // multiple * multiple or multiple


def _get_size_multiple(pipe: Pipeline) -> int:
    """Return the number of which both sides of an image must be multiples."""
    factor: int = getattr(pipe, "vae_scale_factor", 8)
    # latents are packed in patches by the pipeline, whose image processor knows them, or by the model
    packed = getattr(getattr(pipe, "image_processor", None), "config", {}).get("vae_scale_factor", factor)
    patch = getattr(getattr(pipe, "transformer", None), "config", {}).get("patch_size", 1)
    return max(8, packed, factor * patch)


def check_size(pipe: Pipeline, height: int | None, width: int | None) -> dict[str, int]:
    """Return the sizes that are not None, checked against the latents and patches of the model.

    Raises:
        SettingError: a size is out of range or not a multiple of the size of a latent (or patch), or the
            pipeline takes the size of its picture.
    """
    accepted = inspect.signature(type(pipe).__call__).parameters
    multiple = _get_size_multiple(pipe)
    sizes = {}
    for name, value in (("height", height), ("width", width)):
        if value is not None:
            label = _SIDE_NAMES[name]
            sizes[name] = check_integer(label, value, multiple, MAX_SIDE)
            if value % multiple:
                raise SettingError(message("size-multiple", name=label, value=value, multiple=multiple))
            if name not in accepted:
                pipeline = type(pipe).__name__
                raise SettingError(message("size-of-picture", name=label, value=value, pipeline=pipeline))
    return sizes
