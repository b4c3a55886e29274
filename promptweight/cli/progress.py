"""Progress of runs on stderr: a bar on a terminal, and Ctrl-C in steps."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from promptweight.cli.console import make_console
from promptweight.cli.interrupts import stop_on_signals

if TYPE_CHECKING:
    from promptweight.batch import BatchProgress
    from promptweight.generation import Progress as StepProgress

SECONDS_BETWEEN_LINES = 60.0
"""Seconds between two lines about a batch if stderr is not a terminal."""


class GenerationProgress:
    """Callback of `generate` and `edit` that shows each step and passes the request to stop.

    Args:
        bar: the progress bar.

    Attributes:
        stop_level: 0 to go on, 1 to finish the current image and stop, 2 to stop after the current step and
            keep the unfinished image.
        has_begun: whether a first step is done.
    """

    def __init__(self, bar: Progress) -> None:
        self.stop_level = 0
        self.has_begun = False
        self._bar = bar
        self._task = bar.add_task("loading the model", total=None)

    def __call__(self, step: StepProgress) -> bool:
        """Show one step; return False if the run should stop."""
        self.has_begun = True
        number, count = step.image_number, step.image_count
        text = f"image {number} of {count}" if count > 1 else "drawing the image"
        done, total = (number - 1) * step.steps + step.step, count * step.steps
        self._bar.update(self._task, description=text, completed=done, total=total)
        return self.stop_level == 0 or (self.stop_level == 1 and step.step < step.steps)


def ending_signals() -> list[signal.Signals]:
    """Return the signals that stop a run: Ctrl-C, SIGTERM, and SIGHUP unless `nohup` ignores it."""
    signals = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    return signals


@contextmanager
def show_progress(*, quiet: bool) -> Iterator[GenerationProgress]:
    """Show the steps of `generate` or `edit` inside the block, on a terminal; handle `ending_signals`."""
    screen = make_console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    is_hidden = quiet or not screen.is_terminal
    with Progress(*columns, console=screen, transient=True, disable=is_hidden) as bar:
        progress = GenerationProgress(bar)
        with stop_on_signals(progress, screen.print, "this image", ending_signals()):
            yield progress


@contextmanager
def show_batch_progress(*, quiet: bool, is_first_shard: bool) -> Iterator[BatchProgress]:
    """Show a batch inside the block: a bar on a terminal, else a line every minute.

    Ctrl-C, SIGTERM and the end of the terminal (SIGHUP, unless `nohup` ignores it) stop the batch.

    Args:
        quiet: whether nothing is shown.
        is_first_shard: whether this process may show a bar, of several that share a terminal.
    """
    from promptweight.batch import BatchProgress

    screen = make_console()
    is_hidden = quiet or not screen.is_terminal or not is_first_shard
    columns = (TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=screen, transient=True, disable=is_hidden) as bar:
        task = bar.add_task("encoding prompts", total=None)
        last_line = time.monotonic()

        def update(text: str, done: float, total: int) -> None:
            nonlocal last_line
            bar.update(task, description=text, completed=done, total=total)
            if is_hidden and not quiet and time.monotonic() - last_line >= SECONDS_BETWEEN_LINES:
                last_line = time.monotonic()
                screen.print(text)

        progress = BatchProgress(on_update=update)
        with stop_on_signals(progress, screen.print, "the current images", ending_signals()):
            yield progress
