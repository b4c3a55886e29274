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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptweight import validation
from promptweight.conditioning import advice_in, advice_of, look_up_family
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


def set_origin(part: Any, origin: ModelOrigin) -> None:
    """Set the origin of a pipeline, or of a part of one."""
    _ORIGINS[part] = origin


def find_origin(part: Any) -> ModelOrigin | None:
    """Return the origin that was set for a pipeline, or for a part of one; None for none."""
    return _ORIGINS.get(part)


def get_origin(pipe: Pipeline) -> ModelOrigin:
    """Return the origin of `pipe`; for a pipeline that `load` did not make, the name in its configuration.

    A folder is reduced to its last part, since image metadata must not contain paths of a user's disk.
    """
    if pipe in _ORIGINS:
        return _ORIGINS[pipe]
    configured = str(getattr(pipe.config, "_name_or_path", "") or type(pipe).__name__)
    return get_folder_origin(Path(configured)) if Path(configured).is_dir() else ModelOrigin(configured)


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
