"""Reader of job files that are tables: CSV with a header line.

Python's own CSV reader does not report the position of a field, which error messages need; this one follows
RFC 4180 and detects the delimiter (comma, semicolon or tab) from the header.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from promptweight.batch.foreign_options import ForeignOption
from promptweight.batch.job_options import OPTIONS_BY_NAME, JobOption, find_option
from promptweight.batch.job_rows import Problem, Row, RowBuilder
from promptweight.batch.styles import PLACEHOLDER
from promptweight.errors import SettingError

DELIMITERS = (",", ";", "\t")
SEPARATOR_LINE = re.compile(r'"?sep=([,;\t])"?[,;\t]*\s*', re.IGNORECASE)
"""First line of a table of Excel, which names the delimiter."""
_SPACED_QUOTE = re.compile(' *"')
_STYLE_NAME = ForeignOption("AUTOMATIC1111", "the name of a style", None)


class CsvField(NamedTuple):
    """Field of a CSV table and the position of its first character, from 1."""

    text: str
    line: int
    column: int


def read_csv(lines: Sequence[str], file: str, problems: list[Problem]) -> Iterator[Row]:
    """Yield a row for each record after the header; an empty field does not set its option.

    Records whose fields are all empty, as spreadsheets write below a table, are skipped. A column without a
    name, as the index that pandas writes, is not read. In a table of styles of AUTOMATIC1111
    (`promptweight.batch.styles`), each row is the style without a prompt of its own.
    """
    records = read_records(lines, file, problems)
    header = next(records, None)
    if header is None:
        return
    options = _read_header(header, file, problems)
    prompt_option = OPTIONS_BY_NAME["prompt"]
    if prompt_option not in options:
        problems.append(Problem(file, header[0].line, 1, "the header must have a column 'prompt'"))
        return
    is_styles = _STYLE_NAME in options
    for record in records:
        if not any(field.text.strip() for field in record):
            continue
        builder = RowBuilder(file, record[0].line, problems)
        for field in record[len(options) :]:
            if field.text.strip():
                text = f"a record must have at most {len(options)} fields, as the header"
                builder.add_error(field.column, text, field.line)
                break
        has_prompt = True
        for field, name, option in zip(record, header, options, strict=False):
            text = field.text.strip()
            if option is prompt_option and is_styles:
                text = text.replace(PLACEHOLDER, "").strip(", ")
                has_prompt = bool(text)
                if not text:
                    builder.add_warning(field.column, "a style without a prompt is skipped", field.line)
                    continue
            if option is None:
                if text and _is_unnamed(name):
                    builder.add_warning(field.column, "a column without a name is not read", field.line)
            elif text or option is prompt_option:
                builder.set_value(option, name.text.strip(), text, field.column, field.line)
        if has_prompt:
            yield builder.build()


def _read_header(
    header: Sequence[CsvField], file: str, problems: list[Problem]
) -> list[JobOption | ForeignOption | None]:
    """Return the option of each column; None for one without a name or with an error."""
    options: list[JobOption | ForeignOption | None] = []
    found: set[JobOption | ForeignOption] = set()
    for field in header:
        option: JobOption | ForeignOption | None = None
        if field.text.strip().casefold() == "name":
            option = _STYLE_NAME
        elif not _is_unnamed(field):
            try:
                option = find_option(field.text)
            except SettingError as error:
                problems.append(Problem(file, field.line, field.column, f"column: {error}"))
        if option in found:
            text = f"columns must be distinct; {field.text!r} is repeated"
            problems.append(Problem(file, field.line, field.column, text))
        options.append(option)
        if option is not None:
            found.add(option)
    return options


def _is_unnamed(field: CsvField) -> bool:
    """Return whether a field of the header is empty, or pandas' name of a column without one."""
    return not field.text.strip() or field.text.startswith("Unnamed:")


def _detect_delimiter(lines: Sequence[str]) -> str:
    header = next((line for line in lines if line.strip()), "")
    if match := SEPARATOR_LINE.fullmatch(header):
        return match[1]
    unquoted = re.sub(r'"[^"]*"', "", header)
    return max(DELIMITERS, key=unquoted.count)


def read_records(lines: Sequence[str], file: str, problems: list[Problem]) -> Iterator[list[CsvField]]:
    """Yield the records of a table; quoted fields may contain delimiters, line breaks and doubled quotes."""
    delimiter = _detect_delimiter(lines)
    number = 0
    if lines and SEPARATOR_LINE.fullmatch(lines[0]):
        number = 1
    while number < len(lines):
        line, position = lines[number], 0
        number += 1
        if not line.strip():
            continue
        record: list[CsvField] = []
        while True:
            if quote := _SPACED_QUOTE.match(line, position):
                position = quote.end() - 1
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
