"""Reader of job files: text encoding, line breaks, format, and the positions of all errors.

The format `txt` has one prompt on each line, with options after it: `um gato --steps 20 --seed 1-4`.
"""

from __future__ import annotations

import codecs
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from promptweight.batch.csv_jsonl import read_csv, read_jsonl
from promptweight.batch.job_rows import Problem, Row, RowBuilder
from promptweight.batch.jobs import OPTIONS_BY_NAME, find_option
from promptweight.errors import SettingError
from promptweight.validation import check_choice

FORMATS = ("txt", "csv", "jsonl")
_SUFFIXES = {".txt": "txt", ".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_OPTION = re.compile(r"(?:(?<=\s)|^)--([A-Za-z][\w-]*)(?:=|(?=\s)|$)")
_ESCAPED_OPTION = re.compile(r"(?:(?<=\s)|^)\\(?=--[A-Za-z])")
_MAX_ERRORS = 100
"""Number of errors of a file in one message."""


def read_jobs(source: str | os.PathLike[str], *, format: str | None = None) -> list[Row]:  # noqa: A002
    """Return the rows of a job file.

    Args:
        source: as in `parse_rows`.
        format: as in `parse_rows`.

    Raises:
        SettingError: the file has errors; each stands on a line of its own, as file:line:column.
        OSError: the file cannot be opened.
    """
    rows, problems = parse_rows(source, format=format)
    if errors := [str(problem) for problem in problems if not problem.is_warning]:
        more = len(errors) - _MAX_ERRORS
        raise SettingError("\n".join(errors[:_MAX_ERRORS] + ([f"and {more} more"] if more > 0 else [])))
    return rows


def parse_rows(
    source: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002
) -> tuple[list[Row], list[Problem]]:
    """Return the rows of a job file and its problems.

    Args:
        source: a path, or `-` for stdin.
        format: one of `FORMATS`; by default that of the suffix of the file, and for an unknown suffix `jsonl`
            if the file begins with `{`, else `txt`.

    Raises:
        SettingError: the format is not valid.
        OSError: the file cannot be opened.
    """
    name = os.fspath(source)
    if format is not None:
        check_choice("format", format, FORMATS)
    content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    problems: list[Problem] = []
    text = _decode(content, name, problems)
    lines = _LINE_BREAK.split(text)
    file_format = format or _detect_format(name, text)
    if file_format == "txt":
        rows = list(read_txt(lines, name, problems))
    elif file_format == "csv":
        rows = list(read_csv(lines, name, problems))
    else:
        rows = list(read_jsonl(lines, name, problems))
    if not rows and all(problem.is_warning for problem in problems):
        problems.append(Problem(name, 1, 1, "the file must have at least one prompt"))
    problems.sort(key=lambda problem: (problem.line, problem.column))
    return rows, problems


def read_txt(lines: Iterable[str], file: str, problems: list[Problem]) -> Iterator[Row]:
    """Yield a row for each line that is neither blank nor a comment, and add errors to `problems`."""
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield _read_line(line, RowBuilder(file, number, problems))


def _detect_format(name: str, text: str) -> str:
    suffix = os.path.splitext(name)[1].lower()
    return _SUFFIXES.get(suffix) or ("jsonl" if text.lstrip().startswith("{") else "txt")


def _decode(content: bytes, name: str, problems: list[Problem]) -> str:
    """Return the text of a file: UTF-8, UTF-16 with a byte order mark, else Windows-1252 with a warning."""
    for mark, encoding in _BOMS.items():
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = _LINE_BREAK.split(content[: error.start].decode("utf-8"))
        problems.append(
            Problem(
                name,
                len(before),
                len(before[-1]) + 1,
                f"the byte 0x{content[error.start]:02x} is not valid UTF-8; the file is read as Windows-1252",
                is_warning=True,
            )
        )
    return content.decode("cp1252", "promptweight-latin-1")


def _decode_latin_1(error: UnicodeError) -> tuple[str, int]:
    """Decode the five bytes that are undefined in Windows-1252."""
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("promptweight-latin-1", _decode_latin_1)


def _read_line(line: str, builder: RowBuilder) -> Row:
    option = _OPTION.search(line)
    end = len(line) if option is None else option.start()
    start = len(line) - len(line.lstrip())
    prompt = _ESCAPED_OPTION.sub("", line[:end].strip())
    builder.set_value(OPTIONS_BY_NAME["prompt"], "the prompt", prompt, min(start, end) + 1)
    while option is not None:
        option = _read_option(line, option, builder)
    return builder.build()


def _read_option(line: str, option: re.Match[str], builder: RowBuilder) -> re.Match[str] | None:
    """Read the option at a match, and return the match of the next option."""
    name, position = f"--{option[1]}", option.end()
    while position < len(line) and line[position].isspace():
        position += 1
    if line.startswith('"', position):
        end = _find_closing_quote(line, position)
        if end < 0:
            builder.add_error(position + 1, f"the quote of {name} is not closed")
            return None
        value, value_end = re.sub(r"\\([\"\\])", r"\1", line[position + 1 : end]), end + 1
        following = _OPTION.search(line, value_end)
        stop = len(line) if following is None else following.start()
        if line[value_end:stop].strip():
            column = stop - len(line[value_end:stop].lstrip()) + 1
            builder.add_error(column, f"no text may follow the closing quote of {name}")
    else:
        following = _OPTION.search(line, position)
        stop = len(line) if following is None else following.start()
        value = line[position:stop].rstrip()
        if not value:
            builder.add_error(option.start() + 1, f"{name} needs a value")
            return following
    try:
        known = find_option(option[1], shown=name)
    except SettingError as error:
        builder.add_error(option.start() + 1, str(error))
        return following
    if known.field == "prompt":
        text = "the prompt must stand at the beginning of the line, not in --prompt"
        builder.add_error(option.start() + 1, text)
    else:
        builder.set_value(known, name, value, position + 1)
    return following


def _find_closing_quote(line: str, opening: int) -> int:
    position = opening + 1
    while position < len(line) and line[position] != '"':
        position += 2 if line[position] == "\\" else 1
    return position if position < len(line) else -1
