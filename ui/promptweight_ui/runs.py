"""Runs of a model in a thread, followed and stopped by the events of a browser session.

Gradio cannot interrupt a function, only a generator between two of its values. Therefore the model runs in a
thread, the generator yields the newest status, and the stop button, a closed page or a canceled event set a
request. The callback checks it after every step, a waiting run leaves the queue at once, and hooks in the
model end a step that takes long. A run keeps its turn until its thread has ended.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from promptweight_ui import validation
from promptweight_ui.malloc_trim import trim
from promptweight_ui.threads import start_thread
from promptweight_ui.turns import Ticket, Turns

if TYPE_CHECKING:
    from promptweight.generation import Progress
    from promptweight.protocols import Pipeline

MIN_PREVIEW_INTERVAL = 0.15
"""Seconds between two previews of an unfinished image."""

MAX_PREVIEW_SHARE = 0.2
"""Largest part of a run's time that is spent on previews."""

IDLE_INTERVAL = 0.5
"""Seconds after which `Run.statuses` yields a status without progress, so that a closed page is noticed."""

PATIENCE = 1.5
"""Seconds that a stopped run has to end its step, so that the unfinished image can be shown."""


class RunAbortedError(Exception):
    """Exit from a step of a run that was stopped."""


class RunFailedError(Exception):
    """Failure of a run that has finished images.

    Attributes:
        cause: the error that ended it.
        message: the message of the finished images for the page.
    """

    def __init__(self, cause: Exception, message: Mapping[str, Any]) -> None:
        super().__init__(str(cause))
        self.cause, self.message = cause, message


@dataclass(frozen=True)
class RunProgress:
    """Progress of a run.

    Attributes:
        image_number: the number of the current image, from 1.
        image_count: the number of images.
        step: the number of finished steps of the current image.
        steps: the number of its steps.
        seconds_left: an estimate for all images; None before the second step.
        preview: the return value of the preview function for the last step that has one; None before that.
    """

    image_number: int
    image_count: int
    step: int
    steps: int
    seconds_left: float | None
    preview: Any


@dataclass(frozen=True)
class RunStatus:
    """Status of a run.

    Attributes:
        queue: the place among the waiting runs, from 1, and their number; None for a run that does not wait
            for another.
        progress: the newest progress; None if there is none since the last status.
        idle: seconds since the last step, or since the run began.
    """

    queue: tuple[int, int] | None
    progress: RunProgress | None
    idle: float


class Run:
    """One run: `start` it, iterate over `statuses`, then read its `outcome`.

    Args:
        turns: the turns at the models.
        preview: makes `RunProgress.preview`; called for as many steps as the limits on previews allow.
    """

    def __init__(self, turns: Turns, preview: Callable[[Progress], Any] | None = None) -> None:
        self._turns = turns
        self._ticket: Ticket | None = None
        self._preview = preview
        self._changed = Condition()
        self._request: Literal["continue", "finish", "stop"] = "continue"
        self._stop_time = math.inf
        self._progress: RunProgress | None = None
        self._outcome: Any = None
        self._error: BaseException | None = None
        self._is_done = False
        self._start_time: float | None = None
        self._last_step = monotonic()
        self._last_preview, self._preview_seconds = -math.inf, 0.0
        self._is_awaited = True

    def stop(self) -> None:
        """End the run: after the present step, or inside it after `PATIENCE`; at once while it waits."""
        self._stop_time = min(self._stop_time, monotonic())
        self._request = "stop"
        self._turns.wake()

    def finish(self) -> None:
        """End the run after the present image."""
        if self._request == "continue":
            self._request = "finish"

    @property
    def is_stopped(self) -> bool:
        """True once `stop` was called."""
        return self._request == "stop"

    @property
    def is_done(self) -> bool:
        """True once the thread has ended."""
        return self._is_done

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the thread has ended, at most `timeout` seconds, and return whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_done, timeout)

    def start(self, work: Callable[[Run], Any]) -> None:
        """Begin `work` in a thread as soon as it is its turn.

        Args:
            work: its argument is this run, whose `after_step` is the callback of `promptweight.generate`.

        Raises:
            QueueFullError: too many runs are waiting.
        """
        ticket = self._ticket = self._turns.join()

        def run() -> None:
            try:
                with self._turns.hold(ticket, lambda: self.is_stopped) as has_turn:
                    self._last_step = monotonic()
                    if has_turn:
                        self._outcome = work(self)
            except RunAbortedError:
                pass
            except BaseException as error:
                self._error = error
            with self._changed:
                self._is_done = True
                self._changed.notify_all()

        start_thread("run", run, self.stop)

    def statuses(self) -> Iterator[RunStatus]:
        """Yield the newest status until the run ends, at least every `IDLE_INTERVAL`.

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
                yield self._status(progress)
        finally:
            if not self._is_done:
                self.stop()

    def _status(self, progress: RunProgress | None) -> RunStatus:
        queue = None if self._ticket is None else self._turns.place(self._ticket)
        return RunStatus(queue, progress, monotonic() - self._last_step)

    @property
    def outcome(self) -> Any:
        """The return value of `work`, None if it was stopped before its end; its exception is raised."""
        if self._error is not None:
            raise self._error
        return self._outcome

    @contextmanager
    def interrupting(self, pipe: Pipeline) -> Iterator[None]:
        """Let the modules of a pipeline end a step inside the block once the run is stopped.

        Raises:
            RunAbortedError: the run was stopped more than `PATIENCE` before.
        """
        from torch.nn import Module

        def check(*_: Any) -> None:
            if monotonic() - self._stop_time > PATIENCE:
                raise RunAbortedError

        models = [each for each in pipe.components.values() if isinstance(each, Module)]
        blocks = [block for model in models for block in model.modules() if any(block.children())]
        hooks = [block.register_forward_pre_hook(check) for block in blocks]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def after_step(self, progress: Progress) -> bool:
        """Take the progress of a step, and return whether the run goes on."""
        now = self._last_step = monotonic()
        if self._start_time is None:
            # The first step is the slowest, so the clock starts after it.
            self._start_time = now
        self._publish(progress, self._make_preview(progress, now))
        return self._request == "continue" or (self._request == "finish" and progress.step < progress.steps)

    def _make_preview(self, progress: Progress, now: float) -> Any:
        if self._preview is None or not self._is_awaited or now - self._last_preview < MIN_PREVIEW_INTERVAL:
            return None
        limit = MAX_PREVIEW_SHARE * (now - (self._start_time or now)) + MIN_PREVIEW_INTERVAL
        if self._preview_seconds > limit:
            return None
        preview = self._preview(progress)
        self._last_preview = monotonic()
        self._preview_seconds += self._last_preview - now
        return preview

    def _publish(self, progress: Progress, preview: Any) -> None:
        done = (progress.image_number - 1) * progress.steps + progress.step
        left = progress.image_count * progress.steps - done
        elapsed = monotonic() - (self._start_time or 0.0)
        seconds = elapsed / (done - 1) * left if done > 1 else None
        numbers = (progress.image_number, progress.image_count, progress.step, progress.steps)
        with self._changed:
            if preview is not None:
                self._is_awaited = False
            elif self._progress is not None and self._progress.image_number == progress.image_number:
                preview = self._progress.preview  # not read yet
            self._progress = RunProgress(*numbers, seconds, preview)
            self._changed.notify_all()


class RunHolder(Protocol):
    """An object that holds the current run, such as `sessions.Session`."""

    run: Run | None


Message = TypeVar("Message")


def follow_run(
    turns: Turns,
    session: RunHolder,
    work: Callable[[Run], Any],
    describe: Callable[[RunStatus], Message | None],
    preview: Callable[[Progress], Any] | None = None,
) -> Generator[Message, None, Any]:
    """Run `work` in a thread and yield messages about its status; `yield from` returns its value.

    The previous run of the session is stopped, and so is this one when its page is closed.

    Args:
        turns: the turns at the models.
        session: the session that the run belongs to.
        work: its argument is the run.
        describe: returns a message for the page, or None to send nothing.
        preview: makes `RunProgress.preview`.

    Raises:
        QueueFullError: too many runs are waiting.
        Exception: that of `work`.
    """
    if session.run is not None:
        session.run.stop()
    run = session.run = Run(turns, preview)
    run.start(work)
    try:
        for status in run.statuses():
            if (message := describe(status)) is not None:
                yield message
        return run.outcome
    finally:
        trim()


def closing(messages: Iterator[dict[str, Any]], language: object) -> Iterator[dict[str, Any]]:
    """Yield messages; before an error is raised, a last one with its text in every language.

    The page thus leaves the state of a running run whatever happens. The last message has the finished
    images, because a page may skip all messages before it.

    Raises:
        PageError: the error, with a text in the language of the page.
    """
    try:
        yield from messages
    except Exception as error:
        cause: Exception = error
        finished: Mapping[str, Any] = {}
        if isinstance(error, RunFailedError):
            cause, finished = error.cause, error.message
        shown = validation.as_page_error(language, cause)
        yield {**finished, "state": "failed", "error": shown.texts}
        raise shown from error
