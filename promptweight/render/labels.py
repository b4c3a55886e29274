"""The strip under a picture: the word, its weight, and what the colors mean."""

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
FOREGROUND: Color = (244, 244, 246)
MUTED: Color = (158, 161, 172)
ACCENT: Color = (251, 176, 64)


def draw_word_strip(
    width: int, label: str, weight: float | None, colormap: str, ends: tuple[float, float]
) -> Image.Image:
    """Return the strip of one word: the word and its weight on the left, the color bar on the right."""
    letters, small, margin = _sizes(width)
    height = round(letters * 2.1)
    image = Image.new("RGB", (width, height), BACKGROUND)
    canvas = ImageDraw.Draw(image)
    low, high = (_number(value) for value in ends)
    bar_width, bar_height = max(1, round(width * 0.2)), max(4, round(letters * 0.36))
    gap = round(small * 0.5)
    right = width - margin
    draw_text(canvas, (right, height / 2), high, small, MUTED, anchor="rm")
    bar_right = right - measure_text(high, small) - gap
    bar = Image.fromarray(np.repeat(colormap_table(colormap)[None], 1, axis=0), mode="RGB")
    bar = bar.resize((bar_width, bar_height), Image.Resampling.BILINEAR)
    image.paste(bar, (bar_right - bar_width, (height - bar_height) // 2), _rounded(bar.size))
    low_right = bar_right - bar_width - gap
    draw_text(canvas, (low_right, height / 2), low, small, MUTED, anchor="rm")
    _word(canvas, margin, low_right - measure_text(low, small) - gap, height / 2, label, weight, letters)
    return image


def draw_legend_strip(
    width: int, labels: Sequence[str], weights: Sequence[float | None], colors: Sequence[Color]
) -> Image.Image:
    """Return the strip of several words, each after a patch of its color, on as many lines as they need."""
    letters, _, margin = _sizes(width)
    patch, gap, line = round(letters * 0.8), round(letters * 0.45), round(letters * 1.7)
    placed: list[tuple[int, int]] = []
    x, row = margin, 0
    for label, weight in zip(labels, weights, strict=True):
        needed = patch + gap + measure_text(clean_text(label), letters) + _weight_room(weight, letters)
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


def append_below(picture: Image.Image, strip: Image.Image) -> Image.Image:
    """Return `picture` with `strip` of the same width under it."""
    whole = Image.new("RGB", (picture.width, picture.height + strip.height), BACKGROUND)
    whole.paste(picture, (0, 0))
    whole.paste(strip, (0, picture.height))
    return whole


def format_weight(weight: float | None) -> str:
    """Return a weight as people read it: `×1.4`, and nothing for a word without a weight of its own.

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
    shown = fit_text(label, size, room)
    draw_text(canvas, (left, middle), shown, size, FOREGROUND)
    if format_weight(weight):
        at = left + measure_text(shown, size) + round(size * 0.4)
        draw_text(canvas, (at, middle), format_weight(weight), size, ACCENT)


def _weight_room(weight: float | None, size: int) -> int:
    written = format_weight(weight)
    return measure_text(written, size) + round(size * 0.4) if written else 0


def _sizes(width: int) -> tuple[int, int, int]:
    """Return the height of the word's letters and of the scale's, and the margin, for a picture's width."""
    letters = min(max(round(width * 0.043), 9), 40)
    return letters, max(round(letters * 0.64), 8), round(letters * 0.7)


def _number(value: float) -> str:
    return "0" if abs(value) < 5e-5 else f"{value:.2g}"


def _rounded(size: tuple[int, int]) -> Image.Image:
    """Return a mask of `size` with round ends, drawn large and shrunk so that its edge is smooth."""
    large = Image.new("L", (size[0] * 4, size[1] * 4), 0)
    ImageDraw.Draw(large).rounded_rectangle(
        (0, 0, large.width - 1, large.height - 1), large.height // 2, fill=255
    )
    return large.resize(size, Image.Resampling.LANCZOS)


@cache
def load_font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font whose letters are `size` pixels high."""
    content = files("promptweight.render").joinpath("Roboto-Medium.subset.ttf").read_bytes()
    return ImageFont.truetype(BytesIO(content), size=size)


def clean_text(text: str) -> str:
    """Return `text` on one line, without what cannot be drawn (control characters, lone surrogates)."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def measure_text(text: str, size: int) -> int:
    """Return how many pixels wide `text` is."""
    return round(load_font(size).getlength(text))


def fit_text(text: str, size: int, room: int) -> str:
    """Return `text`, shortened with an ellipsis where it is wider than `room` pixels."""
    text = clean_text(text)[:1000]
    if measure_text(text, size) <= room:
        return text
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if measure_text(text[:middle].rstrip() + "…", size) <= room:
            fits = middle
        else:
            too_long = middle
    return text[:fits].rstrip() + "…" if fits else ""


def draw_text(
    canvas: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int,
    color: tuple[int, int, int],
    anchor: str = "lm",
) -> None:
    """Draw `text` at a point; `anchor` as in Pillow, by default left and the middle of the line."""
    canvas.text(at, text, font=load_font(size), fill=color, anchor=anchor)
