"""Job files as tables: CSV with a header line, and JSON Lines.

Python's own CSV reader does not tell where a field stands, which error messages need; the one here follows
RFC 4180, with the separator (comma, semicolon or tab) read off the header.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from promptweight.batch.job_rows import Problem, Row, RowBuilder
from promptweight.batch.jobs import OPTIONS_BY_NAME, JobOption, find_option
from promptweight.errors import SettingError

DELIMITERS = (",", ";", "\t")


class CsvField(NamedTuple):
    """A field of a CSV table and where it begins, from 1."""

    text: str
    line: int
    column: int


def read_csv(lines: Sequence[str], file: str, problems: list[Problem]) -> Iterator[Row]:
    """Yield a row for each record behind the header; an empty field leaves the setting to the command."""
    records = _records(lines, _separator(lines), file, problems)
    header = next(records, None)
    if header is None:
        return
    options: list[JobOption | None] = []
    for field in header:
        try:
            option = find_option(field.text)
        except SettingError as error:
            problems.append(Problem(file, field.line, field.column, f"column: {error}"))
            options.append(None)
            continue
        if option in options:
            problems.append(Problem(file, field.line, field.column, f"column {field.text!r} is there twice"))
        options.append(option)
    if OPTIONS_BY_NAME["prompt"] not in options:
        problems.append(Problem(file, header[0].line, 1, "the header has no column 'prompt'"))
        return
    for record in records:
        reading = RowBuilder(file, record[0].line, problems)
        for field in record[len(options) :]:
            if field.text.strip():
                reading.refuse(field.column, f"more fields than the {len(options)} columns", field.line)
                break
        for field, name, chosen in zip(record, header, options, strict=False):
            required = chosen is OPTIONS_BY_NAME["prompt"]
            if chosen is not None and (field.text.strip() or required):
                reading.take(chosen, name.text.strip(), field.text.strip(), field.column, field.line)
        yield reading.done()


def _separator(lines: Sequence[str]) -> str:
    header = next((line for line in lines if line.strip()), "")
    outside = re.sub(r'"[^"]*"', "", header)
    return max(DELIMITERS, key=outside.count)


def _records(
    lines: Sequence[str], separator: str, file: str, problems: list[Problem]
) -> Iterator[list[CsvField]]:
    """Yield the records of a table; fields in quotes may hold separators, line ends and doubled quotes."""
    number = 0
    while number < len(lines):
        line, at = lines[number], 0
        number += 1
        if not line.strip():
            continue
        record: list[CsvField] = []
        while True:
            start_line, start = number, at + 1
            if line.startswith('"', at):
                parts: list[str] = []
                at += 1
                while (end := line.find('"', at)) < 0 or line.startswith('""', end):
                    if end >= 0:
                        parts.append(line[at : end + 1])
                        at = end + 2
                        continue
                    if number >= len(lines):
                        problems.append(Problem(file, start_line, start, "the quote is not closed"))
                        return
                    parts += [line[at:], "\n"]
                    line, at = lines[number], 0
                    number += 1
                parts.append(line[at:end])
                at = end + 1
                field = "".join(parts)
            else:
                end = line.find(separator, at)
                end = len(line) if end < 0 else end
                field, at = line[at:end], end
            record.append(CsvField(field, start_line, start))
            if at >= len(line):
                break
            if not line.startswith(separator, at):
                problems.append(Problem(file, number, at + 1, "text after the closing quote of a field"))
                at = line.find(separator, at)
                if at < 0:
                    break
            at += 1
            if at >= len(line):
                record.append(CsvField("", number, at + 1))
                break
        yield record


def read_jsonl(lines: Sequence[str], file: str, problems: list[Problem]) -> Iterator[Row]:
    """Yield a row for each line that is not blank: a JSON object of settings; null leaves one out."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        reading = RowBuilder(file, number, problems)
        try:
            pairs = json.loads(line, object_pairs_hook=_Pairs, parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            reading.refuse(error.colno, f"no JSON: {error.msg}")
            continue
        except (ValueError, RecursionError) as error:
            reading.refuse(1, f"no JSON that can be read: {error}")
            continue
        if not isinstance(pairs, _Pairs):
            reading.refuse(1, 'a line must hold one JSON object, such as {"prompt": "um gato"}')
            continue
        for name, value in pairs:
            _take(reading, line, name, value)
        if "prompt" not in reading.values:
            reading.refuse(1, 'there is no "prompt"')
        yield reading.done()


class _Pairs(list[tuple[str, Any]]):
    """The pairs of a JSON object as they stand, repeated names too."""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _take(reading: RowBuilder, line: str, name: str, value: Any) -> None:
    key = re.search(re.escape(json.dumps(name, ensure_ascii=False)) + r"\s*+:\s*+", line)
    try:
        option = find_option(name)
    except SettingError as error:
        reading.refuse(key.start() + 1 if key else 1, str(error))
        return
    if value is not None:
        reading.take(option, name, value, key.end() + 1 if key else 1)
    elif option.field == "prompt":
        reading.refuse(key.end() + 1 if key else 1, "the prompt is null")
