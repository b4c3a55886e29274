"""The work of one process: claim pictures, draw them in batches, and read ahead and write behind meanwhile.

While the model draws, a thread reads and encodes the next prompts and two others write finished pictures.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from promptweight.batch.manifest import Manifest
from promptweight.batch.output_folder import OutputFolder, is_persistent_error
from promptweight.batch.plan import Plan, PlannedImage
from promptweight.batch.progress import BatchProgress
from promptweight.batch.sharding import choose_local_device
from promptweight.batch.writer import OutputOptions, is_finished, save_image
from promptweight.errors import SettingError

if TYPE_CHECKING:
    from promptweight.batch.oom_fallback import OomFallback
    from promptweight.batch.prompt_cache import PreparedJob, PromptCache
    from promptweight.batch.renderer import BatchRenderer

_WAIT = 0.2
"""Seconds between two looks at a picture that another process is making."""


class LocalExecutor:
    """One process's part of a run; what becomes of its pictures goes into the ledger."""

    def __init__(
        self, plan: Plan, folder: OutputFolder, saving: OutputOptions, watch: BatchProgress, ledger: Manifest, *, overwrite: bool
    ) -> None:
        self.plan, self.folder, self.saving, self.watch, self.ledger = plan, folder, saving, watch, ledger
        self.overwrite = overwrite
        self.writing: deque[tuple[PlannedImage, float, Future[Any]]] = deque()

    def make(self, todo: Sequence[PlannedImage], batch_size: int, load: Callable[[], Any]) -> None:
        """Make pictures until none is left or the person stops.

        Raises:
            SettingError: the model cannot take their settings.
            OSError: the disk is full, or cannot be written to any more.
        """
        from promptweight.batch.oom_fallback import OomFallback
        from promptweight.batch.prompt_cache import PromptCache
        from promptweight.batch.renderer import BatchRenderer, RenderCancelled

        pipe = load()
        encodings = PromptCache(pipe, lora_dir=self.plan.lora_dir, embeddings_dir=self.plan.embeddings_dir)
        painter = BatchRenderer(encodings, records=self.saving.records, step=self.watch.step)
        _check(painter, todo)
        is_offloaded = getattr(pipe, "_offload_device", None) is not None
        frugal = OomFallback(painter, str(pipe._execution_device), is_offloaded=is_offloaded)
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(2) as writer:
            try:
                for batch in self._batches(todo, batch_size, encodings, reader, frugal):
                    self._draw(batch, frugal, writer)
                    self._collect(2 * batch_size)
            except RenderCancelled:
                pass
            finally:
                painter.leave()
                self._collect(0)

    def _batches(
        self,
        todo: Sequence[PlannedImage],
        batch_size: int,
        encodings: PromptCache,
        reader: ThreadPoolExecutor,
        frugal: OomFallback,
    ) -> Iterator[list[tuple[PlannedImage, PreparedJob]]]:
        """Yield claimed batches of equal settings, the next one's prompts being read meanwhile.

        Pictures that other processes have claimed come last, when those are done with them or have died.
        """
        from promptweight.batch.prompt_cache import settings_key

        waiting = deque(group_batches(todo, batch_size))
        busy: list[PlannedImage] = []
        ahead: Future[Any] | None = None
        while (waiting or busy) and self.watch.goes_on:
            if not waiting:
                self._collect(0)
                time.sleep(_WAIT)
                waiting, busy, ahead = deque(group_batches(busy, batch_size)), [], None
            pictures = waiting.popleft()
            if ahead is None:
                ahead = reader.submit(_read, encodings, pictures)
            read, ahead = ahead.result(), None
            claimed = []
            for picture, ready in read:
                if not self.folder.claim(picture):
                    busy.append(picture)
                elif not self.overwrite and is_finished(self.folder, picture, self.saving):
                    self.ledger.skipped(picture, was_to_be_made=True)
                elif isinstance(ready, Exception):
                    self.ledger.failed(picture, ready)
                else:
                    claimed.append((picture, ready))
            # What is drawn alone reads its prompts itself, meanwhile nobody else may use the text encoders.
            changes_model = any(
                ready.chosen.loras or ready.chosen.embeddings or ready.goes_alone for _, ready in claimed
            )
            if waiting and not (changes_model or frugal.is_offloaded):
                ahead = reader.submit(_read, encodings, waiting[0])
            by_settings: dict[Any, list[tuple[PlannedImage, PreparedJob]]] = {}
            for picture, ready in claimed:
                by_settings.setdefault(settings_key(ready), []).append((picture, ready))
            alike = list(by_settings.values())
            for number, batch in enumerate(alike):
                if not self.watch.goes_on:
                    for picture, _ in [each for later in alike[number:] for each in later]:
                        self.folder.free(picture)
                    return
                yield batch

    def _draw(
        self, batch: Sequence[tuple[PlannedImage, PreparedJob]], frugal: OomFallback, writer: ThreadPoolExecutor
    ) -> None:
        """Draw a batch and hands its pictures to the writers."""
        from promptweight.batch.renderer import RenderCancelled

        by_job = {id(ready): picture for picture, ready in batch}
        start = time.monotonic()
        try:
            for ready, drawn in frugal.draw([ready for _, ready in batch]):
                picture, seconds = by_job.pop(id(ready)), (time.monotonic() - start)
                start += seconds
                if isinstance(drawn, Exception):
                    self.ledger.failed(picture, drawn, seconds)
                else:
                    path = self.folder.picture(picture)
                    self.writing.append((picture, seconds, writer.submit(save_image, drawn, path, self.saving)))
                self.watch.finished(1, seconds)
        except RenderCancelled:
            for picture in by_job.values():
                self.folder.free(picture)
            raise

    def _collect(self, allowed: int) -> None:
        """Note pictures that are written; waits until at most `allowed` are not."""
        hopeless: OSError | None = None
        while self.writing and (len(self.writing) > allowed or self.writing[0][2].done()):
            picture, seconds, future = self.writing.popleft()
            error = future.exception()
            if error is None:
                self.ledger.done(picture, seconds, *future.result())
                continue
            self.folder.free(picture)
            if isinstance(error, OSError) and is_persistent_error(error):
                hopeless = hopeless or error
            elif isinstance(error, Exception):
                self.ledger.failed(picture, error, seconds)
            else:
                raise error
        if hopeless is not None:
            self.watch.presses = max(self.watch.presses, 1)
            raise hopeless


def group_batches(pictures: Sequence[PlannedImage], batch_size: int) -> Iterator[list[PlannedImage]]:
    """Yield up to `batch_size` pictures of equal settings at a time, in the order of the first of a kind."""
    groups: dict[Any, list[PlannedImage]] = {}
    for picture in pictures:
        alike = replace(picture.job, prompt="", negative_prompt="", seed=0)
        groups.setdefault(alike, []).append(picture)
    for group in groups.values():
        for start in range(0, len(group), batch_size):
            yield group[start : start + batch_size]


def _read(encodings: PromptCache, pictures: Sequence[PlannedImage]) -> list[tuple[PlannedImage, PreparedJob | Exception]]:
    """Read and encodes the prompts of some pictures; one that cannot be is an error of its own."""
    read: list[tuple[PlannedImage, Any]] = []
    for picture in pictures:
        try:
            read.append((picture, encodings.ready(picture.job)))
        except Exception as error:  # it fails alone
            read.append((picture, error))
    return read


def _check(painter: BatchRenderer, todo: Sequence[PlannedImage]) -> None:
    """Raise `SettingError` naming the row where the model cannot take its settings."""
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


def load_on_local_device(model: str, device: str, dtype: str, offload: str | None) -> Any:
    """Load a model on the device of this process."""
    from promptweight.models import load

    return load(model, device=choose_local_device(device), dtype=dtype, offload=offload)
