"""The run of a batch: from a plan to files, overlapped, resumable, together with other processes.

    with watching() as watch:
        outcome = run(plan, "out", batch_size=4, watch=watch, tell=print)

While the model draws, a thread reads and encodes the next prompts and two others write finished pictures.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptweight.batch.folder import Folder, is_hopeless
from promptweight.batch.plan import Plan, Planned
from promptweight.batch.saving import Saving, is_finished, save
from promptweight.batch.shards import Shard
from promptweight.batch.watch import Watch
from promptweight.errors import PromptweightError, SettingError

if TYPE_CHECKING:
    from promptweight.batch.drawing import Ready

Line = dict[str, Any]
"""A line of the manifest: id, status (ok, failed, skipped), file, seconds, error, and more."""

_WAIT = 0.2
"""Seconds between two looks at a picture that another process is making."""


@dataclass
class Outcome:
    """What became of a run; `left` counts the pictures that it was to make and did not come to."""

    ok: int = 0
    skipped: int = 0
    failed: int = 0
    left: int = 0
    is_stopped: bool = False
    seconds: float = 0.0
    files: list[Path] = field(default_factory=list)


def run(
    plan: Plan,
    output: str | os.PathLike[str],
    *,
    batch_size: int = 1,
    saving: Saving | None = None,
    load: Callable[[], Any] | None = None,
    shard: Shard | None = None,
    overwrite: bool = False,
    limit: int | None = None,
    watch: Watch | None = None,
    tell: Callable[[Line], None] | None = None,
) -> Outcome:
    """Makes the pictures of a plan that are not finished in a folder.

    Args:
        plan: from `make_plan`; with mistakes in it nothing is made.
        output: the folder.
        batch_size: how many pictures are drawn in one call of the model, 1 or more. A batch of 1 gives the
            pictures of `promptweight.generate` bit for bit; see `drawing` about larger ones.
        saving: what is written; the picture alone by default.
        load: gives the pipeline, and is not called where nothing is left to make; `promptweight.load` of the
            plan's model by default.
        shard: which part of the plan is this process's; all by default.
        overwrite: whether finished pictures are made again.
        limit: how many pictures are made at most.
        watch: follows the run and may stop it.
        tell: takes each line of the manifest when it is written.

    Raises:
        SettingError: the plan has mistakes, or the model cannot take its settings; nothing was made.
        ModelError: the model cannot be loaded.
        OSError: the folder cannot be written into, or the disk is full; what is finished stays.
    """
    if mistakes := [str(problem) for problem in plan.problems if not problem.is_warning]:
        raise SettingError("\n".join(mistakes))
    if batch_size < 1 or (limit is not None and limit < 0):
        raise SettingError(f"batch_size is {batch_size} and limit {limit}; at least 1 and 0 are needed")
    saving, watch, shard = saving or Saving(), watch or Watch(), shard or Shard(1, 1)
    start = time.monotonic()
    with Folder(output, format=saving.format) as folder:
        batch = _Batch(plan, folder, saving, watch, tell, overwrite=overwrite, shard=shard)
        todo = batch.unfinished(shard.of(plan.pictures))
        outcome = batch.outcome
        if limit is not None:
            todo = todo[:limit]
        if todo:
            watch.begin(len(todo))
            batch.work(todo, batch_size, load or _loader(plan))
        outcome.left = len(todo) - batch.settled
        outcome.is_stopped = not watch.goes_on and outcome.left > 0
    outcome.seconds = time.monotonic() - start
    return outcome


class _Batch:
    """One run: what is to be made, in work, being written, and settled."""

    def __init__(
        self,
        plan: Plan,
        folder: Folder,
        saving: Saving,
        watch: Watch,
        tell: Callable[[Line], None] | None,
        *,
        overwrite: bool,
        shard: Shard,
    ) -> None:
        self.plan, self.folder, self.saving, self.watch, self.tell = plan, folder, saving, watch, tell
        self.overwrite, self.shard = overwrite, shard
        self.outcome = Outcome()
        self.settled = 0
        self.writing: deque[tuple[Planned, float, Future[Any]]] = deque()

    def unfinished(self, pictures: Iterable[Planned]) -> list[Planned]:
        """Returns what is to be made; tells of the rest as skipped."""
        todo = []
        for picture in pictures:
            if not self.overwrite and is_finished(self.folder, picture, self.saving):
                self._skip(picture)
            else:
                todo.append(picture)
        return todo

    def work(self, todo: Sequence[Planned], batch_size: int, load: Callable[[], Any]) -> None:
        """Makes pictures until none is left or the person stops."""
        from promptweight.batch.drawing import GivenUp, Painter
        from promptweight.batch.memory import Frugal

        pipe = load()
        painter = Painter(
            pipe,
            records=self.saving.records,
            lora_dir=self.plan.lora_dir,
            embeddings_dir=self.plan.embeddings_dir,
            step=self.watch.step,
        )
        _check(painter, todo)
        is_offloaded = getattr(pipe, "_offload_device", None) is not None
        frugal = Frugal(painter, str(pipe._execution_device), is_offloaded=is_offloaded)
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(2) as writer:
            try:
                for batch in self._batches(todo, batch_size, painter, reader, frugal):
                    self._make(batch, frugal, writer)
                    self._collect(2 * batch_size)
            except GivenUp:
                pass
            finally:
                painter.leave()
                self._collect(0)

    def _batches(
        self, todo: Sequence[Planned], batch_size: int, painter: Any, reader: ThreadPoolExecutor, frugal: Any
    ) -> Iterator[list[tuple[Planned, Ready]]]:
        """Yields claimed batches of equal settings, the next one's prompts being read meanwhile.

        Pictures that other processes have claimed come last, when those are done with them or have died.
        """
        from promptweight.batch.drawing import same_settings

        waiting = deque(batches_of(todo, batch_size))
        busy: list[Planned] = []
        ahead: Future[Any] | None = None
        while (waiting or busy) and self.watch.goes_on:
            if not waiting:
                self._collect(0)
                time.sleep(_WAIT)
                waiting = deque(batches_of(busy, batch_size))
                busy = []
                ahead = None
            pictures = waiting.popleft()
            if ahead is None:
                ahead = reader.submit(_read, painter, pictures)
            read, ahead = ahead.result(), None
            claimed = []
            for picture, ready in read:
                if not self.folder.claim(picture):
                    busy.append(picture)
                elif not self.overwrite and is_finished(self.folder, picture, self.saving):
                    self.folder.free(picture)
                    self._skip(picture, counts=True)
                elif isinstance(ready, Exception):
                    self._fail(picture, ready)
                else:
                    claimed.append((picture, ready))
            changes_model = any(ready.chosen.loras or ready.chosen.embeddings for _, ready in claimed)
            if waiting and not (changes_model or frugal.is_offloaded):
                ahead = reader.submit(_read, painter, waiting[0])
            by_settings: dict[Any, list[tuple[Planned, Ready]]] = {}
            for picture, ready in claimed:
                by_settings.setdefault(same_settings(ready), []).append((picture, ready))
            alike = list(by_settings.values())
            for number, batch in enumerate(alike):
                if not self.watch.goes_on:
                    for picture, _ in [each for later in alike[number:] for each in later]:
                        self.folder.free(picture)
                    return
                yield batch

    def _make(self, batch: Sequence[tuple[Planned, Ready]], frugal: Any, writer: ThreadPoolExecutor) -> None:
        """Draws a batch and hands its pictures to the writers."""
        from promptweight.batch.drawing import GivenUp

        by_job = {id(ready): picture for picture, ready in batch}
        start = time.monotonic()
        try:
            for ready, drawn in frugal.draw([ready for _, ready in batch]):
                picture, seconds = by_job.pop(id(ready)), (time.monotonic() - start)
                start += seconds
                if isinstance(drawn, Exception):
                    self._fail(picture, drawn, seconds)
                else:
                    path = self.folder.picture(picture)
                    self.writing.append((picture, seconds, writer.submit(save, drawn, path, self.saving)))
                self.watch.finished(1, seconds)
        except GivenUp:
            for picture in by_job.values():
                self.folder.free(picture)
            raise

    def _collect(self, allowed: int) -> None:
        """Tells of pictures that are written; waits until at most `allowed` are not."""
        hopeless: OSError | None = None
        while self.writing and (len(self.writing) > allowed or self.writing[0][2].done()):
            picture, seconds, future = self.writing.popleft()
            error = future.exception()
            if error is None:
                files, warnings = future.result()
                self._done(picture, seconds, files, warnings)
                continue
            self.folder.free(picture)
            if isinstance(error, OSError) and is_hopeless(error):
                hopeless = hopeless or error
            elif isinstance(error, Exception):
                self._fail(picture, error, seconds)
            else:
                raise error
        if hopeless is not None:
            self.watch.presses = max(self.watch.presses, 1)
            raise hopeless

    def _done(self, picture: Planned, seconds: float, files: list[Path], warnings: Sequence[str]) -> None:
        self.outcome.ok += 1
        self.outcome.files.append(files[0])
        names = [path.name for path in files]
        line = {"status": "ok", "file": names[0], "seconds": round(seconds, 3)}
        if names[1:]:
            line["beside"] = names[1:]
        if warnings:
            line["warnings"] = list(warnings)
        self._settle(picture, line)

    def _skip(self, picture: Planned, *, counts: bool = False) -> None:
        self.outcome.skipped += 1
        name = self.folder.picture(picture).name
        self._settle(picture, {"status": "skipped", "file": name}, counts=counts)

    def _fail(self, picture: Planned, error: Exception, seconds: float = 0.0) -> None:
        self.outcome.failed += 1
        kind = "" if isinstance(error, (PromptweightError, OSError)) else f"{type(error).__name__}: "
        message = f"{kind}{str(error).strip() or type(error).__name__}"
        self._settle(picture, {"status": "failed", "seconds": round(seconds, 3), "error": message})

    def _settle(self, picture: Planned, line: Line, *, counts: bool = True) -> None:
        self.folder.free(picture)
        self.settled += counts
        whole = {
            "id": picture.id,
            **line,
            "index": picture.index,
            "line": picture.row.line,
            "seed": picture.job.seed,
            "prompt": picture.job.prompt,
        }
        if picture.labels:
            whole["sweep"] = list(picture.labels)
        if self.shard.total > 1:
            whole["shard"] = f"{self.shard.number}/{self.shard.total}"
        self.folder.note(whole)
        if self.tell is not None:
            self.tell(whole)


def _read(painter: Any, pictures: Sequence[Planned]) -> list[tuple[Planned, Ready | Exception]]:
    """Reads and encodes the prompts of some pictures; one that cannot be is an error of its own."""
    read: list[tuple[Planned, Any]] = []
    for picture in pictures:
        try:
            read.append((picture, painter.ready(picture.job)))
        except Exception as error:  # it fails alone
            read.append((picture, error))
    return read


def batches_of(pictures: Sequence[Planned], batch_size: int) -> Iterator[list[Planned]]:
    """Yields up to `batch_size` pictures of equal settings at a time, in the order of the first of a kind."""
    from dataclasses import replace

    groups: dict[Any, list[Planned]] = {}
    for picture in pictures:
        alike = replace(picture.job, prompt="", negative_prompt="", seed=0)
        groups.setdefault(alike, []).append(picture)
    for group in groups.values():
        for start in range(0, len(group), batch_size):
            yield group[start : start + batch_size]


def _check(painter: Any, todo: Sequence[Planned]) -> None:
    """Raises `SettingError` naming the row where the model cannot take its settings."""
    seen = set()
    for picture in todo:
        key = (picture.job.scheduler, picture.job.width, picture.job.height)
        if key in seen:
            continue
        seen.add(key)
        try:
            painter.check(picture.job)
        except SettingError as error:
            about = next((name for name in ("scheduler", "width", "height") if name in str(error)), "prompt")
            raise SettingError(str(picture.row.problem(about, str(error)))) from error


def _loader(plan: Plan) -> Callable[[], Any]:
    def load() -> Any:
        from promptweight import models

        return models.load(plan.model.source)

    return load
