"""A row of a job file with the places of its values, and what may be wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from promptweight.batch.jobs import JobOption
from promptweight.errors import SettingError


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at a place of a file, in the form that editors jump to: `file:line:column: message`."""

    file: str
    line: int
    column: int
    message: str
    is_warning: bool = False

    def __str__(self) -> str:
        kind = "warning: " if self.is_warning else ""
        return f"{self.file}:{self.line}:{self.column}: {kind}{self.message}"


@dataclass(frozen=True, slots=True)
class Row:
    """What one row asks for.

    Attributes:
        file: the file's name as it was given, `-` for stdin.
        line: the line it begins in, from 1.
        values: what it sets, by field of `Job`; also `seeds` and `count`.
        columns: where each value begins, from 1, in characters; in `lines` where that is another line.
    """

    file: str
    line: int
    values: Mapping[str, Any]
    columns: Mapping[str, int] = field(default_factory=dict)

    def problem(self, about: str, message: str, *, offset: int = 0, is_warning: bool = False) -> Problem:
        """Return a problem at the place of one of the values."""
        return Problem(self.file, self.line, self.columns.get(about, 1) + offset, message, is_warning)


@dataclass
class RowBuilder:
    """A row while it is read: takes values one by one, and keeps what is wrong with them."""

    file: str
    line: int
    problems: list[Problem]
    values: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, int] = field(default_factory=dict)

    def take(self, option: JobOption, name: str, value: Any, column: int, line: int | None = None) -> None:
        """Read one value; a wrong or repeated one becomes a problem."""
        if option.field in self.values:
            self.refuse(column, f"{name} is given twice", line)
            return
        self.columns[option.field] = column
        try:
            self.values[option.field] = option.read(name, value)
        except SettingError as error:
            self.values[option.field] = None
            self.refuse(column, str(error), line)

    def refuse(self, column: int, message: str, line: int | None = None) -> None:
        """Note a problem of this row."""
        self.problems.append(Problem(self.file, self.line if line is None else line, column, message))

    def done(self) -> Row:
        """Return the row; it counts only where no problem was noted."""
        return Row(self.file, self.line, self.values, self.columns)
