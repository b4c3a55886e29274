"""Output of the commands: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any, TextIO

import typer
from rich.console import Console

from promptweight.errors import SettingError

if TYPE_CHECKING:
    from promptweight.prompt import Prompt


def make_console(*, stderr: bool = True) -> Console:
    """Return a console that prints text unchanged, because prompts contain brackets."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def print_prompt(prompt: Prompt, *, stderr: bool) -> None:
    """Print the fragments, weights and diagnostics of a parsed prompt."""
    from promptweight.cli import prompt_report

    screen = make_console(stderr=stderr)
    screen.print(prompt_report.make_table(prompt))
    if prompt.diagnostics:
        screen.print(prompt_report.list_diagnostics(prompt))


def read_argument(text: str) -> str:
    """Return an argument, or the UTF-8 text of stdin without its last line break if the argument is `-`.

    Raises:
        SettingError: stdin is not valid UTF-8.
    """
    if text != "-":
        return text
    content = sys.stdin.buffer.read()
    try:
        decoded = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte, position = content[error.start], error.start + 1
        raise SettingError(
            f"stdin must be UTF-8; got the byte 0x{byte:02x} at position {position}"
        ) from error
    return decoded.replace("\r\n", "\n").removesuffix("\n")


def print_lines(values: Iterable[object], file: IO[str] | None = None) -> None:
    """Print one value per line to stdout or `file`."""
    for value in values:
        typer.echo(str(value), file=file)


def print_json(value: Any) -> None:
    """Print `value` as JSON to stdout, paths as text."""
    is_utf8 = is_utf8_stream(sys.stdout)
    typer.echo(json.dumps(value, ensure_ascii=not is_utf8, indent=2, default=str))


def is_utf8_stream(file: TextIO) -> bool:
    """Return True if a stream encodes text as UTF-8."""
    return (file.encoding or "").lower().replace("-", "") == "utf8"


def print_warnings(warnings: Iterable[str]) -> None:
    """Print each warning on a line of stderr."""
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
