"""Finding the files of a model by its name, and looking at each before anything is built from it.

Only safetensors are read, since other weight files can run code. Every file's header is checked, so that a
broken download is named for what it is instead of ending in a general message.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptweight.errors import ModelError
from promptweight.messages import message
from promptweight.models.builtin import BUILTIN_MODELS, builtin_path

_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Advice:
    """What the makers of a model advise, in a file `promptweight.json` in its folder.

    Attributes:
        guidance_scale: the guidance to draw with, 0 to 100.
        attention_layers: parts of the names of the layers that maps are read from unless others are asked
            for; all layers when empty.
    """

    guidance_scale: float
    attention_layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelOrigin:
    """Where a pipeline came from.

    Attributes:
        model: the name to load it by.
        revision: the commit, where one is known.
    """

    model: str
    revision: str | None = None


def find_local_folder(name: str, revision: str | None = None) -> Path:
    """Return the folder of a model that is on this machine; hub ids are looked up in the cache alone.

    Raises:
        ModelError: it is not here, or is a single file.
    """
    path = _local_path(name)
    if path is not None and path.is_file():
        raise ModelError(f"{name!r} is a single file, which holds no tokenizers; name a folder or a hub id")
    if path is not None:
        return path
    from huggingface_hub import snapshot_download

    hub_id, revision = _hub_id(name, revision)
    try:
        return Path(snapshot_download(hub_id, revision=revision, local_files_only=True))
    except Exception as error:  # each layer under the hub client has errors of its own
        raise ModelError(
            f"there is no folder {_named(hub_id, revision)}, and as a hub id it is not in the local cache"
        ) from error


def find_model(name: str, revision: str | None, variant: str | None) -> tuple[Path, ModelOrigin]:
    """Return the local folder or single file of a model, downloaded if need be, and what to call it."""
    path = _local_path(name)
    if path is None:
        return _download(*_hub_id(name, revision), variant)
    if name in BUILTIN_MODELS:
        return path, ModelOrigin(name)
    return path, ModelOrigin(path.name) if path.is_file() else get_folder_origin(path.resolve())


def _local_path(name: str) -> Path | None:
    """Return a built-in model's folder, or what is on the disk; None where `name` may be a hub id."""
    if name in BUILTIN_MODELS:
        return builtin_path(name)
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.suffix.lower() in _PICKLES:
        raise ModelError(_pickle_refused(path))
    if path.is_file() and path.suffix.lower() != ".safetensors":
        raise ModelError(
            message(
                "model-shape",
                name=name,
            )
        )
    if path.suffix.lower() == ".safetensors" and not path.exists():
        raise ModelError(f"there is no file {name!r}")
    return path if path.is_file() else None


def _hub_id(name: str, revision: str | None) -> tuple[str, str | None]:
    """Return the hub id and the revision that `name` stands for."""
    hub_id, _, tagged = name.partition("@")
    if not _HUB_ID.fullmatch(hub_id):
        raise ModelError(
            message(
                "model-unknown",
                name=name,
                known=", ".join(BUILTIN_MODELS),
            )
        )
    return hub_id, tagged or revision


def _named(hub_id: str, revision: str | None) -> str:
    return f"{hub_id!r}" + (f" at revision {revision!r}" if revision else "")


def _download(hub_id: str, revision: str | None, variant: str | None) -> tuple[Path, ModelOrigin]:
    from diffusers import DiffusionPipeline

    try:
        folder = Path(
            DiffusionPipeline.download(hub_id, revision=revision, variant=variant, use_safetensors=True)
        )
    except Exception as error:  # each layer under the hub client has errors of its own
        raise ModelError(
            message(
                "model-not-found",
                name=_named(hub_id, revision),
                reason=summarize_error(error),
            )
        ) from error
    return folder, ModelOrigin(hub_id, get_folder_origin(folder).revision or revision)


def get_folder_origin(folder: Path) -> ModelOrigin:
    """Return the name of a folder; one inside the hub's cache is called by its id and commit."""
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
        return ModelOrigin(folder.parent.parent.name.removeprefix("models--").replace("--", "/"), folder.name)
    return ModelOrigin(folder.name)


def read_model_index(folder: Path, name: str) -> dict[str, Any]:
    """Return the model_index.json: which class each component of the pipeline has."""
    path = folder / "model_index.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            message("model-incomplete", name=name, path=path)
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {summarize_error(error)}") from error
    if not isinstance(index, dict) or "_class_name" not in index:
        raise ModelError(f"{path} does not say which pipeline it describes: it has no _class_name")
    return index


def advice_in(folder: Path) -> Advice | None:
    """Return what the folder's promptweight.json advises, a file that a model may bring along.

    Raises:
        ModelError: the file is there, but holds something else.
    """
    path = folder / "promptweight.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        value = content["guidance_scale"]
        guidance = float(value)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} must hold a guidance_scale, a number: {summarize_error(error)}") from error
    if not 0 <= guidance <= 100:
        raise ModelError(f"{path} has the guidance_scale {value!r}; it must lie between 0 and 100")
    layers = content.get("attention_layers", [])
    if not (isinstance(layers, list) and all(isinstance(part, str) and part for part in layers)):
        raise ModelError(f"{path} has the attention_layers {layers!r}; they must be a list of layers' names")
    return Advice(guidance, tuple(layers))


def advice_of(pipe: Any) -> Advice | None:
    """Return what the makers of a pipeline's model advise, whatever made the pipeline.

    diffusers remembers which folder the denoising model was loaded from; the advice lies beside it.

    Raises:
        ModelError: the advice cannot be read.
    """
    model = getattr(pipe, "unet", None)
    if model is None:  # not by truth: a compiled model asks for its length
        model = getattr(pipe, "transformer", None)
    folder = None if model is None else model.config.get("_name_or_path")
    return advice_in(Path(folder).parent) if folder and Path(folder).is_dir() else None


def list_components(index: dict[str, Any]) -> list[str]:
    """Return the names of the components that a pipeline has, each of them a folder."""
    return [name for name, value in index.items() if isinstance(value, list) and all(value)]


def check_weights(folder: Path, index: dict[str, Any]) -> None:
    """Raise `ModelError` naming the file where weights are broken, or of a kind that could run code."""
    for component in list_components(index):
        files = sorted(path for path in (folder / component).glob("*") if path.is_file())
        weights = [path for path in files if path.suffix == ".safetensors"]
        pickles = [path for path in files if path.suffix in _PICKLES]
        if pickles and not weights:
            raise ModelError(_pickle_refused(pickles[0]))
        for path in weights:
            check_safetensors(path)


def check_safetensors(path: Path) -> None:
    """Raise `ModelError` saying what `path` is where it is no whole safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt"):
            pass
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} is damaged: {_what_it_is(path, error)}") from error


def _pickle_refused(path: Path) -> str:
    return f"{path} is a pickle, which can run any code when it is opened; only .safetensors are read"


def _what_it_is(path: Path, error: Exception) -> str:
    """Return, in words, what stands where weights were expected."""
    with open(path, "rb") as file:
        head = file.read(64).lstrip().lower()
    if not head:
        return "the file is empty; download it again"
    if head.startswith(b"<"):
        return "it is a web page, not weights; download it again"
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of git-lfs; fetch the file itself with `git lfs pull`"
    return f"it is incomplete or no safetensors file ({summarize_error(error)}); download it again"


def summarize_error(error: Exception) -> str:
    """Return what an error of another library says, without the details below."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
