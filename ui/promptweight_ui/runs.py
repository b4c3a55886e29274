"""Runs of a model in a thread, followed and stopped by the events of a browser session.

Gradio cannot interrupt a function, only a generator between two of its values. Therefore the model runs in a
thread, the generator yields the newest progress, and the stop button, a closed page or a canceled event set a
request that the callback checks after every step.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from threading import Condition, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import gradio as gr

from promptweight.errors import PromptweightError
from promptweight_ui import validation
from promptweight_ui.i18n import translate
from promptweight_ui.malloc_trim import trim

if TYPE_CHECKING:
    from promptweight.generation import Progress

MIN_PREVIEW_INTERVAL = 0.15
"""Seconds between two previews of an unfinished image."""

MAX_PREVIEW_SHARE = 0.2
"""Largest part of a run's time that is spent on previews."""

IDLE_INTERVAL = 0.5
"""Seconds after which `Run.progress` yields None, so that a closed page is noticed during a long step."""


@dataclass(frozen=True)
class RunProgress:
    """Progress of a run.

    Attributes:
        image_number: the number of the current image, from 1.
        image_count: the number of images.
        step: the number of finished steps of the current image.
        steps: the number of its steps.
        seconds_left: an estimate for all images; None before the second step.
        preview: the return value of the preview function for this step.
    """

    image_number: int
    image_count: int
    step: int
    steps: int
    seconds_left: float | None
    preview: Any


class Run:
    """One run: `start` it, iterate over `progress`, then read its `outcome`.

    Args:
        preview: makes `RunProgress.preview`; called for as many steps as the limits on previews allow.
    """

    def __init__(self, preview: Callable[[Progress], Any] | None = None) -> None:
        self._preview = preview
        self._changed = Condition()
        self._request: Literal["continue", "finish", "stop"] = "continue"
        self._progress: RunProgress | None = None
        self._outcome: Any = None
        self._error: BaseException | None = None
        self._is_done = False
        self._start_time: float | None = None
        self._last_preview, self._preview_seconds = -math.inf, 0.0
        self._is_awaited = True

    def stop(self) -> None:
        """End the run after the present step."""
        self._request = "stop"

    def finish(self) -> None:
        """End the run after the present image."""
        if self._request == "continue":
            self._request = "finish"

    @property
    def is_done(self) -> bool:
        """True once the thread has ended."""
        return self._is_done

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the thread has ended, at most `timeout` seconds, and return whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_done, timeout)

    def start(self, work: Callable[[Callable[[Progress], bool]], Any]) -> None:
        """Begin `work` in a thread; its argument is the callback of `promptweight.generate`."""

        def run() -> None:
            try:
                self._outcome = work(self._after_step)
            except BaseException as error:
                self._error = error
            with self._changed:
                self._is_done = True
                self._changed.notify_all()

        Thread(target=run, name="run", daemon=True).start()

    def progress(self) -> Iterator[RunProgress | None]:
        """Yield the newest progress until the run ends, and None after `IDLE_INTERVAL` without progress.

        Closing the iterator before the end stops the run.
        """
        try:
            while True:
                with self._changed:
                    self._is_awaited = True
                    self._changed.wait_for(lambda: self._progress is not None or self._is_done, IDLE_INTERVAL)
                    progress, self._progress = self._progress, None
                    if progress is None and self._is_done:
                        return
                yield progress
        finally:
            if not self._is_done:
                self.stop()

    @property
    def outcome(self) -> Any:
        """The return value of `work`; its exception is raised."""
        if self._error is not None:
            raise self._error
        return self._outcome

    def _after_step(self, progress: Progress) -> bool:
        now = monotonic()
        if self._start_time is None:
            # The first step is the slowest, so the clock starts after it.
            self._start_time = now
        if self._preview is None:
            self._publish(progress, None)
        elif self._is_awaited and now - self._last_preview >= MIN_PREVIEW_INTERVAL:
            limit = MAX_PREVIEW_SHARE * (now - self._start_time) + MIN_PREVIEW_INTERVAL
            if self._preview_seconds <= limit:
                preview = self._preview(progress)
                self._last_preview = monotonic()
                self._preview_seconds += self._last_preview - now
                self._publish(progress, preview)
        return self._request == "continue" or (self._request == "finish" and progress.step < progress.steps)

    def _publish(self, progress: Progress, preview: Any) -> None:
        done = (progress.image_number - 1) * progress.steps + progress.step
        left = progress.image_count * progress.steps - done
        elapsed = monotonic() - (self._start_time or 0.0)
        seconds = elapsed / (done - 1) * left if done > 1 else None
        with self._changed:
            self._is_awaited = False
            self._progress = RunProgress(
                progress.image_number, progress.image_count, progress.step, progress.steps, seconds, preview
            )
            self._changed.notify_all()


class RunHolder(Protocol):
    """An object that holds the current run, such as `sessions.Session`."""

    run: Run | None


Message = TypeVar("Message")


def follow_run(
    session: RunHolder,
    language: object,
    work: Callable[[Callable[[Progress], bool]], Any],
    describe: Callable[[RunProgress | None], Message | None],
    preview: Callable[[Progress], Any] | None = None,
) -> Generator[Message, None, Any]:
    """Run `work` in a thread and yield messages about its progress; `yield from` returns its value.

    The previous run of the session ends after its present step, and so does this one when its page is closed.

    Args:
        session: the session that the run belongs to.
        language: the language of the page.
        work: its argument is the callback of `promptweight.generate`.
        describe: returns a message for the page, or None to send nothing; its argument is the progress, None
            where there is none for a while.
        preview: makes `RunProgress.preview`.

    Raises:
        gr.Error: the run failed.
    """
    if session.run is not None:
        session.run.stop()
    run = session.run = Run(preview)
    run.start(work)
    try:
        for progress in run.progress():
            if (message := describe(progress)) is not None:
                yield message
        return run_outcome(run, language)
    finally:
        trim()


def run_outcome(run: Run, language: object) -> Any:
    """Return the return value of a run.

    Raises:
        gr.Error: the run failed; the error has a text in the language of the page.
    """
    try:
        return run.outcome
    except PromptweightError as error:
        raise validation.as_gradio_error(language, error) from error
    except Exception as error:
        # Messages of other libraries may hold paths of the server, so only the log has them.
        logging.getLogger("promptweight").exception("a run failed")
        is_memory = type(error).__name__ in ("OutOfMemoryError", "MemoryError")
        text = translate(language, "error_memory" if is_memory else "error_failed")
        title = translate(language, "error_title")
        raise gr.Error(text, title=title, print_exception=False) from error
