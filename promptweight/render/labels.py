"""Labels under an image: a strip with word, weight and color bar, a legend of words, and text drawing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from promptweight.render.colormaps import colormap_table

Color = tuple[int, int, int]

BACKGROUND: Color = (22, 23, 28)
"""Color of a strip, as are the following ones of its parts, in sRGB values 0 to 255."""

FOREGROUND: Color = (244, 244, 246)
"""Color of words and captions."""

MUTED: Color = (158, 161, 172)
"""Color of numbers and of the ends of a color scale."""

ACCENT: Color = (251, 176, 64)
"""Color of weights."""


def draw_word_strip(
    width: int, label: str, weight: float | None, colormap: str, ends: tuple[float, float]
) -> Image.Image:
    """Return a strip with a word and its weight on the left and the color bar on the right.

    Args:
        width: width of the strip in pixels.
        label: the word.
        weight: the word's weight; None or 1 is not written.
        colormap: one of `colormaps.COLORMAPS`.
        ends: the values at the lower and the upper end of the color bar.
    """
    font_size, number_size, margin = _sizes(width)
    height = round(font_size * 2.1)
    image = Image.new("RGB", (width, height), BACKGROUND)
    canvas = ImageDraw.Draw(image)
    low, high = (_format_value(value) for value in ends)
    bar_width, bar_height = max(1, round(width * 0.2)), max(4, round(font_size * 0.36))
    gap = round(number_size * 0.5)
    right = width - margin
    draw_text(canvas, (right, height / 2), high, number_size, MUTED, anchor="rm")
    bar_right = right - measure_text(high, number_size) - gap
    bar = Image.fromarray(np.repeat(colormap_table(colormap)[None], 1, axis=0), mode="RGB")
    bar = bar.resize((bar_width, bar_height), Image.Resampling.BILINEAR)
    image.paste(bar, (bar_right - bar_width, (height - bar_height) // 2), _rounded_mask(bar.size))
    low_right = bar_right - bar_width - gap
    draw_text(canvas, (low_right, height / 2), low, number_size, MUTED, anchor="rm")
    _draw_word(
        canvas, margin, low_right - measure_text(low, number_size) - gap, height / 2, label, weight, font_size
    )
    return image


def draw_legend_strip(
    width: int, labels: Sequence[str], weights: Sequence[float | None], colors: Sequence[Color]
) -> Image.Image:
    """Return a legend strip: each word after a patch of its color, wrapped to as many lines as needed."""
    font_size, _, margin = _sizes(width)
    patch, gap, line = round(font_size * 0.8), round(font_size * 0.45), round(font_size * 1.7)
    positions: list[tuple[int, int]] = []
    x, row = margin, 0
    for label, weight in zip(labels, weights, strict=True):
        needed = patch + gap + measure_text(clean_text(label), font_size) + _weight_width(weight, font_size)
        if x > margin and x + needed > width - margin:
            x, row = margin, row + 1
        positions.append((x, row))
        x += needed + 2 * gap
    image = Image.new("RGB", (width, round(font_size * 0.4) + line * (row + 1)), BACKGROUND)
    canvas = ImageDraw.Draw(image)
    for (left, row_index), label, weight, color in zip(positions, labels, weights, colors, strict=True):
        middle = round(font_size * 0.2) + line * (row_index + 0.5)
        box = (left, middle - patch / 2, left + patch, middle + patch / 2)
        canvas.rounded_rectangle(box, radius=patch / 4, fill=color)
        _draw_word(canvas, left + patch + gap, width - margin, middle, label, weight, font_size)
    return image


def append_below(image: Image.Image, strip: Image.Image) -> Image.Image:
    """Return `image` with `strip`, of the same width, below it."""
    joined = Image.new("RGB", (image.width, image.height + strip.height), BACKGROUND)
    joined.paste(image, (0, 0))
    joined.paste(strip, (0, image.height))
    return joined


def format_weight(weight: float | None) -> str:
    """Return a weight as text, as in `×1.4`; an empty string for None and for 1.

    >>> format_weight(1.4), format_weight(1.0), format_weight(1.1 * 1.1)
    ('×1.4', '', '×1.21')
    """
    return "" if weight is None or weight == 1 else f"×{weight:.4g}"


def _draw_word(
    canvas: ImageDraw.ImageDraw,
    left: float,
    right: float,
    middle: float,
    label: str,
    weight: float | None,
    size: int,
) -> None:
    max_width = round(right - left) - _weight_width(weight, size)
    fitted = fit_text(label, size, max_width)
    draw_text(canvas, (left, middle), fitted, size, FOREGROUND)
    if format_weight(weight):
        weight_left = left + measure_text(fitted, size) + round(size * 0.4)
        draw_text(canvas, (weight_left, middle), format_weight(weight), size, ACCENT)


def _weight_width(weight: float | None, size: int) -> int:
    text = format_weight(weight)
    return measure_text(text, size) + round(size * 0.4) if text else 0


def _sizes(width: int) -> tuple[int, int, int]:
    """Return the font size of words, the font size of numbers and the margin for an image width."""
    font_size = min(max(round(width * 0.043), 9), 40)
    return font_size, max(round(font_size * 0.64), 8), round(font_size * 0.7)


def _format_value(value: float) -> str:
    return "0" if abs(value) < 5e-5 else f"{value:.2g}"


def _rounded_mask(size: tuple[int, int]) -> Image.Image:
    """Return a mask of `size` with round ends, drawn at four times the size and reduced for a smooth edge."""
    large = Image.new("L", (size[0] * 4, size[1] * 4), 0)
    ImageDraw.Draw(large).rounded_rectangle(
        (0, 0, large.width - 1, large.height - 1), large.height // 2, fill=255
    )
    return large.resize(size, Image.Resampling.LANCZOS)


@cache
def load_font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font at a size of `size` pixels."""
    content = files("promptweight.render").joinpath("Roboto-Medium.subset.ttf").read_bytes()
    return ImageFont.truetype(BytesIO(content), size=size)


def clean_text(text: str) -> str:
    """Return `text` on one line, without control characters and lone surrogates, which cannot be drawn."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def measure_text(text: str, size: int) -> int:
    """Return the width of `text` in pixels."""
    return round(load_font(size).getlength(text))


def fit_text(text: str, size: int, max_width: int) -> str:
    """Return `text`, shortened with an ellipsis if it is wider than `max_width` pixels."""
    text = clean_text(text)[:1000]
    if measure_text(text, size) <= max_width:
        return text
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if measure_text(text[:middle].rstrip() + "…", size) <= max_width:
            fits = middle
        else:
            too_long = middle
    return text[:fits].rstrip() + "…" if fits else ""


def draw_text(
    canvas: ImageDraw.ImageDraw,
    position: tuple[float, float],
    text: str,
    size: int,
    color: Color,
    anchor: str = "lm",
) -> None:
    """Draw `text` at a point; `anchor` as in Pillow, by default the left end of the middle line."""
    canvas.text(position, text, font=load_font(size), fill=color, anchor=anchor)
