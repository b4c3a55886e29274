"""Reader of job files with one prompt on each line, and options after it or instead of it.

um gato vermelho --steps 20 --seed 1-4                       promptweight
um gato --n feio --w 512 --h 512 --d 1 --l 7.5 --s 20        sd-scripts
--prompt "um gato" --negative_prompt "feio" --steps 20       AUTOMATIC1111's "Prompts from file"
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from promptweight.batch.job_options import OPTIONS_BY_NAME, find_option
from promptweight.batch.job_rows import Problem, Row, RowBuilder
from promptweight.errors import SettingError

_OPTION = re.compile(r"(?:(?<=\s)|^)--([A-Za-z][\w-]*)(?:=|(?=\s)|$)")
_ESCAPED_OPTION = re.compile(r"(?:(?<=\s)|^)\\(?=--[A-Za-z])")
_QUOTES = "\"'"


def read_txt(lines: Iterable[str], file: str, problems: list[Problem]) -> Iterator[Row]:
    """Yield a row for each line that is neither blank nor a comment, and add errors to `problems`."""
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield _read_line(line, RowBuilder(file, number, problems))


def _read_line(line: str, builder: RowBuilder) -> Row:
    option, errors = _OPTION.search(line), len(builder.problems)
    end = len(line) if option is None else option.start()
    start = len(line) - len(line.lstrip())
    prompt = _ESCAPED_OPTION.sub("", line[:end].strip())
    if prompt:
        builder.set_value(OPTIONS_BY_NAME["prompt"], "the prompt", prompt, start + 1)
    while option is not None:
        option = _read_option(line, option, builder)
    if "prompt" not in builder.values and len(builder.problems) == errors:
        builder.set_value(OPTIONS_BY_NAME["prompt"], "the prompt", "", min(start, end) + 1)
    return builder.build()


def _read_option(line: str, option: re.Match[str], builder: RowBuilder) -> re.Match[str] | None:
    """Read the option at a match, and return the match of the next option."""
    name, position = f"--{option[1]}", option.end()
    while position < len(line) and line[position].isspace():
        position += 1
    quoted = _read_quoted(line, position)
    if quoted is not None:
        value, value_end, following = quoted
        stop = len(line) if following is None else following.start()
        if line[value_end:stop].strip():
            column = stop - len(line[value_end:stop].lstrip()) + 1
            builder.add_error(column, f"no text may follow the closing quote of {name}")
    elif line.startswith('"', position):
        builder.add_error(position + 1, f"the quote of {name} is not closed")
        return None
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
    else:
        builder.set_value(known, name, value, position + 1)
    return following


class _Quoted(NamedTuple):
    """A value in quotes, the offset after its closing quote, and the next option."""

    value: str
    end: int
    following: re.Match[str] | None


def _read_quoted(line: str, opening: int) -> _Quoted | None:
    """Return the value in the quotes that open at an offset; None without quotes around the whole value.

    Single quotes are quotes only if nothing follows them, since a prompt may begin with an apostrophe.
    """
    quote = line[opening : opening + 1]
    if not quote or quote not in _QUOTES:
        return None
    end = opening + 1
    while end < len(line) and line[end] != quote:
        end += 2 if line[end] == "\\" else 1
    if end >= len(line):
        return None
    following = _OPTION.search(line, end + 1)
    stop = len(line) if following is None else following.start()
    if quote == "'" and line[end + 1 : stop].strip():
        return None
    value = re.sub(rf"\\([{quote}\\])", r"\1", line[opening + 1 : end])
    return _Quoted(value, end + 1, following)
