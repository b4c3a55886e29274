"""Row of a job file with the positions of its values, and problems with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from promptweight.batch.foreign_options import ForeignOption
from promptweight.batch.job_options import JobOption
from promptweight.errors import SettingError


@dataclass(frozen=True, slots=True)
class Problem:
    """Error or warning at a position of a file.

    Its text is `file:line:column: message`, which editors understand.
    """

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
    """Settings of one row.

    Attributes:
        file: name of the file as it was passed, `-` for stdin.
        line: the line in which the row begins, from 1.
        values: values by field of `GenerateOptions`; also `prompt`, `seeds`, `count` and `styles`.
        columns: columns in which the values begin, from 1, in characters.
    """

    file: str
    line: int
    values: Mapping[str, Any]
    columns: Mapping[str, int] = field(default_factory=dict)

    def problem(self, name: str, message: str, *, offset: int = 0, is_warning: bool = False) -> Problem:
        """Return a problem at the position of the value with this name."""
        return Problem(self.file, self.line, self.columns.get(name, 1) + offset, message, is_warning)


@dataclass
class RowBuilder:
    """Row under construction, which collects values and problems.

    Attributes:
        file: name of the file.
        line: the line in which the row begins.
        problems: the list that takes problems.
        values: the values up to now; None for one that is not valid.
        columns: their columns.
    """

    file: str
    line: int
    problems: list[Problem]
    values: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, int] = field(default_factory=dict)

    def set_value(
        self,
        option: JobOption | ForeignOption,
        name: str,
        value: Any,
        column: int,
        line: int | None = None,
    ) -> None:
        """Check and set one value; one that is not valid, repeated or not followed becomes a problem."""
        if isinstance(option, ForeignOption):
            if option.has_effect(value):
                text = f"{name} is not followed; in {option.tool} it is {option.meaning}"
                self.add_warning(column, text, line)
            return
        if option.field in self.values:
            self.add_error(column, f"{name} must be given once; it is repeated here", line)
            return
        self.columns[option.field] = column
        try:
            self.values[option.field] = option.parse(name, value)
        except SettingError as error:
            self.values[option.field] = None
            self.add_error(column, str(error), line)

    def add_error(self, column: int, message: str, line: int | None = None) -> None:
        """Add an error of this row."""
        self.problems.append(Problem(self.file, self.line if line is None else line, column, message))

    def add_warning(self, column: int, message: str, line: int | None = None) -> None:
        """Add a warning of this row."""
        at = self.line if line is None else line
        self.problems.append(Problem(self.file, at, column, message, is_warning=True))

    def build(self) -> Row:
        """Return the row, which is valid only without errors."""
        values, columns = self.values, self.columns
        batch_size = values.pop("batch_size", None)
        if batch_size is not None:
            values["count"] = (values.get("count") or 1) * batch_size
            columns.setdefault("count", columns["batch_size"])
        scale = values.pop("scale", None)
        if scale is not None and "guidance_scale" not in values:
            values["guidance_scale"] = scale
            columns["guidance_scale"] = columns["scale"]
        elif scale not in (None, 1):
            text = (
                f"the scale {scale:g} is not followed beside guidance_scale (classifier-free guidance of a "
            )
            self.add_warning(columns["scale"], f"{text}distilled model)")
        return Row(self.file, self.line, values, columns)
