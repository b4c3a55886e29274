"""Job files with a prompt on each line, and options as sd-scripts has them: `um gato --s 20 --d 1-4 --n mau`.

The prompt ends where the first ` --name` begins; `\\--name` is text. A value is what stands up to the next
option, or between double quotes (`\\"` is a quote inside them). Lines that begin with `#` are comments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from promptweight.batch.job_rows import Problem, Reading, Row
from promptweight.batch.jobs import BY_NAME, find_option
from promptweight.errors import SettingError

_OPTION = re.compile(r"(?:(?<=\s)|^)--([A-Za-z][\w-]*)(?:=|(?=\s)|$)")
_ESCAPED = re.compile(r"(?:(?<=\s)|^)\\(?=--[A-Za-z])")


def read_lines(lines: Iterable[str], file: str, problems: list[Problem]) -> Iterator[Row]:
    """Yields a row for each line that is neither blank nor a comment; what is wrong goes into `problems`."""
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield _read_line(line, Reading(file, number, problems))


def _read_line(line: str, reading: Reading) -> Row:
    option = _OPTION.search(line)
    end = len(line) if option is None else option.start()
    start = len(line) - len(line.lstrip())
    prompt = _ESCAPED.sub("", line[:end].strip())
    reading.take(BY_NAME["prompt"], "the prompt", prompt, min(start, end) + 1)
    while option is not None:
        option = _read_option(line, option, reading)
    return reading.done()


def _read_option(line: str, option: re.Match[str], reading: Reading) -> re.Match[str] | None:
    """Reads the option that begins at a match; returns the next one's."""
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
