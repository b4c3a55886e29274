"""Identity of a model without loading it: its name, revision and a fingerprint of its files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from promptweight.errors import ModelError

if TYPE_CHECKING:
    from promptweight.models.files import ModelOrigin

_END_BYTES = 65_536


@dataclass(frozen=True)
class ModelIdentity:
    """The identity of a model, which is a part of image ids.

    Attributes:
        source: the name that `promptweight.load` takes; a hub id has its commit.
        name: its name in image metadata.
        revision: the commit of a hub id; None where it is unknown.
        fingerprint: the digest of local files without a commit; None otherwise.
        folder: the folder of its files; None for a single file, or where they were not fetched.
    """

    source: str
    name: str
    revision: str | None = None
    fingerprint: str | None = None
    folder: Path | None = None


def identify_model(model: str, *, offline: bool = False) -> ModelIdentity:
    """Return the identity of a model; a hub id that is not in the cache is fetched unless `offline`.

    Raises:
        ModelError: the model cannot be found.
    """
    from promptweight.models import files as model_files
    from promptweight.models.builtin import BUILTIN_FOLDER, BUILTIN_MODELS

    name = os.fspath(model)
    path = Path(name).expanduser()
    if path.is_file() and name not in BUILTIN_MODELS:
        path, origin = model_files.find_model(name, None, None)
        return ModelIdentity(name, origin.model, None, fingerprint_files([path]))
    try:
        folder = model_files.find_local_folder(name)
    except ModelError:
        if "/" not in name or path.exists():
            raise
        if offline:
            hub_id, _, revision = name.partition("@")
            return ModelIdentity(name, hub_id, revision or None)
        folder, origin = model_files.find_model(name, None, None)
        return ModelIdentity(_at_commit(origin), origin.model, origin.revision, None, folder)
    model_files.read_model_index(folder, name)
    origin = model_files.get_folder_origin(folder.resolve())
    if origin.revision is not None:
        source = name if path.is_dir() else _at_commit(origin)
        return ModelIdentity(source, origin.model, origin.revision, None, folder)
    files = [each for each in folder.rglob("*") if each.suffix in (".safetensors", ".json", ".txt", ".model")]
    display_name = name if folder.is_relative_to(BUILTIN_FOLDER) else origin.model
    return ModelIdentity(name, display_name, None, fingerprint_files(files, folder), folder)


def _at_commit(origin: ModelOrigin) -> str:
    """Return the hub id of a model with its commit, which excludes newer commits on the hub."""
    return f"{origin.model}@{origin.revision}" if origin.revision else origin.model


def fingerprint_files(files: Iterable[Path], root: Path | None = None) -> str:
    """Return a digest of the names, sizes, and first and last 64 KiB of some files.

    This is fast for files of many gigabytes; training a model changes all of its weights.
    """
    digest = hashlib.sha256()
    for path in sorted(files):
        size = path.stat().st_size
        name = path.name if root is None else path.relative_to(root).as_posix()
        digest.update(f"{name}\0{size}\0".encode("utf-8", "surrogateescape"))
        with open(path, "rb") as file:
            digest.update(file.read(_END_BYTES))
            if size > _END_BYTES:
                file.seek(max(_END_BYTES, size - _END_BYTES))
                digest.update(file.read(_END_BYTES))
    return digest.hexdigest()[:16]
