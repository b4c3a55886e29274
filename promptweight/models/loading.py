"""Loading a text-to-image pipeline by one name: built in, a folder, or an id on the Hugging Face Hub.

    pipe = load("mini")
    pipe = load("stable-diffusion-v1-5/stable-diffusion-v1-5@main", device="cuda")

What a name may be, and how files are checked before a model is built of them, is in `model_files`.
"""

from __future__ import annotations

import inspect
import os
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptweight import validation
from promptweight.errors import ModelError, SettingError
from promptweight.messages import message
from promptweight.models import single_file
from promptweight.models.files import (
    ModelOrigin,
    advice_in,
    advice_of,
    check_safetensors,
    check_weights,
    find_model,
    get_folder_origin,
    read_model_index,
    summarize_error,
)
from promptweight.models.schedulers import make_scheduler

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

DTYPES = ("float32", "float16", "bfloat16")
OFFLOADS = ("model",)

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
    """Load a diffusers pipeline, ready to run on `device`.

    Args:
        model: the name of a built-in model (`promptweight.models.BUILTIN_MODELS`), a folder that `save_pretrained`
            wrote, a single `.safetensors` file of Stable Diffusion 1, 2 or XL, or a hub id, with `@revision`
            if one is wanted. Without a network, hub ids come from the local cache.
        device: `auto` (the first of cuda, mps, xpu, cpu that is there) or a device's name such as `cuda:1`.
        dtype: `float32`, `float16`, `bfloat16`, the torch type itself, or `auto`: float32 on the CPU, else
            bfloat16 for transformers where the device has it and float16 for the rest.
        revision: branch, tag or commit of a hub id; the same as `@revision` in `model`.
        variant: the variant of the weight files to read, such as `fp16`.
        scheduler: a sampler by AUTOMATIC1111's name (`DPM++ 2M Karras`) or a scheduler's class name in
            diffusers; None keeps the model's own.
        offload: `model` keeps each part of the model in main memory until it is its turn on the device, for
            models that do not fit there whole; None puts all of it on the device.

    Raises:
        ModelError: the model cannot be found, read or trusted.
        SettingError: the device is not there, the type or the scheduler is not known, or there is no device
            to offload from.
    """
    name = os.fspath(model)
    chosen_device = choose_device(device)
    _check_offload(offload, chosen_device)
    with silence_libraries():
        path, found = find_model(name, revision, variant)
        pipe: Any
        if path.is_file():
            check_safetensors(path)
            pipe = single_file.build(path, choose_dtype(dtype, chosen_device, is_transformer=False))
        else:
            index = read_model_index(path, name)
            check_weights(path, index)
            advice_in(path)  # raises here, not on the first picture
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
                message(
                    "model-too-large",
                    name=name,
                    device=chosen_device,
                    reason=summarize_error(error),
                )
            ) from error
    _ORIGINS[pipe] = found
    return pipe


def get_origin(pipe: Any) -> ModelOrigin:
    """Return where `pipe` came from; for one that `load` did not make, the name diffusers remembers.

    A folder is told by its last part alone: what is written into picture files should not show a user's disk.
    """
    if pipe in _ORIGINS:
        return _ORIGINS[pipe]
    remembered = str(getattr(pipe.config, "_name_or_path", "") or type(pipe).__name__)
    return get_folder_origin(Path(remembered)) if Path(remembered).is_dir() else ModelOrigin(remembered)


def default_guidance_scale(pipe: Any) -> float:
    """Return the guidance for `pipe` where none is asked for: its makers' advice, else its class's."""
    advice = advice_of(pipe)
    if advice is not None:
        return advice.guidance_scale
    parameter = inspect.signature(type(pipe).__call__).parameters.get("guidance_scale")
    default = None if parameter is None else parameter.default
    return float(default) if isinstance(default, (int, float)) else 1.0


def choose_device(device: str = "auto") -> str:
    """Return the device to use: `device` itself where it is there, or the best there is for `auto`.

    Raises:
        SettingError: there is no such device here.
    """
    import torch

    there = [kind for kind in ("cuda", "mps", "xpu") if getattr(torch, kind).is_available()] + ["cpu"]
    if device == "auto":
        return there[0]
    kind, _, number = str(device).partition(":")
    count = getattr(torch, kind).device_count() if kind in there else 0
    if kind not in there or (number and not (number.isdecimal() and int(number) < count)):
        raise SettingError(f"device {device!r} is not there; this machine has: {', '.join(there)}")
    return device


def choose_dtype(dtype: str | torch.dtype, device: str, *, is_transformer: bool) -> torch.dtype:
    """Return the torch type for `dtype` as described in `load`.

    Raises:
        SettingError: `dtype` is none of the types that pipelines run in.
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
    raise SettingError(f"dtype is {dtype!r}; valid: auto, {', '.join(DTYPES)}")


def _check_offload(offload: str | None, device: str) -> None:
    """Raise `SettingError` where `offload` is no way of offloading, or there is nothing to offload from."""
    if offload is None:
        return
    validation.check_choice("offload", offload, OFFLOADS)
    if device == "cpu":
        raise SettingError(
            f"offload is {offload!r}, which moves parts of the model between main memory and an accelerator; "
            "the device is the cpu, which has none"
        )


@contextmanager
def silence_libraries() -> Iterator[None]:
    """Silences diffusers' and transformers' log lines, bars and warnings inside, and puts all back."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers.utils import logging as diffusers_logging
        from transformers.utils import logging as transformers_logging

        before = [
            (library, library.get_verbosity(), library.is_progress_bar_enabled())
            for library in (diffusers_logging, transformers_logging)
        ]
        try:
            for library, _, _ in before:
                library.set_verbosity(library.CRITICAL)
                library.disable_progress_bar()
            yield
        finally:
            for library, verbosity, bars in before:
                library.set_verbosity(verbosity)
                if bars:
                    library.enable_progress_bar()


def _build(
    folder: Path, index: dict[str, Any], name: str, dtype: torch.dtype, variant: str | None
) -> DiffusionPipeline:
    from diffusers import DiffusionPipeline

    # Many copies of a model leave the safety checker's folder out; it is optional to the pipeline.
    absent = "safety_checker" in index and not (folder / "safety_checker").is_dir()
    given: dict[str, Any] = {"safety_checker": None} if absent else {}
    # Components saved as missing (SD3 without T5) must be named again for diffusers to do without them.
    given |= {part: None for part, value in index.items() if value == [None, None]}
    try:
        return DiffusionPipeline.from_pretrained(
            folder, dtype=dtype, variant=variant, use_safetensors=True, local_files_only=True, **given
        )
    except Exception as error:  # the folder's content decides which of many errors this is
        raise ModelError(
            message(
                "model-load-failed",
                name=name,
                folder=folder,
                reason=summarize_error(error),
            )
        ) from error
