"""How the commands speak: data on stdout, everything else on stderr, a bar only where a person watches."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from promptweight.errors import SettingError

if TYPE_CHECKING:
    from promptweight.generation import Progress as Step
    from promptweight.prompt import Prompt


def make_console(*, stderr: bool = True) -> Console:
    """Return a console that shows texts as they are: prompts are full of brackets."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def print_prompt(prompt: Prompt, *, stderr: bool) -> None:
    """Print how a prompt was read: its fragments and weights, and what is odd in it."""
    from promptweight.cli import prompt_report

    screen = make_console(stderr=stderr)
    screen.print(prompt_report.table(prompt))
    if prompt.diagnostics:
        screen.print(prompt_report.diagnostics(prompt))


def read_argument(text: str) -> str:
    """Return an argument, or all of stdin (UTF-8, less its last line end) where the argument is `-`.

    Raises:
        SettingError: what comes from stdin is no UTF-8.
    """
    if text != "-":
        return text
    content = sys.stdin.buffer.read()
    try:
        read = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte, place = content[error.start], error.start + 1
        raise SettingError(f"stdin is no UTF-8: it has the byte 0x{byte:02x} at its place {place}") from error
    return read.replace("\r\n", "\n").removesuffix("\n")


def print_lines(values: Iterable[object], file: IO[str] | None = None) -> None:
    """Print one value per line to stdout, or to what stood in its place."""
    for value in values:
        typer.echo(str(value), file=file)


def print_json(value: Any) -> None:
    """Print `value` as JSON to stdout; paths as text."""
    readable = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    typer.echo(json.dumps(value, ensure_ascii=not readable, indent=2, default=str))


def print_warnings(sentences: Iterable[str]) -> None:
    """Print each sentence to stderr as a warning."""
    for sentence in sentences:
        typer.echo(f"warning: {sentence}", err=True)


class GenerationProgress:
    """Follows a run: shows its steps, and turns Ctrl-C into a wish to stop.

    The first Ctrl-C lets the present picture be finished, the second stops after the present step; both keep
    what is there. The third, or one before the first step, ends the program at once.
    """

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("loading the model", total=None)
        self._pressed = 0
        self._has_begun = False

    def __call__(self, step: Step) -> bool:
        """Take the news of one step; returns False when the run should stop."""
        self._has_begun = True
        which = f"picture {step.picture} of {step.pictures}" if step.pictures > 1 else "making the picture"
        done, total = (step.picture - 1) * step.steps + step.step, step.pictures * step.steps
        self._bar.update(self._task, description=which, completed=done, total=total)
        return self._pressed == 0 or (self._pressed == 1 and step.step < step.steps)

    def interrupt(self, _number: int, _frame: FrameType | None) -> None:
        """Handle one Ctrl-C."""
        self._pressed += 1
        if not self._has_begun or self._pressed > 2:
            raise KeyboardInterrupt
        if self._pressed == 1:
            self._bar.console.print("finishing this picture; press Ctrl-C again to stop now")


@contextmanager
def show_progress(*, quiet: bool) -> Iterator[GenerationProgress]:
    """Show the progress of a run for as long as the block lasts; nothing where nobody watches."""
    screen = make_console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    hidden = quiet or not screen.is_terminal
    with Progress(*columns, console=screen, transient=True, disable=hidden) as bar:
        watch = GenerationProgress(bar)
        before = signal.signal(signal.SIGINT, watch.interrupt)
        try:
            yield watch
        finally:
            signal.signal(signal.SIGINT, before)
