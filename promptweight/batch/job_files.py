"""Job files from bytes to rows: encodings, line ends, formats, and every mistake in them at once."""

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
_BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_MOST_TOLD = 100


def read_jobs(source: str | os.PathLike[str], *, format: str | None = None) -> list[Row]:  # noqa: A002
    """Return the rows of a job file; see `read_rows`.

    Raises:
        SettingError: something in it is wrong; every mistake on a line of its own, as file:line:column.
        OSError: it cannot be opened.
    """
    rows, problems = read_rows(source, format=format)
    if errors := [str(problem) for problem in problems if not problem.is_warning]:
        more = len(errors) - _MOST_TOLD
        raise SettingError("\n".join(errors[:_MOST_TOLD] + ([f"and {more} more"] if more > 0 else [])))
    return rows


def read_rows(
    source: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002
) -> tuple[list[Row], list[Problem]]:
    """Return the rows of a job file and what is wrong with it.

    Args:
        source: a path, or `-` for stdin.
        format: one of `FORMATS`; by default the ending of the file's name tells, and where it does not, the
            file is `jsonl` if it begins with `{`, else `txt`.

    Raises:
        SettingError: there is no such format.
        OSError: the file cannot be opened.
    """
    name = os.fspath(source)
    if format is not None:
        check_choice("format", format, FORMATS)
    content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    problems: list[Problem] = []
    text = _decoded(content, name, problems)
    lines = re.split(r"\r\n|\r|\n", text)
    kind = format or _format_of(name, text)
    if kind == "txt":
        rows = list(read_txt(lines, name, problems))
    elif kind == "csv":
        rows = list(read_csv(lines, name, problems))
    else:
        rows = list(read_jsonl(lines, name, problems))
    if not rows and not any(not problem.is_warning for problem in problems):
        problems.append(Problem(name, 1, 1, "there is no prompt in it"))
    problems.sort(key=lambda problem: (problem.line, problem.column))
    return rows, problems


def _format_of(name: str, text: str) -> str:
    ending = os.path.splitext(name)[1].lower()
    known = {".txt": "txt", ".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
    if ending in known:
        return known[ending]
    return "jsonl" if text.lstrip().startswith("{") else "txt"


def _decoded(content: bytes, name: str, problems: list[Problem]) -> str:
    """Return the text of a file: UTF-8 or, by its mark, UTF-16; else Windows-1252, which is said."""
    for mark, encoding in _BOMS.items():
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = re.split(r"\r\n|\r|\n", content[: error.start].decode("utf-8"))
        problems.append(
            Problem(
                name,
                len(before),
                len(before[-1]) + 1,
                f"the byte 0x{content[error.start]:02x} is no UTF-8; the file is read as Windows-1252",
                is_warning=True,
            )
        )
    return content.decode("cp1252", "promptweight-latin-1")


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    """Read the five bytes that Windows-1252 leaves undefined."""
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("promptweight-latin-1", _as_latin_1)


_OPTION = re.compile(r"(?:(?<=\s)|^)--([A-Za-z][\w-]*)(?:=|(?=\s)|$)")


_ESCAPED = re.compile(r"(?:(?<=\s)|^)\\(?=--[A-Za-z])")


def read_txt(lines: Iterable[str], file: str, problems: list[Problem]) -> Iterator[Row]:
    """Yield a row for each line that is neither blank nor a comment; what is wrong goes into `problems`."""
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield _read_line(line, RowBuilder(file, number, problems))


def _read_line(line: str, reading: RowBuilder) -> Row:
    option = _OPTION.search(line)
    end = len(line) if option is None else option.start()
    start = len(line) - len(line.lstrip())
    prompt = _ESCAPED.sub("", line[:end].strip())
    reading.take(OPTIONS_BY_NAME["prompt"], "the prompt", prompt, min(start, end) + 1)
    while option is not None:
        option = _read_option(line, option, reading)
    return reading.done()


def _read_option(line: str, option: re.Match[str], reading: RowBuilder) -> re.Match[str] | None:
    """Read the option that begins at a match; returns the next one's."""
    name, at = f"--{option[1]}", option.end()
    while at < len(line) and line[at].isspace():
        at += 1
    if line.startswith('"', at):
        end = _closing_quote(line, at)
        if end < 0:
            reading.refuse(at + 1, f"the quote of {name} is not closed")
            return None
        value, behind = re.sub(r"\\([\"\\])", r"\1", line[at + 1 : end]), end + 1
        following = _OPTION.search(line, behind)
        stop = len(line) if following is None else following.start()
        if line[behind:stop].strip():
            place = behind + len(line[behind:stop]) - len(line[behind:stop].lstrip())
            reading.refuse(place + 1, f"text after the closing quote of {name}")
    else:
        following = _OPTION.search(line, at)
        stop = len(line) if following is None else following.start()
        value = line[at:stop].rstrip()
        if not value:
            reading.refuse(option.start() + 1, f"{name} needs a value")
            return following
    try:
        known = find_option(option[1], shown=name)
    except SettingError as error:
        reading.refuse(option.start() + 1, str(error))
        return following
    if known.field == "prompt":
        reading.refuse(option.start() + 1, "the prompt stands at the beginning of the line, not in --prompt")
    else:
        reading.take(known, name, value, at + 1)
    return following


def _closing_quote(line: str, opening: int) -> int:
    at = opening + 1
    while at < len(line) and line[at] != '"':
        at += 2 if line[at] == "\\" else 1
    return at if at < len(line) else -1
