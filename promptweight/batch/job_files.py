"""Reader of job files: text encoding, line breaks, format, and the positions of all errors."""

from __future__ import annotations

import codecs
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from promptweight.batch.csv_table import read_csv
from promptweight.batch.job_rows import Problem, Row
from promptweight.batch.json_objects import read_json, read_jsonl
from promptweight.batch.prompt_lines import read_txt
from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.validation import check_choice

JOB_FORMATS = ("txt", "csv", "jsonl", "json")
"""Formats of job files."""

_SUFFIXES = {
    ".txt": "txt",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
}
_BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_ARRAY = re.compile(r"\s*\[\s*[{\"]")
_OBJECTS = re.compile(r"\s*\{\s*\"")
_LINES_OF_BEGINNING = 100
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
        format: one of `JOB_FORMATS`; by default that of the suffix of the file, and for an unknown suffix
            that of its beginning: an array or objects of JSON, else `txt`.

    Raises:
        SettingError: the format is not valid, or stdin is closed.
        OSError: the file cannot be opened.
    """
    name = os.fspath(source)
    if format is not None:
        check_choice("format", format, JOB_FORMATS)
    problems: list[Problem] = []
    lines = read_lines(name, problems)
    read = {"txt": read_txt, "csv": read_csv, "jsonl": read_jsonl, "json": read_json}
    rows = list(read[format or _detect_format(name, lines)](lines, name, problems))
    if not rows and all(problem.is_warning for problem in problems):
        problems.append(Problem(name, 1, 1, "the file must have at least one prompt"))
    return rows, _merge_warnings(problems)


def read_lines(name: str, problems: list[Problem]) -> list[str]:
    """Return the lines of a text file or, for `-`, of stdin; add problems with its encoding to `problems`.

    Raises:
        SettingError: stdin is closed.
        OSError: the file cannot be opened.
    """
    content = _read_stdin() if name == "-" else Path(name).read_bytes()
    return _LINE_BREAK.split(_decode(content, name, problems))


def _read_stdin() -> bytes:
    if sys.stdin is None:  # closed by the calling program
        raise SettingError(message("stdin-closed"))
    return sys.stdin.buffer.read()


def _merge_warnings(problems: list[Problem]) -> list[Problem]:
    """Return problems in the order of their positions, equal warnings once with the number of others."""
    problems.sort(key=lambda problem: (problem.line, problem.column))
    counts = Counter(problem.message for problem in problems if problem.is_warning)
    merged: dict[object, Problem] = {}
    for number, problem in enumerate(problems):
        others = counts[problem.message] - 1
        if problem.is_warning and others:
            more = f"{problem.message} (also in {others} other place{'s' if others > 1 else ''})"
            merged.setdefault(problem.message, replace(problem, message=more))
        else:
            merged[number] = problem
    return list(merged.values())


def _detect_format(name: str, lines: Sequence[str]) -> str:
    suffix = os.path.splitext(name)[1].lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    text = "\n".join(lines[:_LINES_OF_BEGINNING])
    return "json" if _ARRAY.match(text) else "jsonl" if _OBJECTS.match(text) else "txt"


def _decode(content: bytes, name: str, problems: list[Problem]) -> str:
    """Return the text of a file: UTF-8, UTF-16 with a byte order mark, else Windows-1252 with a warning."""
    for mark, encoding in _BOMS.items():
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    if b"\0" in content:
        problems.append(Problem(name, 1, 1, "the file must be text; it has bytes that no text has"))
        return ""
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
