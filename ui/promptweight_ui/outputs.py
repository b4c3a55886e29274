"""Output folder of the app: finished images with their settings, and the newest files of the folder."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from promptweight.errors import SettingError
from promptweight.messages import message

if TYPE_CHECKING:
    from promptweight import Result

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
"""Files that the History tab lists."""


class Outputs:
    """Folder of the finished images.

    Args:
        folder: the folder, created at the first image; None to save nothing.
        is_listed: whether browsers see the files of the folder, also those of other sessions.
        limit: size of the folder in bytes above which no further image is drawn; None for no limit.

    Attributes:
        is_writable: False after an image could not be saved, True after one could.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        is_listed: bool = False,
        limit: int | None = None,
    ) -> None:
        self.folder = None if folder is None else Path(folder).resolve()
        self.is_listed = is_listed and folder is not None
        self.is_writable = True
        self._limit = limit

    def check_room(self) -> None:
        """Check that the folder is not full; an image that is begun is saved also beyond the limit.

        Raises:
            SettingError: it is.
        """
        if self.folder is None or self._limit is None:
            return
        used = measure_folder(self.folder)
        if used >= self._limit:
            sizes = f"{used / 1e6:.4g}", f"{self._limit / 1e6:.4g}"
            raise SettingError(message("output-full", used=sizes[0], limit=sizes[1]))

    def save(self, result: Result, component: Any) -> list[str]:
        """Write finished images into the folder, and return copies in Gradio's cache.

        A folder that cannot be written is reported in the log; the run goes on.

        Args:
            result: the result; an unfinished last image is not saved.
            component: the component that shows the images; Gradio hands out and deletes only files that a
                component knows.
        """
        files: Sequence[Path] = ()
        if self.folder is not None and result.stopped_after is None:
            try:
                files = result.save(self.folder)
                self.is_writable = True
            except OSError as error:
                self.is_writable = False
                logging.getLogger("promptweight").error("cannot save to %s: %s", self.folder, error)
        if files:
            return _copy_to_cache(component, files)
        with TemporaryDirectory() as folder:
            return _copy_to_cache(component, result.save(folder))

    def newest(self, number: int) -> list[Path]:
        """Return the newest image files of the folder, the newest first; none if it is not listed."""
        if not self.is_listed or self.folder is None:
            return []
        try:
            with os.scandir(self.folder) as entries:
                found = [
                    (entry.stat().st_mtime, entry.name)
                    for entry in entries
                    if entry.name.lower().endswith(SUFFIXES) and entry.is_file()
                ]
        except OSError:
            return []
        return [self.folder / name for _, name in sorted(found, reverse=True)[:number]]


def measure_folder(folder: Path) -> int:
    """Return the size in bytes of the files in a folder and its subfolders, links not followed."""
    size = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # deleted meanwhile
                size += os.stat(os.path.join(path, name), follow_symlinks=False).st_size
    return size


def _copy_to_cache(component: Any, files: Sequence[Path]) -> list[str]:
    from gradio.processing_utils import save_bytes_to_cache

    paths = [save_bytes_to_cache(file.read_bytes(), file.name, component.GRADIO_CACHE) for file in files]
    component.temp_files.update(paths)
    return paths
