"""Execution of a batch on a Ray cluster: a pool of Ray Data actors with the model, over a shared folder.

Every actor runs the same code as one process. One that dies is restarted and its batch goes to another; its
finished images are in the folder and its claims ended with it, so no image is lost or drawn twice. Images at
which worker after worker dies fail, and the others go on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from promptweight.batch.executor import BatchTask
from promptweight.batch.plan import Plan
from promptweight.batch.runner import run
from promptweight.batch.worker import LocalExecutor, group_batches, load_on_local_device
from promptweight.batch.writer import OutputOptions, is_finished
from promptweight.errors import PromptweightError, SettingError
from promptweight.messages import message

_MAX_BLOCKS = 1000
_BROKEN = "broken"
"""Status of a line that reports that a worker cannot go on."""

RETRIES = 3
"""Number of times that a batch goes to another worker when one dies."""


@dataclass(frozen=True)
class RayExecutor:
    """Executor that draws on the workers of a Ray cluster.

    Attributes:
        address: address of the cluster; None for RAY_ADDRESS, or a new cluster on this machine.
        workers: number of actors; None for one for each GPU of the cluster, or one without GPUs.
        device: device of each worker, as in `promptweight.load`, like `dtype` and `offload`.
        dtype: likewise.
        offload: likewise.
    """

    address: str | None = None
    workers: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    offload: str | None = None

    def execute(self, task: BatchTask) -> None:
        """Draw the images of a task; Ctrl-C ends the workers at once and loses only the current images.

        Raises:
            SettingError: Ray is not installed.
            PromptweightError: the cluster cannot be reached, or the workers cannot work, for example not load
                the model.
        """
        last = time.monotonic()
        missing = {image.id: image for image in task.plan.images}
        for line in self._lines(task):
            if line["status"] == _BROKEN:
                raise PromptweightError(message("ray-worker-failed", reason=line["error"]))
            image = missing.pop(line["id"])
            if line["status"] == "skipped":
                task.manifest.count_unlogged(image)
            else:
                task.manifest.count(line)
            task.progress.on_finished(1, time.monotonic() - last)
            last = time.monotonic()
            if not task.progress.goes_on:
                return
        for image in missing.values():
            if not task.overwrite and is_finished(task.folder, image, task.output_options, task.plan.prompts):
                task.manifest.count_unlogged(image)
            else:
                error = PromptweightError(message("ray-workers-died", number=RETRIES + 1))
                task.manifest.add_failed(image, error)

    def _lines(self, task: BatchTask) -> Iterator[dict[str, Any]]:
        """Yield the lines of the manifest as the workers finish images."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise SettingError(message("ray-missing")) from error

        plan = task.plan
        indices = {image.id: index for index, image in enumerate(plan.images)}
        batches = group_batches(plan.images, task.batch_size)
        rows = [{"images": [indices[image.id] for image in batch]} for batch in batches]
        worker = {
            "plan": plan,
            "output": str(task.folder.path.absolute()),
            "output_options": task.output_options,
            "overwrite": task.overwrite,
            "device": self.device,
            "dtype": self.dtype,
            "offload": self.offload,
        }
        was_running = ray.is_initialized()
        if not was_running:
            options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
            if address := self.address or os.environ.get("RAY_ADDRESS"):
                options["address"] = address
            else:
                options["include_dashboard"] = False
            try:
                ray.init(**options)
            except Exception as error:  # Ray has no common base class of its errors
                raise PromptweightError(message("ray-unreachable", reason=_cause(error))) from error
        try:
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            context.max_errored_blocks = -1  # no limit; images that are missing in the end have failed
            gpus = int(ray.cluster_resources().get("GPU", 0))
            data = ray.data.from_items(rows, override_num_blocks=min(len(rows), _MAX_BLOCKS))
            done = data.map_batches(
                RayWorker,
                fn_constructor_kwargs=worker,
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=self.workers or max(1, gpus)),
                num_gpus=1 if gpus else 0,
                num_cpus=0.5,
                max_restarts=-1,
                max_task_retries=RETRIES,
            )
            for row in done.iter_rows():
                yield json.loads(row["line"])
        except ray.exceptions.RayError as error:
            raise PromptweightError(message("ray-worker-failed", reason=_cause(error))) from error
        finally:
            if not was_running:
                ray.shutdown()


@dataclass
class RayWorker:
    """Actor of the pool, which loads the model once and draws the batches that it receives.

    Attributes:
        plan: the plan of all images to draw.
        output: the absolute path of the output folder.
        output_options: the files written for each image.
        overwrite: whether finished images are drawn again.
        device: device of the model, as in `promptweight.load`, like `dtype` and `offload`.
        dtype: likewise.
        offload: likewise.
    """

    plan: Plan
    output: str
    output_options: OutputOptions
    overwrite: bool
    device: str
    dtype: str
    offload: str | None

    def __post_init__(self) -> None:
        self.pipe = load_on_local_device(self.plan.model.source, self.device, self.dtype, self.offload)

    def __call__(self, rows: dict[str, Any]) -> dict[str, list[str]]:
        """Draw the images with the indices in `rows`; return the lines of the manifest about them."""
        lines: list[str] = []
        for indices in rows["images"]:
            images = [self.plan.images[index] for index in indices]
            try:
                run(
                    self.plan.with_images(images),
                    self.output,
                    executor=LocalExecutor(lambda: self.pipe),
                    batch_size=len(images),
                    output_options=self.output_options,
                    overwrite=self.overwrite,
                    on_line=lambda line: lines.append(json.dumps(line)),
                )
            except (
                PromptweightError,
                OSError,
            ) as error:  # a full disk, for example, affects all other images
                lines.append(json.dumps({"status": _BROKEN, "error": str(error)}))
        return {"line": lines}


def _cause(error: Exception) -> str:
    """Return the last line of an error from another process, which names its cause."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
