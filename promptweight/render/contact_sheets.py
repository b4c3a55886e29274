"""Contact sheets: a grid of images with captions and a title."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.render.labels import BACKGROUND, FOREGROUND, MUTED, draw_text, fit_text
from promptweight.render.overlays import enlarge

MAX_COLUMNS = 6
"""Columns of a sheet unless `columns` is given."""
MAX_CELL = 512
"""Longer side of a cell in pixels unless `cell` is given."""


def contact_sheet(
    images: Sequence[Image.Image],
    labels: Sequence[str] | None = None,
    columns: int | None = None,
    *,
    title: str | None = None,
    cell: int | None = None,
) -> Image.Image:
    """Return `images` in a grid on a dark background.

    Args:
        images: the images; each is scaled to the cell, and its aspect ratio is kept.
        labels: one caption per image, below it; an empty string leaves the space blank.
        columns: images per row; by default the grid is nearly square with at most `MAX_COLUMNS` columns.
        title: a line above the grid.
        cell: longer side of a scaled image in pixels; by default that of the largest image, at most
            `MAX_CELL`.

    Raises:
        SettingError: `images` is empty, `labels` has another length, or `columns` or `cell` is below 1.
    """
    if not images:
        raise SettingError(message("sheet-images"))
    if labels is not None and len(labels) != len(images):
        raise SettingError(message("sheet-labels", labels=len(labels), images=len(images)))
    columns = min(MAX_COLUMNS, math.ceil(math.sqrt(len(images)))) if columns is None else columns
    cell = min(MAX_CELL, max(max(image.size) for image in images)) if cell is None else cell
    if columns < 1 or cell < 1:
        raise SettingError(message("sheet-layout", columns=columns, cell=cell))
    columns = min(columns, len(images))
    scaled = [_fit(image, cell) for image in images]
    width = max(image.width for image in scaled)
    height = max(image.height for image in scaled)
    rows = math.ceil(len(scaled) / columns)
    gap = max(6, round(cell * 0.035))
    font_size = min(max(round(cell * 0.05), 10), 28)
    caption = round(font_size * 1.9) if labels is not None and any(labels) else 0
    header = round(font_size * 2.6) if title else 0
    sheet = Image.new(
        "RGB", (gap + columns * (width + gap), header + gap + rows * (height + caption + gap)), BACKGROUND
    )
    canvas = ImageDraw.Draw(sheet)
    if title:
        size = round(font_size * 1.2)
        fitted = fit_text(title, size, sheet.width - 2 * gap)
        draw_text(canvas, (gap, gap + header / 2), fitted, size, FOREGROUND)
    for index, image in enumerate(scaled):
        row, column = divmod(index, columns)
        left, top = gap + column * (width + gap), header + gap + row * (height + caption + gap)
        sheet.paste(image, (left + (width - image.width) // 2, top + (height - image.height) // 2))
        if labels is not None and labels[index]:
            position = (left + width / 2, top + height + caption / 2)
            fitted = fit_text(labels[index], font_size, width)
            draw_text(canvas, position, fitted, font_size, MUTED, anchor="mm")
    return sheet


def _fit(image: Image.Image, cell: int) -> Image.Image:
    """Return `image` with a longer side of `cell` pixels."""
    scaled = enlarge(image, cell)
    if max(scaled.size) > cell:
        scaled.thumbnail((cell, cell), Image.Resampling.LANCZOS)
    return scaled
