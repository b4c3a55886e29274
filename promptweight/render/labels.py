"""The strip under a picture: the word, its weight, and what the colours mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from promptweight.render import text
from promptweight.render.colormaps import table

Color = tuple[int, int, int]

BACKGROUND: Color = (22, 23, 28)
INK: Color = (244, 244, 246)
FAINT: Color = (158, 161, 172)
ACCENT: Color = (251, 176, 64)


def word_strip(
    width: int, label: str, weight: float | None, colormap: str, ends: tuple[float, float]
) -> Image.Image:
    """Returns the strip of one word: the word and its weight on the left, the colour bar on the right."""
    letters, small, margin = _sizes(width)
    height = round(letters * 2.1)
    image = Image.new("RGB", (width, height), BACKGROUND)
    canvas = ImageDraw.Draw(image)
    low, high = (_number(value) for value in ends)
    bar_width, bar_height = max(1, round(width * 0.2)), max(4, round(letters * 0.36))
    gap = round(small * 0.5)
    right = width - margin
    text.draw(canvas, (right, height / 2), high, small, FAINT, anchor="rm")
    bar_right = right - text.width(high, small) - gap
    bar = Image.fromarray(np.repeat(table(colormap)[None], 1, axis=0), mode="RGB")
    bar = bar.resize((bar_width, bar_height), Image.Resampling.BILINEAR)
    image.paste(bar, (bar_right - bar_width, (height - bar_height) // 2), _rounded(bar.size))
    low_right = bar_right - bar_width - gap
    text.draw(canvas, (low_right, height / 2), low, small, FAINT, anchor="rm")
    _word(canvas, margin, low_right - text.width(low, small) - gap, height / 2, label, weight, letters)
    return image


def legend_strip(
    width: int, labels: Sequence[str], weights: Sequence[float | None], colors: Sequence[Color]
) -> Image.Image:
    """Returns the strip of several words, each after a patch of its colour, on as many lines as they need."""
    letters, _, margin = _sizes(width)
    patch, gap, line = round(letters * 0.8), round(letters * 0.45), round(letters * 1.7)
    placed: list[tuple[int, int]] = []
    x, row = margin, 0
    for label, weight in zip(labels, weights, strict=True):
        needed = patch + gap + text.width(text.printable(label), letters) + _weight_room(weight, letters)
        if x > margin and x + needed > width - margin:
            x, row = margin, row + 1
        placed.append((x, row))
        x += needed + 2 * gap
    image = Image.new("RGB", (width, round(letters * 0.4) + line * (row + 1)), BACKGROUND)
    canvas = ImageDraw.Draw(image)
    for (left, at_row), label, weight, color in zip(placed, labels, weights, colors, strict=True):
        middle = round(letters * 0.2) + line * (at_row + 0.5)
        box = (left, middle - patch / 2, left + patch, middle + patch / 2)
        canvas.rounded_rectangle(box, radius=patch / 4, fill=color)
        _word(canvas, left + patch + gap, width - margin, middle, label, weight, letters)
    return image


def below(picture: Image.Image, strip: Image.Image) -> Image.Image:
    """Returns `picture` with `strip` of the same width under it."""
    whole = Image.new("RGB", (picture.width, picture.height + strip.height), BACKGROUND)
    whole.paste(picture, (0, 0))
    whole.paste(strip, (0, picture.height))
    return whole


def weight_text(weight: float | None) -> str:
    """Returns a weight as people read it: `×1.4`, and nothing for a word without a weight of its own.

    >>> weight_text(1.4), weight_text(1.0), weight_text(1.1 * 1.1)
    ('×1.4', '', '×1.21')
    """
    return "" if weight is None or weight == 1 else f"×{weight:.4g}"


def _word(
    canvas: ImageDraw.ImageDraw,
    left: float,
    right: float,
    middle: float,
    label: str,
    weight: float | None,
    size: int,
) -> None:
    room = round(right - left) - _weight_room(weight, size)
    shown = text.fitted(label, size, room)
    text.draw(canvas, (left, middle), shown, size, INK)
    if weight_text(weight):
        at = left + text.width(shown, size) + round(size * 0.4)
        text.draw(canvas, (at, middle), weight_text(weight), size, ACCENT)


def _weight_room(weight: float | None, size: int) -> int:
    written = weight_text(weight)
    return text.width(written, size) + round(size * 0.4) if written else 0


def _sizes(width: int) -> tuple[int, int, int]:
    """Returns the height of the word's letters and of the scale's, and the margin, for a picture's width."""
    letters = min(max(round(width * 0.043), 9), 40)
    return letters, max(round(letters * 0.64), 8), round(letters * 0.7)


def _number(value: float) -> str:
    return "0" if abs(value) < 5e-5 else f"{value:.2g}"


def _rounded(size: tuple[int, int]) -> Image.Image:
    """Returns a mask of `size` with round ends, drawn large and shrunk so that its edge is smooth."""
    large = Image.new("L", (size[0] * 4, size[1] * 4), 0)
    ImageDraw.Draw(large).rounded_rectangle(
        (0, 0, large.width - 1, large.height - 1), large.height // 2, fill=255
    )
    return large.resize(size, Image.Resampling.LANCZOS)
