"""Execution of a batch in this process: claim images, draw them in batches, encode ahead and write behind.

While the model draws, one thread parses and encodes the next prompts and two others write finished images.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptweight.batch.executor import BatchTask
from promptweight.batch.output_folder import is_persistent_error
from promptweight.batch.plan import PlannedImage
from promptweight.batch.prompt_cache import PromptCache, options_key
from promptweight.batch.sharding import choose_local_device
from promptweight.batch.writer import is_finished, save_image
from promptweight.errors import SettingError

if TYPE_CHECKING:
    from promptweight.batch.oom_fallback import BatchOomFallback
    from promptweight.batch.prompt_cache import PreparedJob
    from promptweight.batch.renderer import BatchRenderer
    from promptweight.protocols import Pipeline

_CLAIM_WAIT = 0.2
"""Seconds between two checks of images that other processes have claimed."""


@dataclass(frozen=True)
class LocalExecutor:
    """Executor that draws in this process.

    Attributes:
        load: returns the pipeline; by default `promptweight.load` of the plan's model.
    """

    load: Callable[[], Any] | None = None

    def execute(self, task: BatchTask) -> None:
        """Draw the images of a task; see `Executor.execute`."""
        from promptweight.models import load

        _LocalRun(task).draw(load(task.plan.model.source) if self.load is None else self.load())


class _LocalRun:
    """Execution of one task."""

    def __init__(self, task: BatchTask) -> None:
        self.task = task
        self.folder, self.progress, self.manifest = task.folder, task.progress, task.manifest
        self.pending: deque[tuple[PlannedImage, float, Future[Any]]] = deque()
        """Images that are being written, with the seconds that they took."""

    def draw(self, pipe: Pipeline) -> None:
        from promptweight.batch.oom_fallback import BatchOomFallback
        from promptweight.batch.renderer import BatchRenderer, RenderCancelled

        plan = self.task.plan
        cache = PromptCache(pipe, plan.prompts)
        records = self.task.output_options.needs_recording
        renderer = BatchRenderer(cache, records=records, on_step=self.progress.on_step)
        _check_settings(renderer, plan.images)
        fallback = BatchOomFallback(renderer)
        with ThreadPoolExecutor(1) as encoder, ThreadPoolExecutor(2) as writer:
            try:
                for batch in self._batches(cache, encoder, fallback):
                    self._render(batch, fallback, writer)
                    self._log_written(2 * self.task.batch_size)
            except RenderCancelled:
                pass
            finally:
                renderer.restore()
                self._log_written(0)

    def _batches(
        self, cache: PromptCache, encoder: ThreadPoolExecutor, fallback: BatchOomFallback
    ) -> Iterator[list[tuple[PlannedImage, PreparedJob]]]:
        """Yield claimed batches of equal settings, while the prompts of the next batch are encoded.

        Images that other processes have claimed come last, when those have finished them or have died.
        """
        from promptweight.batch.prompt_cache import settings_key

        batch_size = self.task.batch_size
        waiting = deque(group_batches(self.task.plan.images, batch_size))
        claimed_elsewhere: list[PlannedImage] = []
        ahead: Future[Any] | None = None
        while (waiting or claimed_elsewhere) and self.progress.goes_on:
            if not waiting:
                self._log_written(0)
                time.sleep(_CLAIM_WAIT)
                waiting, ahead = deque(group_batches(claimed_elsewhere, batch_size)), None
                claimed_elsewhere = []
            images = waiting.popleft()
            if ahead is None:
                ahead = encoder.submit(_prepare, cache, images)
            prepared, ahead = ahead.result(), None
            claimed = []
            for image, job in prepared:
                if not self.folder.claim(image):
                    claimed_elsewhere.append(image)
                elif not self.task.overwrite and self._is_finished(image):
                    self.manifest.add_skipped(image, was_unfinished=True)
                elif isinstance(job, Exception):
                    self.manifest.add_failed(image, job)
                else:
                    claimed.append((image, job))
            # Adapters change the text encoders while their jobs are drawn.
            uses_encoders = any(job.has_adapters for _, job in claimed)
            if waiting and not (uses_encoders or fallback.memory.is_offloaded):
                ahead = encoder.submit(_prepare, cache, waiting[0])
            by_settings: dict[Any, list[tuple[PlannedImage, PreparedJob]]] = {}
            for image, job in claimed:
                by_settings.setdefault(settings_key(job), []).append((image, job))
            batches = list(by_settings.values())
            for number, batch in enumerate(batches):
                if not self.progress.goes_on:
                    for image, _ in [each for later in batches[number:] for each in later]:
                        self.folder.release(image)
                    return
                yield batch

    def _render(
        self,
        batch: Sequence[tuple[PlannedImage, PreparedJob]],
        fallback: BatchOomFallback,
        writer: ThreadPoolExecutor,
    ) -> None:
        """Draw a batch and submit its images to the writers."""
        from promptweight.batch.renderer import RenderCancelled

        by_job = {id(job): image for image, job in batch}
        start = time.monotonic()
        try:
            for job, result in fallback.render([job for _, job in batch]):
                image, seconds = by_job.pop(id(job)), (time.monotonic() - start)
                start += seconds
                if isinstance(result, Exception):
                    self.manifest.add_failed(image, result, seconds)
                else:
                    path = self.folder.image_path(image)
                    written = writer.submit(save_image, result, path, self.task.output_options)
                    self.pending.append((image, seconds, written))
                self.progress.on_finished(1, seconds)
        except RenderCancelled:
            for image in by_job.values():
                self.folder.release(image)
            raise

    def _is_finished(self, image: PlannedImage) -> bool:
        return is_finished(self.folder, image, self.task.output_options, self.task.plan.prompts)

    def _log_written(self, allowed: int) -> None:
        """Log images that are written; wait until at most `allowed` are not."""
        persistent: OSError | None = None
        while self.pending and (len(self.pending) > allowed or self.pending[0][2].done()):
            image, seconds, future = self.pending.popleft()
            error = future.exception()
            if error is None:
                self.manifest.add_finished(image, seconds, *future.result())
                continue
            self.folder.release(image)
            if isinstance(error, OSError) and is_persistent_error(error):
                persistent = persistent or error
            elif isinstance(error, Exception):
                self.manifest.add_failed(image, error, seconds)
            else:
                raise error
        if persistent is not None:
            self.progress.stop_level = max(self.progress.stop_level, 1)
            raise persistent


def group_batches(images: Sequence[PlannedImage], batch_size: int) -> Iterator[list[PlannedImage]]:
    """Yield up to `batch_size` images of equal settings at a time, in the order of the first of each kind."""
    groups: dict[Any, list[PlannedImage]] = {}
    keys: dict[int, Any] = {}
    for image in images:
        options = image.job.options
        if id(options) not in keys:
            keys[id(options)] = options_key(options)
        groups.setdefault(keys[id(options)], []).append(image)
    for group in groups.values():
        for start in range(0, len(group), batch_size):
            yield group[start : start + batch_size]


def load_on_local_device(model: str, device: str, dtype: str, offload: str | None) -> Any:
    """Load a model on the device of this process."""
    from promptweight.models import load

    return load(model, device=choose_local_device(device), dtype=dtype, offload=offload)


def _prepare(
    cache: PromptCache, images: Sequence[PlannedImage]
) -> list[tuple[PlannedImage, PreparedJob | Exception]]:
    """Parse and encode the prompts of some images; a failed one becomes an error of its own."""
    prepared: list[tuple[PlannedImage, Any]] = []
    for image in images:
        try:
            prepared.append((image, cache.prepare(image.job)))
        except Exception as error:  # it fails by itself
            prepared.append((image, error))
    return prepared


def _check_settings(renderer: BatchRenderer, images: Sequence[PlannedImage]) -> None:
    """Raise `SettingError` with the row of the first settings that the model does not accept."""
    checked = set()
    for image in images:
        options = image.job.options
        key = (options.scheduler, options.width, options.height)
        if key in checked:
            continue
        checked.add(key)
        try:
            renderer.check(image.job)
        except SettingError as error:
            field = next((name for name in ("scheduler", "width", "height") if name in str(error)), "prompt")
            raise SettingError(str(image.row.problem(field, str(error)))) from error
