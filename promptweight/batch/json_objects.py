"""Readers of job files of JSON objects: an array or objects one after the other, and JSON Lines."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from promptweight.batch.job_options import OPTIONS_BY_NAME, find_option
from promptweight.batch.job_rows import Problem, Row, RowBuilder
from promptweight.errors import SettingError

_SPACE = re.compile(r"[ \t\n]*")


class _Pairs(list[tuple[str, Any]]):
    """Pairs of a JSON object in their order, with repeated names."""


def read_jsonl(lines: Sequence[str], file: str, problems: list[Problem]) -> Iterator[Row]:
    """Yield a row for each line that is not blank: a JSON object of settings; null does not set an option."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = _DECODER.decode(line)
        except json.JSONDecodeError as error:
            problems.append(Problem(file, number, error.colno, f"the line is not valid JSON: {error.msg}"))
            continue
        except (ValueError, RecursionError) as error:
            problems.append(Problem(file, number, 1, f"the line is not valid JSON: {error}"))
            continue
        if not isinstance(value, _Pairs):
            text = 'the line must be one JSON object, such as {"prompt": "um gato"}'
            problems.append(Problem(file, number, 1, text))
            continue
        yield _read_object(value, _Source([line], number), _skip_space(line, 0), file, problems)


def read_json(lines: Sequence[str], file: str, problems: list[Problem]) -> Iterator[Row]:
    """Yield a row for each element of a JSON array, or for each value of a file of several.

    An element is an object of settings, or the prompt alone as a string.
    """
    source = _Source(lines)
    text = source.text
    position = _skip_space(text, 0)
    is_array = text.startswith("[", position)
    if is_array:
        position = _skip_space(text, position + 1)
    while position < len(text) and not (is_array and text.startswith("]", position)):
        try:
            value, end = _DECODER.raw_decode(text, position)
        except json.JSONDecodeError as error:
            problems.append(source.problem(file, error.pos, f"the file is not valid JSON: {error.msg}"))
            return
        except (ValueError, RecursionError) as error:
            problems.append(source.problem(file, position, f"the file is not valid JSON: {error}"))
            return
        if isinstance(value, _Pairs):
            yield _read_object(value, source, position, file, problems)
        elif isinstance(value, str):
            line, column = source.locate(position)
            builder = RowBuilder(file, line, problems)
            builder.set_value(OPTIONS_BY_NAME["prompt"], "the prompt", value, column)
            yield builder.build()
        else:
            text_of_kind = 'an element must be an object, such as {"prompt": "um gato"}, or a prompt'
            problems.append(source.problem(file, position, text_of_kind))
        position = _skip_space(text, end)
        if is_array and text.startswith(",", position):
            position = _skip_space(text, position + 1)
        elif is_array and position < len(text) and not text.startswith("]", position):
            text_of_error = "the file is not valid JSON: Expecting ',' or ']'"
            problems.append(source.problem(file, position, text_of_error))
            return
    rest = _skip_space(text, position + 1)
    if is_array and position >= len(text):
        problems.append(source.problem(file, position, "the array is not closed"))
    elif is_array and rest < len(text):
        problems.append(source.problem(file, rest, "no text may follow the array"))


class _Source:
    """The text of a file with the positions of its lines.

    Args:
        lines: the lines.
        first: number of the first line.
    """

    def __init__(self, lines: Sequence[str], first: int = 1) -> None:
        self.text = "\n".join(lines)
        self._first = first
        self._starts = list(accumulate((len(line) + 1 for line in lines[:-1]), initial=0))

    def locate(self, position: int) -> tuple[int, int]:
        """Return the line and column of an offset."""
        index = bisect_right(self._starts, position) - 1
        return index + self._first, position - self._starts[index] + 1

    def problem(self, file: str, position: int, message: str) -> Problem:
        """Return an error at an offset."""
        return Problem(file, *self.locate(position), message)


def _read_object(pairs: _Pairs, source: _Source, start: int, file: str, problems: list[Problem]) -> Row:
    """Return the row of the object that begins at an offset of the source."""
    line, column = source.locate(start)
    builder = RowBuilder(file, line, problems)
    for (name, value), (key, place) in zip(pairs, _locate_pairs(source.text, start), strict=True):
        key_line, key_column = source.locate(key)
        try:
            option = find_option(name)
        except SettingError as error:
            builder.add_error(key_column, str(error), key_line)
            continue
        value_line, value_column = source.locate(place)
        if value is None:
            if option is OPTIONS_BY_NAME["prompt"]:
                builder.add_error(value_column, "the prompt must not be null", value_line)
                builder.values["prompt"] = None
        elif isinstance(value, _Pairs) and option is OPTIONS_BY_NAME["prompt"]:
            text = (
                "prompt must be text; got an object, as pandas writes with orient='columns' (use 'records')"
            )
            builder.add_error(value_column, text, value_line)
            builder.values["prompt"] = None
        else:
            plain = dict(value) if isinstance(value, _Pairs) else value
            builder.set_value(option, name, plain, value_column, value_line)
    if "prompt" not in builder.values:
        builder.add_error(column, 'the object must have a "prompt"')
    return builder.build()


def _locate_pairs(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Yield the offsets of each name and value of the valid JSON object at an offset."""
    position = _skip_space(text, start + 1)
    while not text.startswith("}", position):
        name = position
        _, position = _DECODER.raw_decode(text, name)
        value = _skip_space(text, _skip_space(text, position) + 1)  # after the colon
        yield name, value
        _, position = _DECODER.raw_decode(text, value)
        position = _skip_space(text, position)
        if text.startswith(",", position):
            position = _skip_space(text, position + 1)


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return position if match is None else match.end()


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_Pairs, parse_constant=_reject_constant)
