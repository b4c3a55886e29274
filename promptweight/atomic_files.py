"""Files that are written whole or not at all, whatever happens meanwhile."""

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
    """Make sure, before a long work, that its files can be written into a folder; makes nothing itself.

    Raises:
        OSError: there is something else at its place, or the folder that it is (to be) in is read-only.
    """
    path = path.absolute()
    there = next(each for each in (path, *path.parents) if each.exists())
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "no folder, so nothing can be written into it", str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "nothing can be written into this folder", str(there))


def save_png(
    image: Image.Image, path: Path, texts: PngInfo | None = None, *, overwrite: bool = False
) -> None:
    """Save `image` as PNG, whole or not at all; errors as in `write_atomically`."""
    write_atomically(path, lambda file: image.save(file, format="PNG", pnginfo=texts), overwrite=overwrite)


def write_atomically(path: Path, write: Callable[[BinaryIO], object], *, overwrite: bool = False) -> None:
    """Let `write` fill a file that appears at `path` only when it is complete and on the disk.

    The bytes go into a hidden file in the same folder, which takes the name at the end; whatever fails in
    between (a full disk, an interrupt) leaves nothing behind.

    Raises:
        FileExistsError: there is a file at `path` already and `overwrite` is not given.
        OSError: the disk's own error.
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
            _take_free_name(temporary, path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(temporary)):
            error.filename = str(path)  # the name that people know
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def _take_free_name(temporary: Path, path: Path) -> None:
    """Give the file its name in one step that fails where the name was taken in the meantime."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise FileExistsError(f"{path} exists already") from None
    except OSError:  # a file system without hard links (FAT, some network folders)
        if path.exists():
            raise FileExistsError(f"{path} exists already") from None
        os.replace(temporary, path)
