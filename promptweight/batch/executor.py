"""Interface between a batch run and its executors: this process or the workers of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from promptweight.batch.manifest import Manifest
from promptweight.batch.output_folder import OutputFolder
from promptweight.batch.plan import Plan
from promptweight.batch.progress import BatchProgress

if TYPE_CHECKING:
    from promptweight.batch.writer import OutputOptions


@dataclass(frozen=True)
class BatchTask:
    """Unfinished images of a run, and where the results go.

    Attributes:
        plan: the plan with only the images to draw.
        folder: the open output folder.
        output_options: the files written for each image.
        progress: takes the progress and holds the request to stop.
        manifest: takes the outcome of each image.
        batch_size: number of images drawn in one call of the model, 1 or more.
        overwrite: whether finished images are drawn again.
    """

    plan: Plan
    folder: OutputFolder
    output_options: OutputOptions
    progress: BatchProgress
    manifest: Manifest
    batch_size: int
    overwrite: bool


class Executor(Protocol):
    """Means of drawing the images of a task."""

    def execute(self, task: BatchTask) -> None:
        """Draw all images of a task, until they are finished or the run is stopped.

        Raises:
            SettingError: the model does not accept their settings.
            ModelError: the model cannot be loaded.
            PromptweightError: the executor cannot work.
            OSError: the disk is full or read-only.
        """
