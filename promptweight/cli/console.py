"""Output of the commands: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any, TextIO

import typer
from rich.console import Console

from promptweight.errors import SettingError
from promptweight.messages import message

if TYPE_CHECKING:
    from promptweight.generation import Result
    from promptweight.prompt import Prompt

_OPTIONS = {
    "num_inference_steps": "--steps",
    "guidance_scale": "--guidance",
    "num_images_per_prompt": "--n",
    "negative_prompt": "--negative",
    "clip_skip": "--clip-skip",
    "negative_guidance": "--negative-guidance",
    "lora_dir": "--lora-dir",
    "embeddings_dir": "--embeddings-dir",
    "output_limit": "--output-limit",
    "cross_replace_steps": "--cross",
    "self_replace_steps": "--self",
}
_LONG_NAMES = re.compile(rf"\b({'|'.join(_OPTIONS)})\b")
"""Arguments of Python that are not English words, with their options."""
_VALUES = re.compile(r"\b(kind|dtype|weighting|offload)='([\w.+-]+)'")
"""Arguments of Python with a value."""
_SHORT_NAMES = frozenset(
    (
        "seed",
        "width",
        "height",
        "weighting",
        "scheduler",
        "kind",
        "metadata",
        "device",
        "dtype",
        "offload",
        "at",
        "shard",
        "auth",
        "host",
        "lang",
    )
)
"""Arguments of Python that are words; they are options at the beginning of an error."""
_KEPT = "\n\N{ZERO WIDTH JOINER}"
"""Characters that do not print, but have a place in a text: a line break, and the joint of an emoji."""


def make_console(*, stderr: bool = True) -> Console:
    """Return a console that prints text unchanged, because prompts contain brackets."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def print_prompt(prompt: Prompt, *, stderr: bool = True) -> None:
    """Print the fragments, weights and diagnostics of a parsed prompt."""
    from promptweight.cli import prompt_report

    screen = make_console(stderr=stderr)
    screen.print(prompt_report.make_table(prompt))
    if prompt.diagnostics:
        screen.print(prompt_report.list_diagnostics(prompt))


def print_diagnostics(prompt: Prompt) -> None:
    """Print the warnings and errors of a parsed prompt, one on each line of stderr."""
    print_warnings(each.message for each in prompt.diagnostics if each.severity != "info")


def read_argument(text: str) -> str:
    """Return an argument, or the UTF-8 text of stdin without its last line break if the argument is `-`.

    Raises:
        SettingError: stdin is closed or not valid UTF-8.
    """
    if text != "-":
        return text
    if sys.stdin is None or sys.stdin.closed:
        raise SettingError(message("stdin-closed"))
    content = sys.stdin.buffer.read()
    try:
        decoded = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte, position = content[error.start], error.start + 1
        raise SettingError(message("cli-stdin-encoding", byte=byte, position=position)) from error
    return decoded.replace("\r\n", "\n").removesuffix("\n")


def print_lines(values: Iterable[object], file: IO[str] | None = None) -> None:
    """Print one value per line to stdout or `file`."""
    for value in values:
        typer.echo(str(value), file=file)


def print_json(value: Any, file: TextIO | None = None, *, indent: int | None = 2) -> None:
    """Print `value` as JSON to stdout or `file`, paths as text.

    Characters that do not print are escaped: a terminal could obey them.
    """
    is_utf8 = is_utf8_stream(file or sys.stdout)
    text = json.dumps(value, ensure_ascii=not is_utf8, indent=indent, default=str)
    escaped = (each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text)
    typer.echo("".join(escaped), file=file)


def print_text(text: str) -> None:
    """Print text to stdout: as it is to a file or a program, with `escape_controls` to a terminal."""
    typer.echo(escape_controls(text) if sys.stdout.isatty() else text)


def escape_controls(value: object) -> str:
    r"""Return text with codes in place of characters that act on a terminal or change the order of others.

    >>> escape_controls("um gato\x1b[2J")
    'um gato\\x1b[2J'
    """
    return "".join(
        letter if letter.isprintable() or letter in _KEPT else _to_code(letter) for letter in str(value)
    )


def _to_code(letter: str) -> str:
    return letter.encode("unicode_escape", "backslashreplace").decode("ascii")


def is_utf8_stream(file: TextIO) -> bool:
    """Return True if a stream encodes text as UTF-8."""
    return (file.encoding or "").lower().replace("-", "") == "utf8"


def name_options(text: str) -> str:
    """Return an error or warning with the options of the command line in place of Python's arguments.

    >>> name_options("num_inference_steps must be between 1 and 1000; got 0")
    '--steps must be between 1 and 1000; got 0'
    """
    first, space, rest = text.partition(" ")
    if first in _SHORT_NAMES and rest.startswith("must be"):
        text = f"--{first}{space}{rest}"
    text = _VALUES.sub(r"--\1 \2", text)
    return _LONG_NAMES.sub(lambda match: _OPTIONS[match[0]], text)


def describe_error(error: Exception) -> str:
    """Return an error in a sentence; of the operating system's errors the file and the reason.

    >>> describe_error(FileNotFoundError(2, "No such file or directory", "a.png"))
    'a.png: No such file or directory'
    """
    if isinstance(error, OSError) and error.strerror:
        return escape_controls(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    return escape_controls(name_options(str(error)))


def print_shares(result: Result) -> None:
    """Print the weights that give phrases their target shares, one on each line of stderr."""
    for seed, shares in zip(result.seeds, result.shares, strict=False):
        for share in shares:
            typer.echo(
                f"seed {seed}: {share.phrase!r} has {share.share:.1%} of the attention with the weight "
                f"{share.weight:.3g} (target: {share.target:.1%})",
                err=True,
            )


def print_warnings(warnings: Iterable[str]) -> None:
    """Print each warning on a line of stderr."""
    for warning in warnings:
        typer.echo(f"warning: {escape_controls(name_options(warning))}", err=True)
