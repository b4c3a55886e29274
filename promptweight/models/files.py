"""Files of a model: found by its name, and checked before a model is built from them.

Only safetensors are read, since other weight files can run code. The header of every file is checked, so an
error names a broken download instead of a failed model.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptweight.conditioning import (
    describe_families,
    find_class_family,
    find_family_by_names,
    find_refusal,
)
from promptweight.errors import ModelError
from promptweight.messages import Message, message
from promptweight.models.builtin import BUILTIN_MODELS, builtin_path

if TYPE_CHECKING:
    from promptweight.conditioning import Family

_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_MAX_HEADER = 32 * 2**20
"""Bytes of the header of a safetensors file; those of large models have less than 2 MiB."""
_MAX_TENSORS = 100_000
"""Tensors of a safetensors file; large models have a few thousand."""
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class ModelOrigin:
    """The name and revision from which a pipeline was loaded.

    Attributes:
        model: the name that loads it.
        revision: the commit; None where it is unknown.
    """

    model: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.model}@{self.revision}" if self.revision else self.model


def find_local_folder(name: str, revision: str | None = None) -> Path:
    """Return the folder of a model on this machine; hub ids are searched in the cache only.

    Raises:
        ModelError: the model is not on this machine, or is a single file.
    """
    path = _find_local_path(name)
    if path is not None and path.is_file():
        raise ModelError(message("tokenizers-single-file", name=name))
    if path is not None:
        return path
    from huggingface_hub import snapshot_download

    hub_id, revision = split_hub_id(name, revision)
    try:
        return Path(snapshot_download(hub_id, revision=revision, local_files_only=True))
    except Exception as error:  # the hub client raises errors of many libraries
        raise ModelError(message("model-not-local", name=_quote(hub_id, revision))) from error


def find_model(name: str, revision: str | None, variant: str | None) -> tuple[Path, ModelOrigin]:
    """Return the local folder or single file of a model, downloaded if needed, and its origin."""
    path = _find_local_path(name)
    if path is None:
        return _download(*split_hub_id(name, revision), variant)
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
        raise ModelError(message("model-file-missing", name=name))
    return path if path.is_file() else None


def split_hub_id(name: str, revision: str | None = None) -> tuple[str, str | None]:
    """Split `name` into hub id and revision; `@revision` in the name has precedence."""
    hub_id, _, own_revision = name.partition("@")
    if not _HUB_ID.fullmatch(hub_id):
        raise ModelError(message("model-unknown", name=name, known=", ".join(BUILTIN_MODELS)))
    return hub_id, own_revision or revision


def _quote(hub_id: str, revision: str | None) -> str:
    return f"{hub_id!r}" + (f" at revision {revision!r}" if revision else "")


def _download(hub_id: str, revision: str | None, variant: str | None) -> tuple[Path, ModelOrigin]:
    from diffusers import DiffusionPipeline

    check_hub_class(hub_id, revision)
    try:
        folder = Path(
            DiffusionPipeline.download(hub_id, revision=revision, variant=variant, use_safetensors=True)
        )
    except Exception as error:  # the hub client raises errors of many libraries
        raise ModelError(
            message("model-not-found", name=_quote(hub_id, revision), reason=summarize_error(error))
        ) from error
    return folder, ModelOrigin(hub_id, get_folder_origin(folder).revision or revision)


def check_hub_class(hub_id: str, revision: str | None) -> None:
    """Check the class of a hub model by its model_index.json, before its weights are downloaded.

    A model whose index cannot be fetched passes: the download says what is wrong with it.

    Raises:
        ModelError: the class is not supported.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    try:
        path = try_to_load_from_cache(hub_id, "model_index.json", revision=revision)
        if not isinstance(path, str):
            path = hf_hub_download(hub_id, "model_index.json", revision=revision)
        index = json.loads(Path(path).read_text(encoding="utf-8"))
    except Exception:  # the hub client raises errors of many libraries
        return
    if isinstance(index, dict) and "_class_name" in index:
        read_family(index, _quote(hub_id, revision))


def read_family(index: dict[str, Any], model: str) -> Family:
    """Return the family of the pipeline of a model_index.json; `model` is named in the error.

    Raises:
        ModelError: the pipeline is of no supported family; the error has the reason, where it is known.
    """
    name = index["_class_name"]
    name = name[-1] if isinstance(name, list) and name else name  # of a class in the model's own code
    family = find_family_by_names([str(name)])
    if family is None:  # a class that is not listed; diffusers takes long to import
        import diffusers

        kind = getattr(diffusers, str(name), None)
        reason = find_refusal(kind) if isinstance(kind, type) else None
        if reason is not None:
            raise ModelError(message("model-class-refused", model=model, name=name, reason=reason))
        if isinstance(kind, type) and issubclass(kind, diffusers.DiffusionPipeline):
            family = find_class_family(kind)
    if family is None:
        known = describe_families()
        raise ModelError(message("model-class-unsupported", model=model, name=name, known=known))
    return family


def get_folder_origin(folder: Path) -> ModelOrigin:
    """Return the origin of a folder: its name, or hub id and commit inside the hub's cache."""
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
        return ModelOrigin(folder.parent.parent.name.removeprefix("models--").replace("--", "/"), folder.name)
    return ModelOrigin(folder.name)


def read_model_index(folder: Path, name: str) -> dict[str, Any]:
    """Return the content of model_index.json: the class of each component of the pipeline.

    Raises:
        ModelError: the file is missing or damaged, the folder holds a pipe, socket or device, or a component
            is named by a path.
    """
    for each in folder.rglob("*"):
        if each.exists() and not (each.is_file() or each.is_dir()):  # opening a pipe would wait forever
            raise ModelError(message("model-special-file", name=name, file=each.relative_to(folder)))
    path = folder / "model_index.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(message("model-incomplete", name=name, path=path)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(message("file-unreadable", path=path, reason=summarize_error(error))) from error
    if not isinstance(index, dict) or "_class_name" not in index:
        raise ModelError(message("model-index-class", path=path))
    for component in list_components(index):
        if component in ("", ".", "..") or set(component) & set("/\\\0"):
            raise ModelError(message("model-component-name", path=path, name=component))
    return index


def list_components(index: dict[str, Any]) -> list[str]:
    """Return the names of the components of a pipeline, each of them a folder."""
    return [name for name, value in index.items() if isinstance(value, list) and all(value)]


def check_weights(folder: Path, index: dict[str, Any]) -> None:
    """Check the weight files of all components.

    Raises:
        ModelError: a file is damaged, or of a format that can run code.
    """
    for component in list_components(index):
        files = sorted((folder / component).glob("*"))
        weights = [path for path in files if path.suffix == ".safetensors"]
        pickles = [path for path in files if path.suffix.casefold() in _PICKLES]
        if pickles and not weights:
            raise ModelError(_describe_pickle(pickles[0]))
        for path in weights:
            check_safetensors(path)


def check_safetensors(path: Path) -> None:
    """Check the header of a safetensors file.

    Raises:
        ModelError: the file is not a complete safetensors file, or its header is far larger than that of any
            model; the error names its actual content.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ModelError(message("weights-damaged", path=path, content=message("weights-not-a-file")))
    try:
        size, number = _read_header_size(path), 0
        if size <= _MAX_HEADER:
            with safe_open(path, framework="pt") as file:
                number = len(file.keys())
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            message("weights-damaged", path=path, content=_describe_content(path, error))
        ) from error
    if size > _MAX_HEADER:
        content = message("weights-header-bytes", size=size, most=_MAX_HEADER)
        raise ModelError(message("weights-damaged", path=path, content=content))
    if number > _MAX_TENSORS:
        content = message("weights-header-tensors", number=number, most=_MAX_TENSORS)
        raise ModelError(message("weights-damaged", path=path, content=content))


def _read_header_size(path: Path) -> int:
    """Return the size in bytes of a safetensors header; 0 where the file is too short for it."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
    return size if size <= path.stat().st_size else 0


def _describe_pickle(path: Path) -> Message:
    return message("weights-pickle", path=path)


def _describe_content(path: Path, error: Exception) -> Message:
    """Return a description of a damaged weight file's content."""
    with open(path, "rb") as file:
        head = file.read(64).lstrip().lower()
    if not head:
        return message("weights-empty")
    if head.startswith(b"<"):
        return message("weights-web-page")
    if head.startswith(b"version https://git-lfs"):
        return message("weights-pointer")
    return message("weights-incomplete", reason=summarize_error(error))


def summarize_error(error: Exception) -> str:
    """Return the first line of another library's error, or the name of its class."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
