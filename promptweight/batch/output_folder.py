"""Output folder of a batch: finished images, claims of processes, and the manifest file.

A claim is a lock on a single byte of one file, at the offset given by the image's id. The system releases it
when the process ends in whatever way, so a killed process leaves no claim, and several processes with the
same command share the work of a folder. On file systems without locks nothing is claimed: two processes may
then draw the same image, which costs time but no data, since files appear atomically.

`manifest.jsonl` has one line for each image; if a later run drew a failed image or drew an image again, its
last line counts.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from promptweight.batch.image_ids import ID_DIGITS
from promptweight.batch.plan import PlannedImage

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

MANIFEST_NAME = "manifest.jsonl"
_LOCK_NAME = ".promptweight.lock"
_MANIFEST_BYTE = 1 << 60
_IMAGE_NAME = re.compile(rf"\d{{5,}}-\d+-([0-9a-f]{{{ID_DIGITS}}})\.(png|jpeg|webp|avif)")
_PERSISTENT_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
_TEMPORARY_FILE_AGE = 3600
"""Seconds after which a hidden file of an unfinished write is removed even if other processes run."""


class OutputFolder:
    """Folder of the images of a batch; a context manager that holds its lock file open.

    Args:
        path: the folder; it is created if it does not exist.
        format: file format of the images.

    Raises:
        OSError: on entering, if the folder is not writable.
    """

    def __init__(self, path: str | os.PathLike[str], *, format: str = "png") -> None:  # noqa: A002
        self.path = Path(path)
        self.format = format
        self._lock = -1
        self._can_lock = fcntl is not None
        self._existing: dict[str, Path] = {}
        self._statuses: dict[str, str] = {}

    def __enter__(self) -> OutputFolder:
        self.path.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        self._lock = os.open(self.path / _LOCK_NAME, flags, 0o666)
        self._existing = self.list_images()
        self._statuses = {str(line["id"]): str(line["status"]) for line in read_manifest(self.path)}
        self._remove_temporary_files()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def image_path(self, image: PlannedImage) -> Path:
        """Return the path of an image; an earlier plan may have given it another number."""
        return self._existing.get(image.id, self.path / f"{image.stem}.{self.format}")

    def claim(self, image: PlannedImage) -> bool:
        """Claim an image for this process; return False if another process has claimed it."""
        return self._lock_byte(int(image.id, 16), wait=False)

    def release(self, image: PlannedImage) -> None:
        """Release a claim."""
        self._unlock_byte(int(image.id, 16))

    def append_line(self, line: Mapping[str, Any]) -> None:
        """Append a line to the manifest in one write; a `skipped` line only for an image without a line.

        Raises:
            OSError: the manifest cannot be written.
        """
        if line["status"] == "skipped" and self._statuses.get(line["id"]) in ("ok", "skipped"):
            return
        self._statuses[line["id"]] = line["status"]
        content = json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
        self._lock_byte(_MANIFEST_BYTE, wait=True)
        try:
            with open(self.path / MANIFEST_NAME, "a+b", buffering=0) as file:
                size = file.seek(0, os.SEEK_END)
                if size:
                    file.seek(size - 1)
                    if file.read(1) != b"\n":  # a line truncated by a full disk
                        content = "\n" + content
                file.write(content.encode("utf-8", "backslashreplace"))
        finally:
            self._unlock_byte(_MANIFEST_BYTE)

    def list_images(self) -> dict[str, Path]:
        """Return the images in the folder by id, complete or not."""
        images = {}
        with os.scandir(self.path) as entries:
            for entry in entries:
                match = _IMAGE_NAME.fullmatch(entry.name)
                if match and match[2] == self.format:
                    images[match[1]] = self.path / entry.name
        return images

    def _lock_byte(self, byte: int, *, wait: bool) -> bool:
        if not self._can_lock:
            return True
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, byte)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            self._can_lock = False  # a file system without locks
        return True

    def _unlock_byte(self, byte: int) -> None:
        if self._can_lock:
            with contextlib.suppress(OSError):
                fcntl.lockf(self._lock, fcntl.LOCK_UN, 1, byte)

    def _remove_temporary_files(self) -> None:
        """Remove hidden files of killed writes; recent ones only if no other process runs."""
        for path in self.path.glob(".*.tmp"):
            if re.fullmatch(r"\.[0-9a-f]{16}\.tmp", path.name):
                with contextlib.suppress(OSError):
                    is_old = time.time() - path.stat().st_mtime > _TEMPORARY_FILE_AGE
                    if is_old or self._is_only_process():
                        path.unlink()

    def _is_only_process(self) -> bool:
        """Return True if no other process holds a claim."""
        if not self._can_lock:
            return False
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 0, 0)
        except OSError:
            return False
        fcntl.lockf(self._lock, fcntl.LOCK_UN, 0, 0)
        return True


def read_manifest(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a folder's manifest without lines that a crash truncated."""
    try:
        with open(folder / MANIFEST_NAME, encoding="utf-8", errors="replace") as file:
            for text in file:
                try:
                    line = json.loads(text)
                except (ValueError, RecursionError):
                    continue
                if isinstance(line, dict) and {"id", "status"} <= line.keys():
                    yield line
    except FileNotFoundError:
        return


def is_persistent_error(error: OSError) -> bool:
    """Return True if an error of the disk will affect every other image too."""
    return error.errno in _PERSISTENT_ERRORS
