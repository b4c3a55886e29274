"""Which model it is, known before it is loaded: its name, its revision, and a fingerprint of its files."""

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
    """A model as ids of pictures know it.

    Attributes:
        source: what `promptweight.load` is given; of a hub id the very commit that the ids are made of.
        name: what picture files call it.
        revision: the commit of a hub id, where it is known.
        fingerprint: of its files, where they are here and no commit names them.
        folder: where they are; None where they were not fetched, or for a single file.
    """

    source: str
    name: str
    revision: str | None = None
    fingerprint_files: str | None = None
    folder: Path | None = None


def identify_model(model: str, *, offline: bool = False) -> ModelIdentity:
    """Return which model a name means; a hub id that is not in the cache is fetched unless `offline`.

    Raises:
        ModelError: there is no such model.
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
    called = name if folder.is_relative_to(BUILTIN_FOLDER) else origin.model
    return ModelIdentity(name, called, None, fingerprint_files(files, folder), folder)


def _at_commit(origin: ModelOrigin) -> str:
    """Return the hub id of a model with its commit, so that a newer one on the hub is not loaded instead."""
    return f"{origin.model}@{origin.revision}" if origin.revision else origin.model


def fingerprint_files(files: Iterable[Path], root: Path | None = None) -> str:
    """Return a digest of some files: of their names, sizes, and first and last 64 KiB.

    Reading no more keeps it quick for files of many gigabytes; training a model changes all of its weights.
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
