"""What became of every picture of a run: counted, told in the manifest, its claim given back."""

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
"""A line of the manifest: id, status (ok, failed, skipped), file, seconds, error, and more."""


@dataclass
class BatchOutcome:
    """What became of a run; `left` counts the pictures that it was to make and did not come to."""

    ok: int = 0
    skipped: int = 0
    failed: int = 0
    left: int = 0
    is_stopped: bool = False
    seconds: float = 0.0
    files: list[Path] = field(default_factory=list)


class Manifest:
    """The book of one run.

    Attributes:
        outcome: what became of the pictures up to now.
        settled: how many of those that were to be made are done with, in whatever way.
    """

    def __init__(self, folder: OutputFolder, shard: Shard, tell: Callable[[ManifestLine], None] | None) -> None:
        self.outcome = BatchOutcome()
        self.settled = 0
        self._folder, self._shard, self._tell = folder, shard, tell

    def done(self, picture: PlannedImage, seconds: float, files: Sequence[Path], warnings: Sequence[str]) -> None:
        """Note a picture that is made: its files, the picture first."""
        names = [path.name for path in files]
        line: ManifestLine = {"status": "ok", "file": names[0], "seconds": round(seconds, 3)}
        if names[1:]:
            line["beside"] = names[1:]
        if warnings:
            line["warnings"] = list(warnings)
        self._note(picture, line)

    def skipped(self, picture: PlannedImage, *, was_to_be_made: bool = False) -> None:
        """Note a picture that is there already, perhaps because another process was quicker."""
        self._note(
            picture,
            {"status": "skipped", "file": self._folder.picture(picture).name},
            counts=was_to_be_made,
        )

    def failed(self, picture: PlannedImage, error: Exception, seconds: float = 0.0) -> None:
        """Note a picture that could not be made."""
        kind = "" if isinstance(error, (PromptweightError, OSError)) else f"{type(error).__name__}: "
        message = f"{kind}{str(error).strip() or type(error).__name__}"
        self._note(picture, {"status": "failed", "seconds": round(seconds, 3), "error": message})

    def made_by_another(self, picture: PlannedImage) -> None:
        """Count a picture that a process which died has made: it was not there when the run began."""
        line: ManifestLine = {"status": "ok", "file": self._folder.picture(picture).name}
        self.count(self._whole(picture, line))

    def count(self, line: ManifestLine, *, counts: bool = True) -> None:
        """Count a line that is in the manifest and tells of it; `counts` where it was to be made."""
        outcome, status = self.outcome, line["status"]
        outcome.ok += status == "ok"
        outcome.skipped += status == "skipped"
        outcome.failed += status == "failed"
        self.settled += counts
        if status == "ok":
            outcome.files.append(self._folder.path / line["file"])
        if self._tell is not None:
            self._tell(line)

    def _note(self, picture: PlannedImage, line: ManifestLine, *, counts: bool = True) -> None:
        self._folder.free(picture)
        whole = self._whole(picture, line)
        self._folder.note(whole)
        self.count(whole, counts=counts)

    def _whole(self, picture: PlannedImage, line: ManifestLine) -> ManifestLine:
        """Return a line with what is told of every picture."""
        whole: ManifestLine = {
            "id": picture.id,
            **line,
            "index": picture.index,
            "line": picture.row.line,
            "seed": picture.job.seed,
            "prompt": picture.job.prompt,
        }
        if picture.labels:
            whole["sweep"] = list(picture.labels)
        if self._shard.total > 1:
            whole["shard"] = f"{self._shard.number}/{self._shard.total}"
        return whole
