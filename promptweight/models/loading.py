"""Loading of text-to-image pipelines by name: a built-in model, a folder, a file or a Hugging Face Hub id.

    pipe = load("mini")
    pipe = load("stable-diffusion-v1-5/stable-diffusion-v1-5@main", device="cuda")

`promptweight.models.files` finds a model by its name and checks its files.
"""

from __future__ import annotations

import importlib
import inspect
import os
import warnings
import weakref
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from promptweight import validation
from promptweight.conditioning import advice_in, advice_of, describe_families, look_up_family
from promptweight.errors import ModelError, SettingError
from promptweight.messages import Message, message
from promptweight.models import single_file
from promptweight.models.component_weights import check_complete, check_number_types, load_text_models
from promptweight.models.config_limits import check_configs
from promptweight.models.files import (
    ModelOrigin,
    check_safetensors,
    check_weights,
    find_model,
    get_folder_origin,
    list_components,
    read_family,
    read_model_index,
    split_hub_id,
    summarize_error,
)
from promptweight.models.schedulers import make_scheduler

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

    from promptweight.protocols import Pipeline

DTYPES = ("float32", "float16", "bfloat16")
"""Torch types in which pipelines run."""

OFFLOADS = ("model",)
"""Ways of offloading a pipeline to main memory."""

_CONTROLNET_SIZES = ("block_out_channels", "cross_attention_dim", "joint_attention_dim")
"""Settings in which a ControlNet equals its model."""

_INPAINTING_CHANNELS = {"StableDiffusion3": (16, 33), "StableDiffusion": (4, 9)}
"""Input channels of the models that diffusers' pipelines inpaint with, by the beginning of their names."""

_ORIGINS: weakref.WeakKeyDictionary[Any, ModelOrigin] = weakref.WeakKeyDictionary()


def load(
    model: str | os.PathLike[str] = "mini",
    *,
    device: str = "auto",
    dtype: str | torch.dtype = "auto",
    revision: str | None = None,
    variant: str | None = None,
    scheduler: str | None = None,
    offload: str | None = None,
) -> DiffusionPipeline:
    """Load a diffusers pipeline and move it to `device`.

    Args:
        model: the name of a built-in model (`promptweight.models.BUILTIN_MODELS`), a folder that
            `save_pretrained` wrote, a single `.safetensors` file of Stable Diffusion 1, 2 or XL, or a hub id,
            with `@revision` if wanted. Without a network, hub ids come from the local cache.
        device: `auto` (the first available of cuda, mps, xpu, cpu) or the name of a device such as `cuda:1`.
        dtype: `float32`, `float16`, `bfloat16`, the torch type itself, or `auto`: float32 on the CPU, else
            bfloat16 for transformers where the device has it and float16 for the rest.
        revision: branch, tag or commit of a hub id; the same as `@revision` in `model`.
        variant: the variant of the weight files to read, such as `fp16`.
        scheduler: a sampler name of AUTOMATIC1111 (`DPM++ 2M Karras`) or the class name of a scheduler of
            diffusers; None is the model's own.
        offload: `model` keeps the parts of the model in main memory and moves each to the device while it
            runs, for models that do not fit there whole; None moves all of it to the device.

    Raises:
        ModelError: the model cannot be found, read or trusted, or its pipeline is of a class that is not
            supported, which is checked before weights are downloaded or read.
        SettingError: an argument has an invalid value, or the device is the CPU and `offload` is set.
    """
    name = os.fspath(model)
    chosen_device = choose_device(device)
    _check_offload(offload, chosen_device)
    with silence_libraries():
        path, model_origin = find_model(name, revision, variant)
        pipe: Pipeline
        if path.is_file():
            check_safetensors(path)
            pipe = single_file.build(path, choose_dtype(dtype, chosen_device, is_transformer=False))
        else:
            index = read_model_index(path, name)
            read_family(index, repr(name))
            check_weights(path, index)
            check_configs(path, list_components(index), name)
            advice_in(path)  # a damaged file is an error now instead of at the first image
            chosen_dtype = choose_dtype(dtype, chosen_device, is_transformer="transformer" in index)
            pipe = _build(path, index, name, chosen_dtype, variant)
        if scheduler is not None:
            pipe.scheduler = make_scheduler(scheduler, pipe.scheduler)
        pipe.set_progress_bar_config(disable=True)
        try:
            if offload is None:
                pipe.to(chosen_device)
            else:
                pipe.enable_model_cpu_offload(device=chosen_device)
        except RuntimeError as error:  # torch's out-of-memory errors are RuntimeErrors
            raise ModelError(
                message("model-too-large", name=name, device=chosen_device, reason=summarize_error(error))
            ) from error
    _ORIGINS[pipe] = model_origin
    return pipe


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
    _ORIGINS[found] = ModelOrigin(source, revision) if folder is None else folder
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
    _ORIGINS[made] = get_origin(pipe)
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
                    name=str(_ORIGINS.get(controlnet, type(controlnet).__name__)),
                    value=controlnet.config[name],
                )
            )


def _as_list(value: Any) -> Any:
    """Return a tuple as a list: a configuration has one or the other, whether it was read or computed."""
    return list(value) if isinstance(value, tuple) else value


def _unfit_controlnet(pipe: Pipeline, controlnet: Any) -> ModelError:
    kind = type(controlnet).__name__
    name = str(_ORIGINS.get(controlnet, kind))
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


def get_origin(pipe: Pipeline) -> ModelOrigin:
    """Return the origin of `pipe`; for a pipeline that `load` did not make, the name in its configuration.

    A folder is reduced to its last part, since image metadata must not contain paths of a user's disk.
    """
    if pipe in _ORIGINS:
        return _ORIGINS[pipe]
    configured = str(getattr(pipe.config, "_name_or_path", "") or type(pipe).__name__)
    return get_folder_origin(Path(configured)) if Path(configured).is_dir() else ModelOrigin(configured)


def get_controlnet_origin(pipe: Pipeline) -> ModelOrigin | None:
    """Return the origin of a pipeline's ControlNet that `load_controlnet` loaded; None for none."""
    controlnet = getattr(pipe, "controlnet", None)
    return None if controlnet is None else _ORIGINS.get(controlnet)


def get_default_guidance_scale(pipe: Pipeline) -> float:
    """Return the default guidance scale of `pipe`: its model's recommendation, else that of its class."""
    advice = advice_of(pipe)
    if advice is not None:
        return advice.guidance_scale
    family = look_up_family(pipe)
    name = "guidance_scale" if family is None else family.guidance_argument
    parameter = inspect.signature(type(pipe).__call__).parameters.get(name)
    default = None if parameter is None else parameter.default
    return float(default) if isinstance(default, (int, float)) else 1.0


def choose_device(device: str = "auto") -> str:
    """Return `device`, or the first available device for `auto`.

    Raises:
        SettingError: the device is not available.
    """
    import torch

    available = [kind for kind in ("cuda", "mps", "xpu") if getattr(torch, kind).is_available()] + ["cpu"]
    if device == "auto":
        return available[0]
    kind, _, number = str(device).partition(":")
    count = getattr(torch, kind).device_count() if kind in available else 0
    if kind not in available or (number and not (number.isdecimal() and int(number) < count)):
        raise SettingError(_unknown_choice("device", device, available))
    return device


def choose_dtype(dtype: str | torch.dtype, device: str, *, is_transformer: bool) -> torch.dtype:
    """Return the torch type of `dtype`, as described in `load`.

    Raises:
        SettingError: pipelines do not run in this type.
    """
    import torch

    if dtype == "auto":
        if device == "cpu":
            return torch.float32
        if is_transformer and (not device.startswith("cuda") or torch.cuda.is_bf16_supported()):
            return torch.bfloat16
        return torch.float16
    if isinstance(dtype, str) and dtype in DTYPES:
        return getattr(torch, dtype)
    if isinstance(dtype, torch.dtype) and str(dtype).removeprefix("torch.") in DTYPES:
        return dtype
    raise SettingError(_unknown_choice("dtype", dtype, DTYPES))


def _unknown_choice(name: str, value: object, choices: Sequence[str]) -> Message:
    """Return the message for a value that is neither one of `choices` nor `auto`."""
    return message("choice", name=name, choices=", ".join(["auto", *choices]), value=value, hint="")


def _check_offload(offload: str | None, device: str) -> None:
    """Raise `SettingError` where `offload` is unknown, or the device is the CPU."""
    if offload is None:
        return
    validation.check_choice("offload", offload, OFFLOADS)
    if device == "cpu":
        raise SettingError(message("offload-on-cpu", offload=offload))


@contextmanager
def silence_libraries(*names: str) -> Iterator[None]:
    """Silence log lines, progress bars and warnings of libraries inside the block; restore them afterwards.

    `names` are `diffusers` and `transformers`, both by default.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        libraries: list[Any] = [
            importlib.import_module(f"{name}.utils.logging")
            for name in names or ("diffusers", "transformers")
        ]
        before = [
            (library, library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries
        ]
        try:
            for library in libraries:
                library.set_verbosity(library.CRITICAL)
                library.disable_progress_bar()
            yield
        finally:
            for library, verbosity, has_bars in before:
                library.set_verbosity(verbosity)
                if has_bars:
                    library.enable_progress_bar()


def _build(
    folder: Path, index: dict[str, Any], name: str, dtype: torch.dtype, variant: str | None
) -> DiffusionPipeline:
    from diffusers import DiffusionPipeline

    # Many copies of a model lack the folder of the safety checker, which is optional for the pipeline.
    lacks_checker = "safety_checker" in index and not (folder / "safety_checker").is_dir()
    components: dict[str, Any] = {"safety_checker": None} if lacks_checker else {}
    # Components saved as missing (SD3 without T5) must be passed as None, or diffusers does not load.
    components |= {part: None for part, value in index.items() if value == [None, None]}
    check_number_types(folder, name)
    try:
        components = load_text_models(folder, index, name, dtype, variant) | components
        pipe = DiffusionPipeline.from_pretrained(
            folder, dtype=dtype, variant=variant, use_safetensors=True, local_files_only=True, **components
        )
        check_complete(pipe, name)
    except ModelError:
        raise
    except Exception as error:  # the error depends on the content of the folder
        raise ModelError(
            message("model-load-failed", name=name, folder=folder, reason=summarize_error(error))
        ) from error
    return pipe
