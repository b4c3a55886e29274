"""The run of a batch: from a plan to files, resumable, by this process or by the workers of a cluster.

with watching() as watch:
    outcome = run(plan, "out", batch_size=4, watch=watch, tell=print)
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptweight.batch.manifest import BatchOutcome, Manifest, ManifestLine
from promptweight.batch.output_folder import OutputFolder
from promptweight.batch.plan import Plan
from promptweight.batch.progress import BatchProgress
from promptweight.batch.sharding import Shard
from promptweight.batch.worker import LocalExecutor
from promptweight.batch.writer import OutputOptions, is_finished
from promptweight.errors import SettingError

if TYPE_CHECKING:
    from promptweight.batch.ray_backend import RayCluster


def run(
    plan: Plan,
    output: str | os.PathLike[str],
    *,
    batch_size: int = 1,
    saving: OutputOptions | None = None,
    load: Callable[[], Any] | None = None,
    cluster: RayCluster | None = None,
    shard: Shard | None = None,
    overwrite: bool = False,
    limit: int | None = None,
    watch: BatchProgress | None = None,
    tell: Callable[[ManifestLine], None] | None = None,
) -> BatchOutcome:
    """Make the pictures of a plan that are not finished in a folder.

    Args:
        plan: from `make_plan`; with mistakes in it nothing is made.
        output: the folder; every machine of a cluster must see it under this path.
        batch_size: how many pictures are drawn in one call of the model, 1 or more. A batch of 1 gives the
            pictures of `promptweight.generate` bit for bit; see `drawing` about larger ones.
        saving: what is written; the picture alone by default.
        load: gives the pipeline, and is not called where nothing is left to make; `promptweight.load` of the
            plan's model by default. Workers of a cluster load it themselves.
        cluster: the Ray cluster that does the work; without one, this process does it.
        shard: which part of the plan is this process's; all by default.
        overwrite: whether finished pictures are made again.
        limit: how many pictures are made at most.
        watch: follows the run and may stop it.
        tell: takes each line of the manifest when it is written.

    Raises:
        SettingError: the plan has mistakes, or the model cannot take its settings; nothing was made.
        ModelError: the model cannot be loaded.
        PromptweightError: the cluster cannot be reached, or its workers cannot do their work.
        OSError: the folder cannot be written into, or the disk is full; what is finished stays.
    """
    if mistakes := [str(problem) for problem in plan.problems if not problem.is_warning]:
        raise SettingError("\n".join(mistakes))
    if batch_size < 1 or (limit is not None and limit < 0):
        raise SettingError(f"batch_size is {batch_size} and limit {limit}; at least 1 and 0 are needed")
    saving, watch, shard = saving or OutputOptions(), watch or BatchProgress(), shard or Shard(1, 1)
    start = time.monotonic()
    with OutputFolder(Path(output), format=saving.format) as folder:
        ledger = Manifest(folder, shard, tell)
        outcome, todo = ledger.outcome, []
        for picture in shard.of(plan.pictures):
            if not overwrite and is_finished(folder, picture, saving):
                ledger.skipped(picture)
            else:
                todo.append(picture)
        todo = todo[:limit]
        if todo:
            watch.begin(len(todo))
            if cluster is None:
                work = LocalExecutor(plan, folder, saving, watch, ledger, overwrite=overwrite)
                work.make(todo, batch_size, load or partial(_load, plan.model.source))
            else:
                from promptweight.batch import ray_backend

                ray_backend.make(
                    plan.taking(todo), folder, saving, watch, ledger, cluster, batch_size, overwrite
                )
        outcome.left = len(todo) - ledger.settled
        outcome.is_stopped = not watch.goes_on and outcome.left > 0
    outcome.seconds = time.monotonic() - start
    return outcome


def _load(model: str) -> Any:
    from promptweight.models import load

    return load(model)
