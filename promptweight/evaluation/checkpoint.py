"""Checkpoint file of a long measurement, so that a stopped run can resume.

The file is JSON lines: first the settings of the measurement, then one [key, rows] pair per finished part.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from promptweight.errors import FileFormatError, SettingError
from promptweight.messages import message

Rows = list[dict[str, Any]]


class Checkpoint:
    """The finished parts of a measurement.

    Args:
        path: the file; created if it does not exist.
        settings: the settings that determine the rows, as plain data.

    Raises:
        FileFormatError: the file is not a checkpoint.
        SettingError: the file belongs to other settings.
        OSError: the file cannot be read or written.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self._rows: dict[str, Rows] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        complete = [line for line in lines if line.endswith("\n")]  # a killed run may leave a partial line
        if not complete:
            path.write_text(json.dumps(settings) + "\n", encoding="utf-8")
            return
        try:
            stored_settings, *parts = map(json.loads, complete)
            self._rows = {json.dumps(key): rows for key, rows in parts}
        except ValueError as error:
            raise FileFormatError(message("checkpoint-file", path=path, reason=error)) from error
        if stored_settings != settings:
            raise SettingError(
                message("checkpoint-settings", path=path, settings=settings, stored=stored_settings)
            )
        if len(complete) < len(lines):
            path.write_text("".join(complete), encoding="utf-8")

    def get_or_measure(self, key: tuple[Any, ...], measure: Callable[[], Rows]) -> Rows:
        """Return the stored rows of `key`; call `measure` and store its rows if there are none."""
        name = json.dumps(key)
        if name not in self._rows:
            self._rows[name] = measure()
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, self._rows[name]]) + "\n")
        return self._rows[name]
