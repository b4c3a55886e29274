"""Parsers of tabular job files: CSV with a header line, and JSON Lines.

Python's own CSV reader does not report the position of a field, which error messages need; this one follows
RFC 4180 and detects the delimiter (comma, semicolon or tab) from the header.
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
    """Field of a CSV table and the position of its first character, from 1."""

    text: str
    line: int
    column: int


def read_csv(lines: Sequence[str], file: str, problems: list[Problem]) -> Iterator[Row]:
    """Yield a row for each record after the header; an empty field does not set its option."""
    records = _read_records(lines, _detect_delimiter(lines), file, problems)
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
            text = f"columns must be distinct; {field.text!r} is repeated"
            problems.append(Problem(file, field.line, field.column, text))
        options.append(option)
    prompt_option = OPTIONS_BY_NAME["prompt"]
    if prompt_option not in options:
        problems.append(Problem(file, header[0].line, 1, "the header must have a column 'prompt'"))
        return
    for record in records:
        builder = RowBuilder(file, record[0].line, problems)
        for field in record[len(options) :]:
            if field.text.strip():
                text = f"a record must have at most {len(options)} fields, as the header"
                builder.add_error(field.column, text, field.line)
                break
        for field, name, column_option in zip(record, header, options, strict=False):
            text, is_required = field.text.strip(), column_option is prompt_option
            if column_option is not None and (text or is_required):
                builder.set_value(column_option, name.text.strip(), text, field.column, field.line)
        yield builder.build()


def _detect_delimiter(lines: Sequence[str]) -> str:
    header = next((line for line in lines if line.strip()), "")
    unquoted = re.sub(r'"[^"]*"', "", header)
    return max(DELIMITERS, key=unquoted.count)


def _read_records(
    lines: Sequence[str], delimiter: str, file: str, problems: list[Problem]
) -> Iterator[list[CsvField]]:
    """Yield the records of a table; quoted fields may contain delimiters, line breaks and doubled quotes."""
    number = 0
    while number < len(lines):
        line, position = lines[number], 0
        number += 1
        if not line.strip():
            continue
        record: list[CsvField] = []
        while True:
            start_line, start = number, position + 1
            if line.startswith('"', position):
                parts: list[str] = []
                position += 1
                while (end := line.find('"', position)) < 0 or line.startswith('""', end):
                    if end >= 0:
                        parts.append(line[position : end + 1])
                        position = end + 2
                        continue
                    if number >= len(lines):
                        problems.append(Problem(file, start_line, start, "the quote is not closed"))
                        return
                    parts += [line[position:], "\n"]
                    line, position = lines[number], 0
                    number += 1
                parts.append(line[position:end])
                position = end + 1
                text = "".join(parts)
            else:
                end = line.find(delimiter, position)
                end = len(line) if end < 0 else end
                text, position = line[position:end], end
            record.append(CsvField(text, start_line, start))
            if position >= len(line):
                break
            if not line.startswith(delimiter, position):
                error = "no text may follow the closing quote of a field"
                problems.append(Problem(file, number, position + 1, error))
                position = line.find(delimiter, position)
                if position < 0:
                    break
            position += 1
            if position >= len(line):
                record.append(CsvField("", number, position + 1))
                break
        yield record


def read_jsonl(lines: Sequence[str], file: str, problems: list[Problem]) -> Iterator[Row]:
    """Yield a row for each line that is not blank: a JSON object of settings; null does not set an option."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        builder = RowBuilder(file, number, problems)
        try:
            pairs = json.loads(line, object_pairs_hook=_Pairs, parse_constant=_reject_constant)
        except json.JSONDecodeError as error:
            builder.add_error(error.colno, f"the line is not valid JSON: {error.msg}")
            continue
        except (ValueError, RecursionError) as error:
            builder.add_error(1, f"the line is not valid JSON: {error}")
            continue
        if not isinstance(pairs, _Pairs):
            builder.add_error(1, 'the line must be one JSON object, such as {"prompt": "um gato"}')
            continue
        for name, value in pairs:
            _set_json_value(builder, line, name, value)
        if "prompt" not in builder.values:
            builder.add_error(1, 'the object must have a "prompt"')
        yield builder.build()


class _Pairs(list[tuple[str, Any]]):
    """Pairs of a JSON object in their order, with repeated names."""


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _set_json_value(builder: RowBuilder, line: str, name: str, value: Any) -> None:
    key = re.search(re.escape(json.dumps(name, ensure_ascii=False)) + r"\s*+:\s*+", line)
    try:
        option = find_option(name)
    except SettingError as error:
        builder.add_error(key.start() + 1 if key else 1, str(error))
        return
    column = key.end() + 1 if key else 1
    if value is not None:
        builder.set_value(option, name, value, column)
    elif option.field == "prompt":
        builder.add_error(column, "the prompt must not be null")
