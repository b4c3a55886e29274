"""Atomic file writing: a file appears under its name complete, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo


def check_folder(path: Path) -> None:
    """Check, before a long run, that files can be written into the folder `path`; create nothing.

    Raises:
        OSError: `path` or a parent of it is not a folder, or the nearest existing folder is read-only.
    """
    path = path.absolute()
    existing = next(each for each in (path, *path.parents) if each.exists())
    if not existing.is_dir():
        raise NotADirectoryError(
            errno.ENOTDIR, "is not a folder, so no file can be written into it", str(existing)
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "no file can be written into this folder", str(existing))


def save_png(
    image: Image.Image, path: Path, pnginfo: PngInfo | None = None, *, overwrite: bool = False
) -> None:
    """Save `image` as PNG with the text chunks of `pnginfo`; errors as in `write_atomically`."""
    write_atomically(path, lambda file: image.save(file, format="PNG", pnginfo=pnginfo), overwrite=overwrite)


def write_atomically(path: Path, write: Callable[[BinaryIO], object], *, overwrite: bool = False) -> None:
    """Let `write` fill a file that appears at `path` once it is complete and on the disk.

    `write` receives a hidden file in the same folder, which is renamed at the end. Any failure before that,
    such as a full disk or an interrupt, removes the hidden file.

    Raises:
        FileExistsError: `path` exists and `overwrite` is false.
        OSError: the error of the operating system, with `path` as its file name.
    """
    if not overwrite and path.exists():
        raise FileExistsError(f"{path} exists already")
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            os.replace(temporary, path)
        else:
            _rename_without_overwriting(temporary, path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(temporary)):
            error.filename = str(path)  # users do not know the temporary name
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def _rename_without_overwriting(temporary: Path, path: Path) -> None:
    """Give the file its name in one step that fails where a file of that name appeared in the meantime."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise FileExistsError(f"{path} exists already") from None
    except OSError:  # a file system without hard links (FAT, some network folders)
        if path.exists():
            raise FileExistsError(f"{path} exists already") from None
        os.replace(temporary, path)
