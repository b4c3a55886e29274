"""Letters on pictures: one font that shows every European language, cut to the room there is.

The font is a part of Roboto Medium (Google, Apache-2.0): Latin with all its accents, Greek, Cyrillic.
Pillow's own font has no ã, ç or é.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from io import BytesIO

from PIL import ImageDraw, ImageFont


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Returns the font whose letters are `size` pixels high."""
    content = files("promptweight.render").joinpath("Roboto-Medium.subset.ttf").read_bytes()
    return ImageFont.truetype(BytesIO(content), size=size)


def printable(text: str) -> str:
    """Returns `text` on one line, without what cannot be drawn (control characters, lone surrogates)."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def width(text: str, size: int) -> int:
    """Returns how many pixels wide `text` is."""
    return round(font(size).getlength(text))


def fitted(text: str, size: int, room: int) -> str:
    """Returns `text`, shortened with an ellipsis where it is wider than `room` pixels."""
    text = printable(text)[:1000]
    if width(text, size) <= room:
        return text
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if width(text[:middle].rstrip() + "…", size) <= room:
            fits = middle
        else:
            too_long = middle
    return text[:fits].rstrip() + "…" if fits else ""


def draw(
    canvas: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int,
    color: tuple[int, int, int],
    anchor: str = "lm",
) -> None:
    """Draws `text` at a point; `anchor` as in Pillow, by default left and the middle of the line."""
    canvas.text(at, text, font=font(size), fill=color, anchor=anchor)
