"""Files of a model: found by its name, and checked before a model is built from them.

Only safetensors are read, since other weight files can run code. The header of every file is checked, so an
error names a broken download instead of a failed model.
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
    """Recommended settings of a model, from the file `promptweight.json` in its folder.

    Attributes:
        guidance_scale: the default guidance scale, 0 to 100.
        attention_layers: parts of the names of the layers that attention maps use by default; empty for all
            layers.
    """

    guidance_scale: float
    attention_layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelOrigin:
    """The name and revision from which a pipeline was loaded.

    Attributes:
        model: the name that loads it.
        revision: the commit; None where it is unknown.
    """

    model: str
    revision: str | None = None


def find_local_folder(name: str, revision: str | None = None) -> Path:
    """Return the folder of a model on this machine; hub ids are searched in the cache only.

    Raises:
        ModelError: the model is not on this machine, or is a single file.
    """
    path = _find_local_path(name)
    if path is not None and path.is_file():
        raise ModelError(f"model must be a folder or a hub id with tokenizers; got the single file {name!r}")
    if path is not None:
        return path
    from huggingface_hub import snapshot_download

    hub_id, revision = _split_hub_id(name, revision)
    try:
        return Path(snapshot_download(hub_id, revision=revision, local_files_only=True))
    except Exception as error:  # the hub client raises errors of many libraries
        raise ModelError(
            f"model must be an existing folder or a hub id in the local cache; got {_quote(hub_id, revision)}"
        ) from error


def find_model(name: str, revision: str | None, variant: str | None) -> tuple[Path, ModelOrigin]:
    """Return the local folder or single file of a model, downloaded if needed, and its origin."""
    path = _find_local_path(name)
    if path is None:
        return _download(*_split_hub_id(name, revision), variant)
    if name in BUILTIN_MODELS:
        return path, ModelOrigin(name)
    return path, ModelOrigin(path.name) if path.is_file() else get_folder_origin(path.resolve())


def _find_local_path(name: str) -> Path | None:
    """Return the folder or file of a local model; None where `name` can be a hub id."""
    if name in BUILTIN_MODELS:
        return builtin_path(name)
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.suffix.lower() in _PICKLES:
        raise ModelError(_describe_pickle(path))
    if path.is_file() and path.suffix.lower() != ".safetensors":
        raise ModelError(message("model-shape", name=name))
    if path.suffix.lower() == ".safetensors" and not path.exists():
        raise ModelError(f"model must be an existing file; got {name!r}")
    return path if path.is_file() else None


def _split_hub_id(name: str, revision: str | None) -> tuple[str, str | None]:
    """Split `name` into hub id and revision; `@revision` in the name has precedence."""
    hub_id, _, own_revision = name.partition("@")
    if not _HUB_ID.fullmatch(hub_id):
        raise ModelError(message("model-unknown", name=name, known=", ".join(BUILTIN_MODELS)))
    return hub_id, own_revision or revision


def _quote(hub_id: str, revision: str | None) -> str:
    return f"{hub_id!r}" + (f" at revision {revision!r}" if revision else "")


def _download(hub_id: str, revision: str | None, variant: str | None) -> tuple[Path, ModelOrigin]:
    from diffusers import DiffusionPipeline

    try:
        folder = Path(
            DiffusionPipeline.download(hub_id, revision=revision, variant=variant, use_safetensors=True)
        )
    except Exception as error:  # the hub client raises errors of many libraries
        raise ModelError(
            message("model-not-found", name=_quote(hub_id, revision), reason=summarize_error(error))
        ) from error
    return folder, ModelOrigin(hub_id, get_folder_origin(folder).revision or revision)


def get_folder_origin(folder: Path) -> ModelOrigin:
    """Return the origin of a folder: its name, or hub id and commit inside the hub's cache."""
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
        return ModelOrigin(folder.parent.parent.name.removeprefix("models--").replace("--", "/"), folder.name)
    return ModelOrigin(folder.name)


def read_model_index(folder: Path, name: str) -> dict[str, Any]:
    """Return the content of model_index.json: the class of each component of the pipeline.

    Raises:
        ModelError: the file is missing or damaged.
    """
    path = folder / "model_index.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(message("model-incomplete", name=name, path=path)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {summarize_error(error)}") from error
    if not isinstance(index, dict) or "_class_name" not in index:
        raise ModelError(f"{path} must have a _class_name, the class of the pipeline")
    return index


def advice_in(folder: Path) -> Advice | None:
    """Return the recommended settings in the folder's promptweight.json; None without this file.

    Raises:
        ModelError: the file is damaged.
    """
    path = folder / "promptweight.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        value = content["guidance_scale"]
        guidance = float(value)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"guidance_scale in {path} must be a number: {summarize_error(error)}") from error
    if not 0 <= guidance <= 100:
        raise ModelError(f"guidance_scale in {path} must be from 0 to 100; got {value!r}")
    layers = content.get("attention_layers", [])
    if not (isinstance(layers, list) and all(isinstance(part, str) and part for part in layers)):
        raise ModelError(f"attention_layers in {path} must be a list of layer names; got {layers!r}")
    return Advice(guidance, tuple(layers))


def advice_of(pipe: Any) -> Advice | None:
    """Return the recommended settings of a pipeline's model; None where it has none.

    diffusers keeps the folder of the denoising model in its configuration; promptweight.json is in the folder
    above.

    Raises:
        ModelError: the file is damaged.
    """
    model = getattr(pipe, "unet", None)
    if model is None:  # `or` would call the length of a compiled model
        model = getattr(pipe, "transformer", None)
    folder = None if model is None else model.config.get("_name_or_path")
    return advice_in(Path(folder).parent) if folder and Path(folder).is_dir() else None


def list_components(index: dict[str, Any]) -> list[str]:
    """Return the names of the components of a pipeline, each of them a folder."""
    return [name for name, value in index.items() if isinstance(value, list) and all(value)]


def check_weights(folder: Path, index: dict[str, Any]) -> None:
    """Check the weight files of all components.

    Raises:
        ModelError: a file is damaged, or of a format that can run code.
    """
    for component in list_components(index):
        files = sorted(path for path in (folder / component).glob("*") if path.is_file())
        weights = [path for path in files if path.suffix == ".safetensors"]
        pickles = [path for path in files if path.suffix in _PICKLES]
        if pickles and not weights:
            raise ModelError(_describe_pickle(pickles[0]))
        for path in weights:
            check_safetensors(path)


def check_safetensors(path: Path) -> None:
    """Check the header of a safetensors file.

    Raises:
        ModelError: the file is not a complete safetensors file; the error names its actual content.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt"):
            pass
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} is damaged: {_describe_content(path, error)}") from error


def _describe_pickle(path: Path) -> str:
    return f"weights must be .safetensors files; {path} is a pickle, which can run any code when it is opened"


def _describe_content(path: Path, error: Exception) -> str:
    """Return a description of a damaged weight file's content."""
    with open(path, "rb") as file:
        head = file.read(64).lstrip().lower()
    if not head:
        return "the file is empty; download it again"
    if head.startswith(b"<"):
        return "it is a web page, not weights; download it again"
    if head.startswith(b"version https://git-lfs"):
        return "it is a git-lfs pointer; fetch the file itself with `git lfs pull`"
    return f"it is incomplete or not a safetensors file ({summarize_error(error)}); download it again"


def summarize_error(error: Exception) -> str:
    """Return the first line of another library's error, or the name of its class."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
