"""How a person follows and stops a batch: a bar with the time left, and Ctrl-C in two degrees."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

SECONDS_BETWEEN_LINES = 60.0
_REMEMBERED = 50


@dataclass
class BatchProgress:
    """Whether to go on, and how far it is; the same for a person at a terminal and for nobody at all.

    The first Ctrl-C (or SIGTERM) lets the pictures in work be finished, the second stops after the present
    step and leaves them unmade, a third ends the program at once. Before the first step one is enough.
    """

    total: int = 0
    done: int = 0
    presses: int = 0
    has_begun: bool = False
    say: Callable[[str], None] | None = None
    show: Callable[[str, float, int], None] | None = None
    _times: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    @property
    def goes_on(self) -> bool:
        """Whether another picture may be begun."""
        return self.presses == 0

    def begin(self, total: int) -> None:
        """Tell how many pictures there are to make."""
        self.total = total
        self._show("making pictures", 0)

    def step(self, step: int, steps: int, pictures: int) -> bool:
        """Take the news of one step of some pictures; False when they should be given up."""
        self.has_begun = True
        part = pictures * step / max(steps, 1) if step < steps else 0
        self._show(self.text(), self.done + part)
        return self.presses < 2

    def finished(self, pictures: int, seconds: float) -> None:
        """Take the news of finished pictures and how long all of them took."""
        self.done += pictures
        self._times.append((pictures, seconds))
        self._show(self.text(), self.done)

    def seconds_left(self) -> float | None:
        """The time left by a running mean over the last batches; None before the first."""
        pictures = sum(number for number, _ in self._times)
        if not pictures:
            return None
        return (self.total - self.done) * sum(seconds for _, seconds in self._times) / pictures

    def text(self) -> str:
        """How far it is, in words."""
        left = self.seconds_left()
        rest = "" if left is None else f", {format_duration(left)} left"
        return f"{self.done} of {self.total} pictures{rest}"

    def interrupt(self, number: int, _frame: FrameType | None) -> None:
        """Handle one Ctrl-C or SIGTERM."""
        self.presses += 1
        if not self.has_begun or self.presses > 2:
            raise KeyboardInterrupt
        if self.presses == 1 and self.say is not None:
            again = "; press Ctrl-C again to stop now" if number == signal.SIGINT else ""
            self.say(f"finishing the pictures in work{again}")

    def _show(self, text: str, done: float) -> None:
        if self.show is not None:
            self.show(text, done, self.total)


def format_duration(seconds: float) -> str:
    """Return a time as people say it: 45 s, 12 min, 3 h 05 min.

    >>> duration(45), duration(700), duration(11100)
    ('45 s', '12 min', '3 h 05 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


@contextmanager
def show_progress(*, quiet: bool = False, is_first: bool = True) -> Iterator[BatchProgress]:
    """Follow a batch on stderr: a bar on a terminal, else a line a minute; handles Ctrl-C meanwhile.

    Args:
        quiet: whether nothing is shown.
        is_first: whether this process may show a bar, of several that share a terminal.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    screen = Console(stderr=True, markup=False, highlight=False, emoji=False)
    watch = BatchProgress(say=screen.print)
    hidden = quiet or not screen.is_terminal or not is_first
    columns = (TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=screen, transient=True, disable=hidden) as bar:
        task = bar.add_task("reading", total=None)
        told = time.monotonic()

        def update(text: str, done: float, total: int) -> None:
            nonlocal told
            bar.update(task, description=text, completed=done, total=total)
            if hidden and not quiet and time.monotonic() - told >= SECONDS_BETWEEN_LINES:
                told = time.monotonic()
                screen.print(text)

        watch.show = update
        with _signals(watch):
            yield watch


@contextmanager
def _signals(watch: BatchProgress) -> Iterator[None]:
    """Handle the signals inside the block, where this thread may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    before: dict[Any, Any] = {number: signal.signal(number, watch.interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
