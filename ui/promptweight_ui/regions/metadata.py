"""Painted regions as they are kept in the picture's file, and read again from any file: one small picture.

The record's `regions` is `{"words": […], "map": …, "inside": …, "outside": …}`: for each color its word,
empty for none; a PNG of four colors in base64, 0 where nothing is painted; the weights inside and elsewhere.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from promptweight_ui.regions.masks import COLORS, FINEST, Owners

MOST_LETTERS = 32_768
"""Of a map in base64; what a person paints takes about a thousand."""

LONGEST_WORD = 500


@dataclass(frozen=True)
class Painted:
    """What was painted, for which words, with which weights.

    Attributes:
        words: the word or phrase of each color; empty for none.
        owners: the color of every cell, as `regions_plan.owners_of` returns it.
        inside: the weight of a word in its own color.
        outside: its weight elsewhere.
    """

    words: tuple[str, ...]
    owners: Owners
    inside: float
    outside: float

    def record(self) -> dict[str, Any]:
        """Return it as plain data for the picture's settings."""
        image = Image.fromarray(self.owners, "P")
        image.putpalette([0, 0, 0, *(value for color in COLORS for value in bytes.fromhex(color[1:]))])
        file = BytesIO()
        image.save(file, "PNG", bits=2, optimize=True)
        return {
            "words": list(self.words),
            "map": base64.b64encode(file.getvalue()).decode("ascii"),
            "inside": self.inside,
            "outside": self.outside,
        }

    def layer(self, side: int) -> Any:
        """Return the paint as a picture of `side` × `side`: (rows, columns, 4) uint8."""
        shown = [(0, 0, 0, 0), *((*bytes.fromhex(color[1:]), 255) for color in COLORS)]
        pixels = np.array(shown, np.uint8)[self.owners]
        return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST))


def painted_in(settings: Mapping[str, Any]) -> Painted | None:
    """Return the regions of a picture's settings; None where there are none, or they make no sense."""
    kept = settings.get("regions")
    if not isinstance(kept, dict):
        return None
    words, weights = kept.get("words"), (kept.get("inside"), kept.get("outside"))
    if not isinstance(words, list) or len(words) != len(COLORS):
        return None
    if not all(isinstance(word, str) and len(word) <= LONGEST_WORD and _is_whole(word) for word in words):
        return None
    inside, outside = (_number(each) for each in weights)
    owners = _owners(kept.get("map"))
    if owners is None or not (0 < inside <= 1000 and 0 <= outside <= 1000):
        return None
    return Painted(tuple(words), owners, inside, outside)


def _owners(text: object) -> Owners | None:
    """Return a map out of its base64; None where it is none, too large, or has other colors."""
    if not isinstance(text, str) or len(text) > MOST_LETTERS:
        return None
    try:
        with Image.open(BytesIO(base64.b64decode(text, validate=True)), formats=("PNG",)) as image:
            if image.mode != "P" or max(image.size) > FINEST:  # known from the header, before it is unpacked
                return None
            owners = np.array(image)
    except (binascii.Error, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return owners if owners.max() <= len(COLORS) else None


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= 1e6:
        return math.nan
    return float(value)


def _is_whole(word: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" or letter == "\0" for letter in word)
