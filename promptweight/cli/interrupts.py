"""Ctrl-C during a run: the first press stops after the current images, the second after the current step."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol


class StoppableRun(Protocol):
    """Run that can be stopped.

    Attributes:
        stop_level: 0 to go on, 1 to finish the current images and stop, 2 to stop after the current step.
        has_begun: whether a first step is done.
    """

    stop_level: int
    has_begun: bool


@contextmanager
def stop_on_signals(
    run: StoppableRun,
    report: Callable[[str], None],
    what: str,
    signals: Sequence[signal.Signals] = (signal.SIGINT,),
) -> Iterator[None]:
    """Raise the run's stop level on each signal inside the block; outside of the main thread do nothing.

    The third signal, or one before the first step, ends the program at once (`KeyboardInterrupt`).

    Args:
        run: the run.
        report: takes a message after the first signal.
        what: the objects that are being finished, for the message.
        signals: the signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        run.stop_level += 1
        if not run.has_begun or run.stop_level > 2:
            raise KeyboardInterrupt
        if run.stop_level == 1:
            again = "; press Ctrl-C again to stop now" if number == signal.SIGINT else ""
            with contextlib.suppress(OSError):  # the terminal may be closed
                report(f"finishing {what}{again}")

    previous: dict[Any, Any] = {number: signal.signal(number, handle) for number in signals}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
