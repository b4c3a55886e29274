"""Outcome of every image of a run: counted, logged in the manifest, and its claim released."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptweight.batch.output_folder import OutputFolder
from promptweight.batch.plan import PlannedImage
from promptweight.batch.sharding import Shard
from promptweight.errors import PromptweightError

ManifestLine = dict[str, Any]
"""Line of the manifest: id, status (ok, failed, skipped), file, seconds, error, and more."""


@dataclass
class BatchOutcome:
    """Outcome of a run.

    Attributes:
        ok: number of images that were drawn.
        skipped: number of images that were finished before.
        failed: number of images that could not be drawn.
        left: number of images that a stopped run did not draw.
        is_stopped: whether the run was stopped.
        seconds: duration of the run.
        files: the images that were drawn.
    """

    ok: int = 0
    skipped: int = 0
    failed: int = 0
    left: int = 0
    is_stopped: bool = False
    seconds: float = 0.0
    files: list[Path] = field(default_factory=list)


class Manifest:
    """Log of one run.

    Args:
        folder: the output folder, which holds the file.
        shard: the part of the plan for this process.
        on_line: called with each line.

    Attributes:
        outcome: the outcome up to now.
        completed: number of images to draw that are finished, skipped or failed.
    """

    def __init__(
        self, folder: OutputFolder, shard: Shard, on_line: Callable[[ManifestLine], None] | None
    ) -> None:
        self.outcome = BatchOutcome()
        self.completed = 0
        self._folder, self._shard, self._on_line = folder, shard, on_line

    def add_finished(
        self, image: PlannedImage, seconds: float, files: Sequence[Path], warnings: Sequence[str]
    ) -> None:
        """Log an image that is drawn, with its files, the image first."""
        names = [path.name for path in files]
        line: ManifestLine = {"status": "ok", "file": names[0], "seconds": round(seconds, 3)}
        if names[1:]:
            line["beside"] = names[1:]
        if warnings:
            line["warnings"] = list(warnings)
        self._append(image, line)

    def add_skipped(self, image: PlannedImage, *, was_unfinished: bool = False) -> None:
        """Log an image that is finished; `was_unfinished` if another process drew it during this run."""
        line: ManifestLine = {"status": "skipped", "file": self._folder.image_path(image).name}
        self._append(image, line, completes=was_unfinished)

    def add_failed(self, image: PlannedImage, error: Exception, seconds: float = 0.0) -> None:
        """Log an image that could not be drawn."""
        kind = "" if isinstance(error, (PromptweightError, OSError)) else f"{type(error).__name__}: "
        text = f"{kind}{str(error).strip() or type(error).__name__}"
        self._append(image, {"status": "failed", "seconds": round(seconds, 3), "error": text})

    def count_unlogged(self, image: PlannedImage) -> None:
        """Count an image that was drawn by a process that died before it could report it."""
        line: ManifestLine = {"status": "ok", "file": self._folder.image_path(image).name}
        self.count(self._complete_line(image, line))

    def count(self, line: ManifestLine, *, completes: bool = True) -> None:
        """Count a line that is in the manifest and report it.

        Args:
            line: the line.
            completes: whether it completes one of the images to draw.
        """
        outcome, status = self.outcome, line["status"]
        outcome.ok += status == "ok"
        outcome.skipped += status == "skipped"
        outcome.failed += status == "failed"
        self.completed += completes
        if status == "ok":
            outcome.files.append(self._folder.path / line["file"])
        if self._on_line is not None:
            self._on_line(line)

    def _append(self, image: PlannedImage, line: ManifestLine, *, completes: bool = True) -> None:
        self._folder.release(image)
        complete = self._complete_line(image, line)
        self._folder.append_line(complete)
        self.count(complete, completes=completes)

    def _complete_line(self, image: PlannedImage, line: ManifestLine) -> ManifestLine:
        """Return a line with the fields that every line has."""
        complete: ManifestLine = {
            "id": image.id,
            **line,
            "index": image.index,
            "line": image.row.line,
            "seed": image.job.seed,
            "prompt": image.job.prompt,
        }
        if image.labels:
            complete["sweep"] = list(image.labels)
        if self._shard.total > 1:
            complete["shard"] = f"{self._shard.number}/{self._shard.total}"
        return complete
