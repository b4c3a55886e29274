"""Batch run: from a plan to files, resumable, in this process or on a cluster.

outcome = run(plan, "out", batch_size=4, on_line=print)
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from promptweight.batch.executor import BatchTask, Executor
from promptweight.batch.manifest import BatchOutcome, Manifest, ManifestLine
from promptweight.batch.output_folder import OutputFolder
from promptweight.batch.plan import Plan
from promptweight.batch.progress import BatchProgress
from promptweight.batch.sharding import Shard
from promptweight.batch.worker import LocalExecutor
from promptweight.batch.writer import OutputOptions, is_finished
from promptweight.errors import SettingError
from promptweight.messages import message


def run(
    plan: Plan,
    output: str | os.PathLike[str],
    *,
    executor: Executor | None = None,
    batch_size: int = 1,
    output_options: OutputOptions | None = None,
    shard: Shard | None = None,
    overwrite: bool = False,
    limit: int | None = None,
    progress: BatchProgress | None = None,
    on_line: Callable[[ManifestLine], None] | None = None,
) -> BatchOutcome:
    """Draw the images of a plan that are not finished in a folder.

    Args:
        plan: from `plan_batch`.
        output: the folder; every machine of a cluster must have it at this path.
        executor: draws the images; by default this process with the model of the plan (`LocalExecutor`). It
            is not called if all images are finished.
        batch_size: number of images drawn in one call of the model, 1 or more. A batch of 1 gives the images
            of `promptweight.generate` bit for bit; see `promptweight.batch.renderer` for larger ones.
        output_options: the files written for each image; by default the image alone.
        shard: the part of the plan for this process; by default all of it.
        overwrite: whether finished images are drawn again.
        limit: largest number of images to draw.
        progress: takes the progress and may stop the run.
        on_line: called with each line of the manifest when it is written.

    Returns:
        The counts and files of the run.

    Raises:
        SettingError: the plan has errors, or the model does not accept its settings; nothing was drawn.
        ModelError: the model cannot be loaded.
        PromptweightError: the cluster cannot be reached, or its workers cannot work.
        OSError: the folder is not writable, or the disk is full; finished images stay.
    """
    if errors := [str(problem) for problem in plan.problems if not problem.is_warning]:
        raise SettingError("\n".join(errors))
    if batch_size < 1:
        raise SettingError(message("count-minimum", name="batch_size", count=batch_size))
    if limit is not None and limit < 0:
        raise SettingError(message("run-limit", limit=limit))
    output_options = output_options or OutputOptions()
    progress, shard = progress or BatchProgress(), shard or Shard(1, 1)
    start = time.monotonic()
    with OutputFolder(Path(output), format=output_options.format) as folder:
        manifest = Manifest(folder, shard, on_line)
        outcome, unfinished = manifest.outcome, []
        for image in shard.of(plan.images):
            if not overwrite and is_finished(folder, image, output_options, plan.prompts):
                manifest.add_skipped(image)
            else:
                unfinished.append(image)
        unfinished = unfinished[:limit]
        if unfinished:
            progress.begin(len(unfinished))
            task = BatchTask(
                plan.with_images(unfinished),
                folder,
                output_options,
                progress,
                manifest,
                batch_size,
                overwrite,
            )
            (executor or LocalExecutor()).execute(task)
        outcome.left = len(unfinished) - manifest.completed
        outcome.is_stopped = not progress.goes_on and outcome.left > 0
    outcome.seconds = time.monotonic() - start
    return outcome
