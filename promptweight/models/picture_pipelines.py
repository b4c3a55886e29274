"""Pipelines that begin from pictures or follow them, made of the parts of another one, and ControlNets."""

from __future__ import annotations

import inspect
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from promptweight.conditioning import describe_families, look_up_family
from promptweight.errors import ModelError
from promptweight.messages import message
from promptweight.models.files import ModelOrigin, get_folder_origin, split_hub_id, summarize_error
from promptweight.models.loading import (
    choose_device,
    choose_dtype,
    find_origin,
    get_origin,
    set_origin,
    silence_libraries,
)

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline

_CONTROLNET_SIZES = ("block_out_channels", "cross_attention_dim", "joint_attention_dim")
"""Settings in which a ControlNet equals its model."""
_INPAINTING_CHANNELS = {"StableDiffusion3": (16, 33), "StableDiffusion": (4, 9)}
"""Input channels of the models that diffusers' pipelines inpaint with, by the beginning of their names."""


def load_controlnet(model: str | os.PathLike[str], *, device: str = "auto", dtype: Any = "auto") -> Any:
    """Load a ControlNet, to be given to `make_picture_pipeline`.

    Args:
        model: a folder that `save_pretrained` of diffusers wrote, or a hub id, with `@revision` if wanted.
        device: as in `load`.
        dtype: as in `load`; give that of the pipeline.

    Raises:
        ModelError: it cannot be found or read, or is not a ControlNet.
        SettingError: an argument has an invalid value.
    """
    name, chosen_device = os.fspath(model), choose_device(device)
    try:
        source, revision = (name, None) if Path(name).is_dir() else split_hub_id(name)
    except ModelError as error:
        raise ModelError(message("controlnet-unknown", name=name)) from error
    with silence_libraries():
        from diffusers import AutoModel

        chosen_dtype = choose_dtype(dtype, chosen_device, is_transformer=False)
        try:
            found = AutoModel.from_pretrained(
                source, revision=revision, torch_dtype=chosen_dtype, use_safetensors=True
            )
        except Exception as error:  # the hub client and safetensors raise errors of many libraries
            reason = summarize_error(error)
            if Path(name).is_dir():
                raise ModelError(message("controlnet-unreadable", name=name, reason=reason)) from error
            raise ModelError(message("controlnet-not-found", name=name, reason=reason)) from error
    if "ControlNet" not in type(found).__name__:
        raise ModelError(message("controlnet-class", name=name, kind=type(found).__name__))
    found.to(chosen_device)
    folder = get_folder_origin(Path(name).resolve()) if Path(name).is_dir() else None
    set_origin(found, ModelOrigin(source, revision) if folder is None else folder)
    return found


def make_picture_pipeline(pipe: Pipeline, arguments: Collection[str], controlnet: Any = None) -> Pipeline:
    """Return the pipeline that takes pictures as these arguments, made of the parts of another one.

    Args:
        pipe: a pipeline; it is returned if it takes them itself.
        arguments: `image` for a picture to begin from, and `mask_image` for the part of it that changes;
            empty where a ControlNet alone follows a picture.
        controlnet: a ControlNet of the model, as `load_controlnet` returns it, for a pipeline that also
            follows a picture in its form (see `get_control_argument`).

    Raises:
        ModelError: diffusers has no such pipeline for the model, it is not supported, it does not inpaint
            latents of the model's number of channels, or the ControlNet is of another model.
    """
    accepted = inspect.signature(type(pipe).__call__).parameters.keys()
    if controlnet is None and set(arguments) <= accepted:
        return pipe
    more = {} if controlnet is None else {"controlnet": controlnet}
    try:
        with silence_libraries():
            import diffusers

            kind: Any = diffusers.AutoPipelineForText2Image
            if arguments:
                kind = diffusers.AutoPipelineForImage2Image
            if "mask_image" in arguments:
                kind = diffusers.AutoPipelineForInpainting
            made: Pipeline = kind.from_pipe(pipe, **more)
    except AttributeError as error:  # some pipelines read attributes of their own class of ControlNets
        if controlnet is None:
            raise
        raise _unfit_controlnet(pipe, controlnet) from error
    except ValueError as error:
        if controlnet is not None:
            raise ModelError(message("controlnet-unsupported", pipeline=type(pipe).__name__)) from error
        names = ", ".join(arguments)
        raise ModelError(
            message("pictures-unsupported", pipeline=type(pipe).__name__, names=names)
        ) from error
    if look_up_family(made) is None:
        raise ModelError(
            message(
                "model-class-unsupported",
                model=get_origin(pipe).model,
                name=type(made).__name__,
                known=describe_families(),
            )
        )
    if controlnet is not None:
        _check_controlnet(made, controlnet, pipe)
    if "mask_image" in arguments:
        _check_inpainting(made)
    made.set_progress_bar_config(disable=True)
    set_origin(made, get_origin(pipe))
    return made


def _check_controlnet(made: Pipeline, controlnet: Any, pipe: Pipeline) -> None:
    """Check that a ControlNet has the class and the sizes of the model of `pipe`, the origin of `made`.

    Raises:
        ModelError: it is of another model.
    """
    annotation = inspect.signature(type(made).__init__).parameters["controlnet"].annotation
    kinds = tuple(each for each in get_args(annotation) or (annotation,) if isinstance(each, type))
    if kinds and not isinstance(controlnet, kinds):
        raise _unfit_controlnet(pipe, controlnet)
    own = _get_denoiser(made).config
    for name in _CONTROLNET_SIZES:
        pair = [_as_list(config.get(name)) for config in (own, controlnet.config)]
        if None not in pair and pair[0] != pair[1]:
            raise ModelError(
                message(
                    "controlnet-size",
                    pipeline=type(pipe).__name__,
                    setting=name,
                    own=own[name],
                    name=str(find_origin(controlnet) or type(controlnet).__name__),
                    value=controlnet.config[name],
                )
            )


def _as_list(value: Any) -> Any:
    """Return a tuple as a list: a configuration has one or the other, whether it was read or computed."""
    return list(value) if isinstance(value, tuple) else value


def _unfit_controlnet(pipe: Pipeline, controlnet: Any) -> ModelError:
    kind = type(controlnet).__name__
    name = str(find_origin(controlnet) or kind)
    return ModelError(message("controlnet-unfit", pipeline=type(pipe).__name__, name=name, kind=kind))


def _get_denoiser(pipe: Pipeline) -> Any:
    return pipe.components.get("transformer") or pipe.components["unet"]


def _check_inpainting(made: Pipeline) -> None:
    """Check the input channels of a model that inpaints.

    Raises:
        ModelError: diffusers' pipeline does not inpaint with this number of channels.
    """
    kind, channels = type(made).__name__, _get_denoiser(made).config.get("in_channels")
    known = next((each for name, each in _INPAINTING_CHANNELS.items() if kind.startswith(name)), None)
    if known is not None and channels not in known:
        text = message(
            "mask-channels",
            pipeline=kind,
            known=", ".join(map(str, known)),
            model=str(get_origin(made)),
            channels=channels,
        )
        raise ModelError(text)


def get_control_argument(pipe: Pipeline) -> str | None:
    """Return the argument by which a pipeline takes a picture whose form it follows; None for none."""
    accepted = inspect.signature(type(pipe).__call__).parameters
    if "control_image" in accepted:
        return "control_image"
    return "image" if "controlnet" in pipe.components and "image" in accepted else None


def get_controlnet_origin(pipe: Pipeline) -> ModelOrigin | None:
    """Return the origin of a pipeline's ControlNet that `load_controlnet` loaded; None for none."""
    controlnet = getattr(pipe, "controlnet", None)
    return None if controlnet is None else find_origin(controlnet)
