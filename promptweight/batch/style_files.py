"""Reader of the style files of AUTOMATIC1111, `styles.csv`."""

from __future__ import annotations

import os

from promptweight.batch.csv_table import read_records
from promptweight.batch.job_files import read_lines
from promptweight.batch.job_rows import Problem
from promptweight.batch.styles import Style, StyleSheet
from promptweight.errors import SettingError
from promptweight.messages import message


def read_styles(file: str | os.PathLike[str]) -> StyleSheet:
    """Return the styles of a file; of several with one name the last, as in AUTOMATIC1111.

    Raises:
        SettingError: the file is not a table with the columns `name` and `prompt`.
        OSError: the file cannot be opened.
    """
    path = os.fspath(file)
    problems: list[Problem] = []
    records = read_records(read_lines(path, problems), path, problems)
    header = [field.text.strip().casefold() for field in next(records, [])]
    texts = "text" if "text" in header and "prompt" not in header else "prompt"
    styles: dict[str, Style] = {}
    for record in records:
        values = dict(zip(header, (field.text for field in record), strict=False))
        if name := values.get("name", "").strip():
            styles[name] = Style(values.get(texts, ""), values.get("negative_prompt", ""))
    if errors := [str(problem) for problem in problems if not problem.is_warning]:
        raise SettingError("\n".join(errors))
    if not {"name", texts} <= set(header):
        raise SettingError(message("style-table", path=path))
    return StyleSheet(path, styles)
