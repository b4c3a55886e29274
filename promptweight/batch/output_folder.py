"""The folder of a batch: which pictures are finished, who works on which, and the manifest of what happened.

Claims are locks on single bytes of one file, at the place that a picture's id gives. The system frees them
when a process ends in whatever way, so a killed process leaves nothing behind, and several processes with
the same command share a folder's work. Where files cannot be locked, nothing is claimed: two processes may
then make a picture twice, which is a waste but no harm, since files appear whole or not at all.

`manifest.jsonl` has one line for each picture; where a later run made one that had failed, or made it again,
its last line counts.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from promptweight.batch.plan import ID_DIGITS, PlannedImage

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

MANIFEST_NAME = "manifest.jsonl"
_LOCK = ".promptweight.lock"
_MANIFEST_BYTE = 1 << 60
_NAME = re.compile(rf"\d{{5,}}-\d+-([0-9a-f]{{{ID_DIGITS}}})\.(png|jpeg|webp|avif)")
_FULL_OR_READ_ONLY = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


class OutputFolder:
    """A folder that pictures go into; a context manager that holds its lock file open.

    Raises on entering:
        OSError: nothing can be written there.
    """

    def __init__(self, path: str | os.PathLike[str], *, format: str = "png") -> None:  # noqa: A002
        self.path = Path(path)
        self.format = format
        self._lock = -1
        self._can_lock = fcntl is not None
        self._there: dict[str, Path] = {}
        self._told: dict[str, str] = {}

    def __enter__(self) -> OutputFolder:
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        self._there = self.pictures()
        self._told = {str(line["id"]): str(line["status"]) for line in read_manifest(self.path)}
        self._remove_remains()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def picture(self, planned: PlannedImage) -> Path:
        """Where a picture is, or is to be written: an earlier plan may have given it another number."""
        return self._there.get(planned.id, self.path / f"{planned.stem}.{self.format}")

    def is_finished(self, planned: PlannedImage, beside: tuple[str, ...] = ()) -> bool:
        """Whether the picture is there and whole, with the files `beside` it (endings of their names)."""
        path = self.picture(planned)
        if not all(path.with_name(path.stem + ending).is_file() for ending in beside):
            return False
        return path.is_file() and is_complete_image(path)

    @contextlib.contextmanager
    def claimed(self, planned: PlannedImage) -> Iterator[bool]:
        """Hold the claim on a picture inside the block, as far as nobody else has it: tells whether."""
        is_ours = self.claim(planned)
        try:
            yield is_ours
        finally:
            if is_ours:
                self.free(planned)

    def claim(self, planned: PlannedImage) -> bool:
        """Claims a picture for this process; False where another process has it."""
        return self._take(int(planned.id, 16), wait=False)

    def free(self, planned: PlannedImage) -> None:
        """Give a claim back."""
        self._release(int(planned.id, 16))

    def note(self, line: Mapping[str, Any]) -> None:
        """Append a line to the manifest, in one write; a `skipped` one only where none tells of the picture.

        Raises:
            OSError: the disk's own error.
        """
        if line["status"] == "skipped" and self._told.get(line["id"]) in ("ok", "skipped"):
            return
        self._told[line["id"]] = line["status"]
        content = json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
        self._take(_MANIFEST_BYTE, wait=True)
        try:
            with open(self.path / MANIFEST_NAME, "a+b", buffering=0) as file:
                size = file.seek(0, os.SEEK_END)
                if size:
                    file.seek(size - 1)
                    if file.read(1) != b"\n":  # a write that a full disk cut short
                        content = "\n" + content
                file.write(content.encode("utf-8", "backslashreplace"))
        finally:
            self._release(_MANIFEST_BYTE)

    def _take(self, byte: int, *, wait: bool) -> bool:
        if not self._can_lock:
            return True
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, byte)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            self._can_lock = False  # a file system without locks
        return True

    def _release(self, byte: int) -> None:
        if self._can_lock:
            with contextlib.suppress(OSError):
                fcntl.lockf(self._lock, fcntl.LOCK_UN, 1, byte)

    def pictures(self) -> dict[str, Path]:
        """Return the pictures that are in the folder, by their ids; not whether they are whole."""
        found = {}
        with os.scandir(self.path) as entries:
            for entry in entries:
                match = _NAME.fullmatch(entry.name)
                if match and match[2] == self.format:
                    found[match[1]] = self.path / entry.name
        return found

    def _remove_remains(self) -> None:
        """Remove the hidden files of writes that were killed; those of this hour may still be in work."""
        import time

        for path in self.path.glob(".*.tmp"):
            if re.fullmatch(r"\.[0-9a-f]{16}\.tmp", path.name):
                with contextlib.suppress(OSError):
                    if time.time() - path.stat().st_mtime > 3600 or self._is_alone():
                        path.unlink()

    def _is_alone(self) -> bool:
        """Whether no other process holds a claim on anything."""
        if not self._can_lock:
            return False
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 0, 0)
        except OSError:
            return False
        fcntl.lockf(self._lock, fcntl.LOCK_UN, 0, 0)
        return True


def is_complete_image(path: Path) -> bool:
    """Whether a picture file can be read to its end: a PNG by its checksums, others by decoding."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.format == "PNG":
                image.verify()
            else:
                image.load()
    except Exception:  # a damaged file makes the decoders raise nearly anything
        return False
    return True


def read_manifest(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a folder's manifest; what a crash cut short is left out."""
    try:
        with open(folder / MANIFEST_NAME, encoding="utf-8", errors="replace") as file:
            for text in file:
                try:
                    line = json.loads(text)
                except ValueError:
                    continue
                if isinstance(line, dict) and {"id", "status"} <= line.keys():
                    yield line
    except FileNotFoundError:
        return


def is_persistent_error(error: OSError) -> bool:
    """Whether an error of the disk will meet every other picture too."""
    return error.errno in _FULL_OR_READ_ONLY
