"""Contact sheets: pictures in rows, each with its caption, to be compared at one glance."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from promptweight.errors import SettingError
from promptweight.render.labels import BACKGROUND, FOREGROUND, MUTED, draw_text, fit_text
from promptweight.render.overlays import enlarge


def contact_sheet(
    images: Sequence[Image.Image],
    labels: Sequence[str] | None = None,
    columns: int | None = None,
    *,
    title: str | None = None,
    cell: int | None = None,
) -> Image.Image:
    """Return `images` side by side on a dark ground, in `columns` (by default nearly a square, at most six).

    Args:
        images: the pictures; smaller ones are enlarged to the cell, larger ones shrunk, their shapes kept.
        labels: one caption for each picture, under it; an empty one leaves its place free.
        columns: how many pictures a row has.
        title: a line above all of them.
        cell: the longer side of a picture in pixels, by default that of the largest picture, at most 512.

    Raises:
        SettingError: no pictures, not as many labels as pictures, or `columns` or `cell` below 1.
    """
    if not images:
        raise SettingError("a contact sheet needs at least one picture; got none")
    if labels is not None and len(labels) != len(images):
        raise SettingError(f"each picture needs a label; got {len(images)} pictures, {len(labels)} labels")
    columns = min(6, math.ceil(math.sqrt(len(images)))) if columns is None else columns
    cell = min(512, max(max(image.size) for image in images)) if cell is None else cell
    if columns < 1 or cell < 1:
        raise SettingError(f"columns and cell must be 1 or more; got columns={columns}, cell={cell}")
    columns = min(columns, len(images))
    pictures = [_fitted(image, cell) for image in images]
    width = max(picture.width for picture in pictures)
    height = max(picture.height for picture in pictures)
    rows = math.ceil(len(pictures) / columns)
    gap = max(6, round(cell * 0.035))
    letters = min(max(round(cell * 0.05), 10), 28)
    caption = round(letters * 1.9) if labels is not None and any(labels) else 0
    head = round(letters * 2.6) if title else 0
    whole = Image.new(
        "RGB", (gap + columns * (width + gap), head + gap + rows * (height + caption + gap)), BACKGROUND
    )
    canvas = ImageDraw.Draw(whole)
    if title:
        size = round(letters * 1.2)
        draw_text(canvas, (gap, gap + head / 2), fit_text(title, size, whole.width - 2 * gap), size, FOREGROUND)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        left, top = gap + column * (width + gap), head + gap + row * (height + caption + gap)
        whole.paste(picture, (left + (width - picture.width) // 2, top + (height - picture.height) // 2))
        if labels is not None and labels[index]:
            at = (left + width / 2, top + height + caption / 2)
            draw_text(canvas, at, fit_text(labels[index], letters, width), letters, MUTED, anchor="mm")
    return whole


def _fitted(image: Image.Image, cell: int) -> Image.Image:
    picture = enlarge(image, cell)
    if max(picture.size) > cell:
        picture.thumbnail((cell, cell), Image.Resampling.LANCZOS)
    return picture
