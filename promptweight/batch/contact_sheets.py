"""Contact sheets of a sweep: the pictures of one row side by side, each with what was varied under it."""

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
_WIDEST = 8


def save_contact_sheets(plan: Plan, folder: OutputFolder) -> Iterator[Path]:
    """Write a sheet for each row of a sweep whose pictures are all there; yields the files.

    The seeds of the row, or else the last axis, lie side by side; of very long rows the first pictures.
    """
    from PIL import Image

    from promptweight.render import contact_sheet

    by_row: dict[int, list[PlannedImage]] = {}
    for picture in plan.pictures:
        if picture.labels:
            by_row.setdefault(picture.row.line, []).append(picture)
    for pictures in by_row.values():
        paths = [folder.picture(picture) for picture in pictures[:MAX_CELLS]]
        if len(paths) < 2 or not all(path.is_file() for path in paths):
            continue
        images, cell = [], _cell(len(paths))
        for path in paths:
            with Image.open(path) as image:
                small = image.convert("RGB")
            # shrunk as `contact_sheet` would do it, but one by one: hundreds of large pictures fill the memory
            small.thumbnail((cell, cell), Image.Resampling.LANCZOS)
            images.append(small)
        shown = [_labels(picture, pictures) for picture in pictures[:MAX_CELLS]]
        title = str(pictures[0].row.values.get("prompt", ""))
        whole = contact_sheet(images, shown, _columns(pictures[:MAX_CELLS]), title=title, cell=cell)
        record = {"sheet": [path.name for path in paths]}
        content, _ = encode_image(whole, "png", record, "", ("iptc",))
        path = folder.path / f"sheet-{pictures[0].id}.png"
        write_atomically(path, partial(_write, content), overwrite=True)
        yield path


def _labels(picture: PlannedImage, pictures: list[PlannedImage]) -> str:
    """Return what is varied; what all pictures of the row share is left out."""
    varied = [
        label
        for place, label in enumerate(picture.labels)
        if len({each.labels[place] for each in pictures if len(each.labels) > place}) > 1
    ]
    return " · ".join(varied or picture.labels)


def _columns(pictures: list[PlannedImage]) -> int:
    """Return how many pictures lie side by side: those that differ in the last thing that is varied."""
    for place in reversed(range(len(pictures[0].labels))):
        values = len({picture.labels[place] for picture in pictures})
        if 1 < values <= _WIDEST:
            return values
    return min(_WIDEST, math.ceil(math.sqrt(len(pictures))))


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)


def _cell(pictures: int) -> int:
    return 256 if pictures <= 64 else 128
