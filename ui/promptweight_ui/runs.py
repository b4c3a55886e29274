"""A run of a model in a thread of its own, watched and stopped by the events of a browser session.

Gradio cannot interrupt a function, only a generator between two of its values. So the model works in a
thread, the generator hands on the newest news of it, and whoever wants the run to end leaves a wish that the
next step finds: the stop button, a closed tab, a canceled event.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from threading import Condition, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import gradio as gr

from promptweight.errors import PromptweightError
from promptweight_ui import validation
from promptweight_ui.context import Context
from promptweight_ui.i18n import say
from promptweight_ui.malloc_trim import trim

if TYPE_CHECKING:
    from promptweight.generation import Progress

SHORTEST_WAIT = 0.15
"""Seconds between two looks at an unfinished picture."""

LOOKING_SHARE = 0.2
"""The most of a run's time that is spent on showing it."""

PULSE = 0.5
"""Seconds after which a watcher is handed None, so that a closed tab is noticed while a step takes long."""


@dataclass(frozen=True)
class News:
    """How far a run is.

    Attributes:
        picture: the number of the picture being made, from 1.
        pictures: how many are wanted.
        step: how many steps of it are done.
        steps: how many it takes.
        seconds_left: an estimate for all pictures; None before the second step.
        look: what `show` returned for this step.
    """

    picture: int
    pictures: int
    step: int
    steps: int
    seconds_left: float | None
    look: Any


class Run:
    """One run: `start` it, iterate over `news`, then ask for its `outcome`."""

    def __init__(self, show: Callable[[Progress], Any] | None = None) -> None:
        self._show = show
        self._changed = Condition()
        self._wish: Literal["go on", "finish", "stop"] = "go on"
        self._news: News | None = None
        self._outcome: Any = None
        self._error: BaseException | None = None
        self._is_done = False
        self._begun: float | None = None
        self._looked, self._looking = 0.0, 0.0
        self._is_awaited = True

    def stop(self) -> None:
        """End the run after the present step."""
        self._wish = "stop"

    def finish(self) -> None:
        """End the run after the present picture."""
        if self._wish == "go on":
            self._wish = "finish"

    @property
    def is_done(self) -> bool:
        """Whether the thread has come to its end."""
        return self._is_done

    def start(self, work: Callable[[Callable[[Progress], bool]], Any]) -> None:
        """Begin `work` in a thread; it is given the callback that `promptweight.generate` takes."""

        def run() -> None:
            try:
                self._outcome = work(self._after_step)
            except BaseException as error:
                self._error = error
            with self._changed:
                self._is_done = True
                self._changed.notify_all()

        Thread(target=run, name="run", daemon=True).start()

    def news(self) -> Iterator[News | None]:
        """Yield the newest news, None where there is none for a while, until the run is over.

        A watcher that goes away before the end stops the run.
        """
        try:
            while True:
                with self._changed:
                    self._is_awaited = True
                    self._changed.wait_for(lambda: self._news is not None or self._is_done, PULSE)
                    news, self._news = self._news, None
                    if news is None and self._is_done:
                        return
                yield news
        finally:
            if not self._is_done:
                self.stop()

    @property
    def outcome(self) -> Any:
        """What `work` returned; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._outcome

    def _after_step(self, progress: Progress) -> bool:
        now = monotonic()
        if self._begun is None:
            # The first step is the slowest, so the clock starts after it.
            self._begun, self._looked = now, now - SHORTEST_WAIT
        is_wanted = self._show is not None and self._is_awaited and now - self._looked >= SHORTEST_WAIT
        if is_wanted and self._looking <= LOOKING_SHARE * (now - self._begun) + SHORTEST_WAIT:
            look = self._show(progress)  # type: ignore[misc]
            self._looked = monotonic()
            self._looking += self._looked - now
            self._tell(progress, look)
        elif self._show is None:
            self._tell(progress, None)
        return self._wish == "go on" or (self._wish == "finish" and progress.step < progress.steps)

    def _tell(self, progress: Progress, look: Any) -> None:
        done = (progress.picture - 1) * progress.steps + progress.step
        left = progress.pictures * progress.steps - done
        spent = monotonic() - (self._begun or 0.0)
        seconds = spent / (done - 1) * left if done > 1 else None
        with self._changed:
            self._is_awaited = False
            self._news = News(
                progress.picture, progress.pictures, progress.step, progress.steps, seconds, look
            )
            self._changed.notify_all()


Message = TypeVar("Message")


def followed(
    context: Context,
    request: gr.Request,
    language: object,
    work: Callable[[Callable[[Progress], bool]], Any],
    tell: Callable[[News | None], Message | None],
    show: Callable[[Progress], Any] | None = None,
) -> Generator[Message, None, Any]:
    """Run `work` in a thread and yields what is to be told; its value (`yield from`) is `work`'s.

    The session's run before it ends at its next step, and so does this one when its page is closed.

    Args:
        context: what the tabs share.
        request: of the browser.
        language: of the page.
        work: given the callback that `promptweight.generate` takes.
        tell: given the news of the run, None where there is none for a while; returns a message for the page,
            None for nothing to tell.
        show: makes what `News.look` holds.

    Raises:
        gr.Error: the run failed.
    """
    session = context.sessions.of(request)
    if session.run is not None:
        session.run.stop()
    run = session.run = Run(show)
    run.start(work)
    try:
        for news in run.news():
            if (message := tell(news)) is not None:
                yield message
        return outcome(run, language)
    finally:
        trim()


def outcome(run: Run, language: object) -> Any:
    """Return what a run made; raises its failure as something a person can read."""
    try:
        return run.outcome
    except PromptweightError as error:
        raise validation.refused(language, error) from error
    except Exception as error:
        # What other libraries say may hold paths of the server, so it goes into its log alone.
        logging.getLogger("promptweight").exception("a run failed")
        is_memory = type(error).__name__ in ("OutOfMemoryError", "MemoryError")
        key = "error_memory" if is_memory else "error_failed"
        title = say(language, "error_title")
        raise gr.Error(say(language, key), title=title, print_exception=False) from error
