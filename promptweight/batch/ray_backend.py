"""A batch on a Ray cluster: Ray Data's pool of actors, each with the model loaded, over a shared folder.

Every actor runs the same engine as one process does. One that dies is started again and its batch is given
to another; what it had finished is found in the folder, and its claims ended with it, so nothing is lost and
nothing made twice. Pictures at which worker after worker dies have failed, and the others go on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from promptweight.batch.manifest import Manifest
from promptweight.batch.output_folder import OutputFolder
from promptweight.batch.plan import Plan
from promptweight.batch.progress import BatchProgress
from promptweight.batch.runner import run
from promptweight.batch.worker import group_batches, load_on_local_device
from promptweight.batch.writer import OutputOptions, is_finished
from promptweight.errors import PromptweightError, SettingError

_MOST_BLOCKS = 1000
_BROKEN = "broken"
"""The status of a line that says that a worker cannot go on."""

RETRIES = 3
"""How often a batch is given to another worker when one dies."""


@dataclass(frozen=True)
class RayCluster:
    """Where the work is done.

    Attributes:
        address: the cluster's; None is that in RAY_ADDRESS, or a new one on this machine.
        workers: how many actors; None is one for each GPU of the cluster, or one where it has none.
        device: what each worker loads the model to, as `promptweight.load` takes it; also `dtype`, `offload`.
    """

    address: str | None = None
    workers: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    offload: str | None = None


@dataclass
class RayWorker:
    """An actor of the pool: loads the model once, and makes the batches that it is given."""

    plan: Plan
    output: str
    saving: OutputOptions
    cluster: RayCluster
    overwrite: bool

    def __post_init__(self) -> None:
        on = self.cluster
        self.pipe = load_on_local_device(self.plan.model.source, on.device, on.dtype, on.offload)

    def __call__(self, rows: dict[str, Any]) -> dict[str, list[str]]:
        """Take rows of numbers of pictures; returns the lines of the manifest about them."""
        lines: list[str] = []
        for numbers in rows["pictures"]:
            pictures = [self.plan.pictures[number] for number in numbers]
            try:
                run(
                    self.plan.taking(pictures),
                    self.output,
                    batch_size=len(pictures),
                    saving=self.saving,
                    overwrite=self.overwrite,
                    load=lambda: self.pipe,
                    tell=lambda line: lines.append(json.dumps(line)),
                )
            except (PromptweightError, OSError) as error:  # a full disk, and what else will meet all others
                lines.append(json.dumps({"status": _BROKEN, "error": str(error)}))
        return {"line": lines}


def make(
    plan: Plan,
    folder: OutputFolder,
    saving: OutputOptions,
    watch: BatchProgress,
    ledger: Manifest,
    cluster: RayCluster,
    batch_size: int,
    overwrite: bool,
) -> None:
    """Make all pictures of a plan; Ctrl-C ends the workers at once, which loses the pictures in work alone.

    Raises:
        SettingError: Ray is not installed.
        PromptweightError: the cluster cannot be reached, or the workers cannot do their work, such as load
            the model.
    """
    worker = {
        "plan": plan,
        "output": str(folder.path.absolute()),
        "saving": saving,
        "cluster": cluster,
        "overwrite": overwrite,
    }
    last = time.monotonic()
    missing = {picture.id: picture for picture in plan.pictures}
    for line in _lines(plan, worker, cluster, batch_size):
        if line["status"] == _BROKEN:
            raise PromptweightError(f"a worker failed: {line['error']}")
        picture = missing.pop(line["id"])
        if line["status"] == "skipped":
            ledger.made_by_another(picture)
        else:
            ledger.count(line)
        watch.finished(1, time.monotonic() - last)
        last = time.monotonic()
        if not watch.goes_on:
            return
    for picture in missing.values():
        if not overwrite and is_finished(folder, picture, saving):
            ledger.made_by_another(picture)
        else:
            ledger.failed(picture, PromptweightError(f"{RETRIES + 1} workers died at it or at one beside it"))


def _lines(plan: Plan, worker: dict[str, Any], cluster: RayCluster, batch_size: int) -> Iterator[dict[str, Any]]:
    """Yield the lines of the manifest as the workers finish pictures."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise SettingError('ray is wanted, but not installed: pip install "promptweight[ray]"') from error

    numbers = {picture.id: number for number, picture in enumerate(plan.pictures)}
    batches = group_batches(plan.pictures, batch_size)
    rows = [{"pictures": [numbers[picture.id] for picture in batch]} for batch in batches]
    was_running = ray.is_initialized()
    if not was_running:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address := cluster.address or os.environ.get("RAY_ADDRESS"):
            options["address"] = address
        else:
            options["include_dashboard"] = False
        try:
            ray.init(**options)
        except Exception as error:  # Ray has no common error for it
            raise PromptweightError(f"Ray cannot be started or reached: {_cause(error)}") from error
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # without a limit; what is missing in the end has failed
        gpus = int(ray.cluster_resources().get("GPU", 0))
        data = ray.data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS))
        done = data.map_batches(
            RayWorker,
            fn_constructor_kwargs=worker,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=cluster.workers or max(1, gpus)),
            num_gpus=1 if gpus else 0,
            num_cpus=0.5,
            max_restarts=-1,
            max_task_retries=RETRIES,
        )
        for row in done.iter_rows():
            yield json.loads(row["line"])
    except ray.exceptions.RayError as error:
        raise PromptweightError(f"a worker failed: {_cause(error)}") from error
    finally:
        if not was_running:
            ray.shutdown()


def _cause(error: Exception) -> str:
    """Return the last line of an error that came from another process, which names its cause."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
