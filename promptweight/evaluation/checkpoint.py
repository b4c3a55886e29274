"""Keeps what was measured in a file while it is being measured, so that a long run that was stopped goes on.

The file holds JSON, one value a line: first the settings that it was measured with, then for every part of
the measurement its key and its rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from promptweight.errors import SettingError

Rows = list[dict[str, Any]]


class Kept:
    """The parts of a measurement that are done.

    Args:
        path: the file; made anew where there is none.
        settings: what the rows depend on, as plain data.

    Raises:
        SettingError: the file was made with other settings, or is something else.
        OSError: the disk's own error.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self._rows: dict[str, Rows] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith("\n")]  # a run that was killed may leave half a line
        if not whole:
            path.write_text(json.dumps(settings) + "\n", encoding="utf-8")
            return
        try:
            of, *parts = map(json.loads, whole)
            self._rows = {_name(key): rows for key, rows in parts}
        except ValueError as error:
            raise SettingError(f"{path} is not what was kept of a measurement: {error}") from error
        if of != settings:
            raise SettingError(f"{path} was measured with {of}, not with {settings}; name another folder")
        if len(whole) < len(lines):
            path.write_text("".join(whole), encoding="utf-8")

    def rows(self, key: tuple[Any, ...], make: Callable[[], Rows]) -> Rows:
        """The rows kept under a key; where there are none, they are made and kept."""
        name = _name(key)
        if name not in self._rows:
            self._rows[name] = make()
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, self._rows[name]]) + "\n")
        return self._rows[name]


def _name(key: Any) -> str:
    return json.dumps(key)
