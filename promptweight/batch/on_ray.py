"""A batch on a Ray cluster: Ray Data's pool of actors, each with the model loaded, over a shared folder.

Every actor runs the same engine as one process does. One that dies is started again and its batch is given
to another; what it had finished is found in the folder, and its claims ended with it, so nothing is lost and
nothing made twice.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptweight.batch.engine import Line, Outcome, batches_of
from promptweight.batch.engine import run as run_here
from promptweight.batch.folder import Folder
from promptweight.batch.plan import Plan, Planned
from promptweight.batch.saving import Saving, is_finished
from promptweight.batch.watch import Watch
from promptweight.errors import PromptweightError, SettingError

_MOST_BLOCKS = 1000


@dataclass
class Worker:
    """An actor of the pool: loads the model once, and makes the batches that it is given."""

    plan: Plan
    output: str
    saving: Saving
    loading: dict[str, Any]
    overwrite: bool

    def __post_init__(self) -> None:
        from promptweight.batch.planning import load

        self.pipe = load(self.plan.model.source, **self.loading)

    def __call__(self, rows: dict[str, Any]) -> dict[str, list[str]]:
        """Takes rows of numbers of pictures; returns the lines of the manifest about them."""
        lines: list[str] = []
        for numbers in rows["pictures"]:
            pictures = [self.plan.pictures[number] for number in numbers]
            run_here(
                self.plan.taking(pictures),
                self.output,
                batch_size=len(pictures),
                saving=self.saving,
                overwrite=self.overwrite,
                load=lambda: self.pipe,
                tell=lambda line: lines.append(json.dumps(line)),
            )
        return {"line": lines}


def run(
    plan: Plan,
    output: str | os.PathLike[str],
    *,
    batch_size: int = 1,
    saving: Saving | None = None,
    address: str | None = None,
    workers: int | None = None,
    loading: dict[str, Any] | None = None,
    overwrite: bool = False,
    limit: int | None = None,
    watch: Watch | None = None,
    tell: Callable[[Line], None] | None = None,
) -> Outcome:
    """Makes the pictures of a plan that are not finished, on a Ray cluster; see `engine.run`.

    Args:
        plan: from `make_plan`.
        output: the folder, which every machine of the cluster must see under this path.
        batch_size: as in `engine.run`, like `saving`, `overwrite`, `limit` and `tell`.
        address: the cluster's; None is that in RAY_ADDRESS, or a new one on this machine.
        workers: how many actors; None is one for each GPU of the cluster, or one where it has none.
        loading: `device`, `dtype` and `offload` as `promptweight.load` takes them.
        watch: follows the run; Ctrl-C ends the workers at once, which loses the pictures in work alone.

    Raises:
        SettingError: Ray is not installed.
        PromptweightError: the workers cannot do their work, such as load the model.
        OSError: the folder cannot be written into.
    """
    saving, watch, outcome = saving or Saving(), watch or Watch(), Outcome()
    start = time.monotonic()
    folder_path = Path(output).absolute()
    with Folder(folder_path, format=saving.format) as folder:
        todo = [each for each in plan.pictures if overwrite or not is_finished(folder, each, saving)]
    outcome.skipped = len(plan.pictures) - len(todo)
    todo = todo[:limit]
    if todo:
        watch.begin(len(todo))
        worker = {
            "plan": plan.taking(todo),
            "output": str(folder_path),
            "saving": saving,
            "loading": loading or {"device": "auto", "dtype": "auto", "offload": None},
            "overwrite": overwrite,
        }
        for line in _lines(todo, worker, batch_size, address, workers):
            outcome.ok += line["status"] != "failed"
            outcome.failed += line["status"] == "failed"
            if line["status"] != "failed":
                outcome.files.append(folder_path / line["file"])
            watch.finished(1, time.monotonic() - start - outcome.seconds)
            outcome.seconds = time.monotonic() - start
            if tell is not None:
                tell(line)
            if not watch.goes_on:
                break
    outcome.left = len(todo) - outcome.ok - outcome.failed
    outcome.is_stopped = not watch.goes_on and outcome.left > 0
    outcome.seconds = time.monotonic() - start
    return outcome


def _lines(
    todo: list[Planned], worker: dict[str, Any], batch_size: int, address: str | None, workers: int | None
) -> Any:
    """Yields the lines of the manifest as the workers finish pictures."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise SettingError('ray is wanted, but not installed: pip install "promptweight[ray]"') from error

    numbers = {picture.id: number for number, picture in enumerate(todo)}
    rows = [
        {"pictures": [numbers[picture.id] for picture in batch]} for batch in batches_of(todo, batch_size)
    ]
    was_running = ray.is_initialized()
    if not was_running:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address := address or os.environ.get("RAY_ADDRESS"):
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
        gpus = int(ray.cluster_resources().get("GPU", 0))
        data = ray.data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS))
        done = data.map_batches(
            Worker,
            fn_constructor_kwargs=worker,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers or max(1, gpus)),
            num_gpus=1 if gpus else 0,
            num_cpus=0.5,
            max_restarts=-1,
            max_task_retries=-1,
        )
        for row in done.iter_rows():
            yield json.loads(row["line"])
    except ray.exceptions.RayError as error:
        raise PromptweightError(f"a worker failed: {_cause(error)}") from error
    finally:
        if not was_running:
            ray.shutdown()


def _cause(error: Exception) -> str:
    """Returns the last line of an error that came from another process, which names its cause."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
