"""Loading a text-to-image pipeline by one name: built in, a folder, or an id on the Hugging Face Hub.

    pipe = load("mini")
    pipe = load("stable-diffusion-v1-5/stable-diffusion-v1-5@main", device="cuda")

Only safetensors are read, since other weight files can run code. Every file is opened and its header checked
before the model is built, so that a broken download is named instead of ending in a general message.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptweight import mini
from promptweight.errors import ModelError, SettingError

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

DTYPES = ("float32", "float16", "bfloat16")
_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Origin:
    """Where a pipeline came from.

    Attributes:
        model: the name to load it by.
        revision: the commit, where one is known.
        guidance_scale: the guidance that its makers advise, from a file `promptweight.json` in its folder.
    """

    model: str
    revision: str | None = None
    guidance_scale: float | None = None


_ORIGINS: weakref.WeakKeyDictionary[Any, Origin] = weakref.WeakKeyDictionary()


def load(
    model: str | os.PathLike[str] = "mini",
    *,
    device: str = "auto",
    dtype: str | torch.dtype = "auto",
    revision: str | None = None,
    variant: str | None = None,
) -> DiffusionPipeline:
    """Loads a diffusers pipeline, ready to run on `device`.

    Args:
        model: the name of a built-in model (`promptweight.mini.NAMES`), a folder that `save_pretrained`
            wrote, or a hub id, with `@revision` if one is wanted. Without a network, hub ids come from the
            local cache.
        device: `auto` (the first of cuda, mps, xpu, cpu that is there) or a device's name such as `cuda:1`.
        dtype: `float32`, `float16`, `bfloat16`, the torch type itself, or `auto`: float32 on the CPU, else
            bfloat16 for transformers where the device has it and float16 for the rest.
        revision: branch, tag or commit of a hub id; the same as `@revision` in `model`.
        variant: the variant of the weight files to read, such as `fp16`.

    Raises:
        ModelError: the model cannot be found, read or trusted.
        SettingError: the device is not there, or the type is not known.
    """
    name = os.fspath(model)
    chosen_device = choose_device(device)
    with quiet():
        folder, found = _find(name, revision, variant)
        index = _read_index(folder, name)
        _check_weights(folder, index)
        chosen_dtype = choose_dtype(dtype, chosen_device, is_transformer="transformer" in index)
        pipe: Any = _build(folder, index, name, chosen_dtype, variant)
        found = replace(found, guidance_scale=_advised_guidance(folder))
        pipe.set_progress_bar_config(disable=True)
        try:
            pipe.to(chosen_device)
        except RuntimeError as error:  # torch's out-of-memory errors are RuntimeErrors
            raise ModelError(f"{name!r} does not fit on {chosen_device}: {_first_line(error)}") from error
    _ORIGINS[pipe] = found
    return pipe


def origin(pipe: Any) -> Origin:
    """Returns where `pipe` came from; for one that `load` did not make, the name diffusers remembers.

    A folder is told by its last part alone: what is written into picture files should not show a user's disk.
    """
    if pipe in _ORIGINS:
        return _ORIGINS[pipe]
    remembered = str(getattr(pipe.config, "_name_or_path", "") or type(pipe).__name__)
    return _origin_of_folder(Path(remembered)) if Path(remembered).is_dir() else Origin(remembered)


def default_guidance_scale(pipe: Any) -> float:
    """Returns the guidance for `pipe` where none is asked for: its makers' advice, else its class's."""
    advised = origin(pipe).guidance_scale
    if advised is not None:
        return advised
    parameter = inspect.signature(type(pipe).__call__).parameters.get("guidance_scale")
    default = None if parameter is None else parameter.default
    return float(default) if isinstance(default, (int, float)) else 1.0


def choose_device(device: str = "auto") -> str:
    """Returns the device to use: `device` itself where it is there, or the best there is for `auto`.

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
    """Returns the torch type for `dtype` as described in `load`.

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


@contextmanager
def quiet() -> Iterator[None]:
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


def _find(name: str, revision: str | None, variant: str | None) -> tuple[Path, Origin]:
    """Returns the local folder of a model, downloaded if need be, and what to call it."""
    if name in mini.NAMES:
        return mini.path(name), Origin(name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder, _origin_of_folder(folder.resolve())
    if folder.is_file():
        raise ModelError(
            f"{name!r} is a single file; a model is a folder with a model_index.json, "
            "as save_pretrained writes it"
        )
    hub_id, _, tagged = name.partition("@")
    if not _HUB_ID.fullmatch(hub_id):
        raise ModelError(
            f"there is no model {name!r}: it is no built-in model ({', '.join(mini.NAMES)}), no folder, "
            "and not the shape of a hub id (owner/name or owner/name@revision)"
        )
    return _download(hub_id, tagged or revision, variant)


def _download(hub_id: str, revision: str | None, variant: str | None) -> tuple[Path, Origin]:
    from diffusers import DiffusionPipeline

    try:
        folder = Path(
            DiffusionPipeline.download(hub_id, revision=revision, variant=variant, use_safetensors=True)
        )
    except Exception as error:  # each layer under the hub client has errors of its own
        which = f"{hub_id!r}" + (f" at revision {revision!r}" if revision else "")
        raise ModelError(
            f"there is no folder {which}, and as a hub id it can neither be downloaded nor found whole in "
            f"the cache; check the name, the network and the access rights ({_first_line(error)})"
        ) from error
    return folder, Origin(hub_id, _origin_of_folder(folder).revision or revision)


def _origin_of_folder(folder: Path) -> Origin:
    """Returns the name of a folder; one inside the hub's cache is called by its id and commit."""
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
        return Origin(folder.parent.parent.name.removeprefix("models--").replace("--", "/"), folder.name)
    return Origin(folder.name)


def _read_index(folder: Path, name: str) -> dict[str, Any]:
    """Returns the model_index.json: which class each component of the pipeline has."""
    path = folder / "model_index.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{name!r} holds no pipeline: there is no file {path}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {_first_line(error)}") from error
    if not isinstance(index, dict) or "_class_name" not in index:
        raise ModelError(f"{path} does not say which pipeline it describes: it has no _class_name")
    return index


def _advised_guidance(folder: Path) -> float | None:
    """Returns the `guidance_scale` of the folder's promptweight.json, a file that a model may bring along."""
    path = folder / "promptweight.json"
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))["guidance_scale"]
        guidance = float(value)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} must hold a guidance_scale, a number: {_first_line(error)}") from error
    if not 0 <= guidance <= 100:
        raise ModelError(f"{path} has the guidance_scale {value!r}; it must lie between 0 and 100")
    return guidance


def _components(index: dict[str, Any]) -> list[str]:
    """Returns the names of the components that a pipeline has, each of them a folder."""
    return [name for name, value in index.items() if isinstance(value, list) and all(value)]


def _check_weights(folder: Path, index: dict[str, Any]) -> None:
    """Raises `ModelError` naming the file where weights are broken, or of a kind that could run code."""
    from safetensors import SafetensorError, safe_open

    for component in _components(index):
        files = sorted(path for path in (folder / component).glob("*") if path.is_file())
        weights = [path for path in files if path.suffix == ".safetensors"]
        pickles = [path for path in files if path.suffix in _PICKLES]
        if pickles and not weights:
            raise ModelError(
                f"{pickles[0]} is a pickle, which can run any code when it is opened; "
                "only .safetensors are read"
            )
        for path in weights:
            try:
                with safe_open(path, framework="pt"):
                    pass
            except (SafetensorError, OSError, ValueError) as error:
                raise ModelError(f"{path} is damaged: {_what_it_is(path, error)}") from error


def _what_it_is(path: Path, error: Exception) -> str:
    """Returns, in words, what stands where weights were expected."""
    with open(path, "rb") as file:
        head = file.read(64).lstrip().lower()
    if not head:
        return "the file is empty; download it again"
    if head.startswith(b"<"):
        return "it is a web page, not weights; download it again"
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of git-lfs; fetch the file itself with `git lfs pull`"
    return f"it is incomplete or no safetensors file ({_first_line(error)}); download it again"


def _build(
    folder: Path, index: dict[str, Any], name: str, dtype: torch.dtype, variant: str | None
) -> DiffusionPipeline:
    from diffusers import DiffusionPipeline

    # Many copies of a model leave the safety checker's folder out; it is optional to the pipeline.
    absent = "safety_checker" in index and not (folder / "safety_checker").is_dir()
    given: dict[str, Any] = {"safety_checker": None} if absent else {}
    try:
        return DiffusionPipeline.from_pretrained(
            folder, dtype=dtype, variant=variant, use_safetensors=True, local_files_only=True, **given
        )
    except Exception as error:  # the folder's content decides which of many errors this is
        raise ModelError(f"{name!r} cannot be loaded from {folder}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
