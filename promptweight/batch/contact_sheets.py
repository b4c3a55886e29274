"""Contact sheets of a sweep: the images of one row side by side, each labeled with the varied settings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from promptweight.atomic_files import write_atomically
from promptweight.batch.output_folder import OutputFolder
from promptweight.batch.plan import Plan, PlannedImage
from promptweight.metadata import encode_image

MAX_CELLS = 400
_MAX_COLUMNS = 8


def save_contact_sheets(plan: Plan, folder: OutputFolder) -> Iterator[Path]:
    """Write a contact sheet for each row of a sweep whose images all exist, and yield the paths.

    The seeds of the row, or else the last axis, lie side by side. A sheet has at most `MAX_CELLS` images.
    """
    from PIL import Image

    from promptweight.render import contact_sheet

    by_row: dict[int, list[PlannedImage]] = {}
    for image in plan.images:
        if image.labels:
            by_row.setdefault(image.row.line, []).append(image)
    for row in by_row.values():
        shown = row[:MAX_CELLS]
        paths = [folder.image_path(image) for image in shown]
        if len(paths) < 2 or not all(path.is_file() for path in paths):
            continue
        thumbnails, cell = [], _cell_size(len(paths))
        for path in paths:
            with Image.open(path) as image_file:
                thumbnail = image_file.convert("RGB")
            # reduced as by `contact_sheet`, but one by one: hundreds of large images would fill the memory
            thumbnail.thumbnail((cell, cell), Image.Resampling.LANCZOS)
            thumbnails.append(thumbnail)
        labels = [_label(image, row) for image in shown]
        title = str(row[0].row.values.get("prompt", ""))
        sheet = contact_sheet(thumbnails, labels, _column_count(shown), title=title, cell=cell)
        record = {"sheet": [path.name for path in paths]}
        content, _ = encode_image(sheet, "png", record, "", ("iptc",))
        path = folder.path / f"sheet-{row[0].id}.png"
        write_atomically(path, partial(_write, content), overwrite=True)
        yield path


def _label(image: PlannedImage, row: list[PlannedImage]) -> str:
    """Return the settings that vary within the row."""
    varied = [
        label
        for axis, label in enumerate(image.labels)
        if len({each.labels[axis] for each in row if len(each.labels) > axis}) > 1
    ]
    return " · ".join(varied or image.labels)


def _column_count(images: list[PlannedImage]) -> int:
    """Return the number of values of the last axis that varies, if they fit into one line."""
    for axis in reversed(range(len(images[0].labels))):
        values = len({image.labels[axis] for image in images})
        if 1 < values <= _MAX_COLUMNS:
            return values
    return min(_MAX_COLUMNS, math.ceil(math.sqrt(len(images))))


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)


def _cell_size(images: int) -> int:
    return 256 if images <= 64 else 128
