"""Painted regions in the settings of an image file: written, and parsed from any file.

The record's `regions` is `{"words": […], "map": …, "inside": …, "outside": …}`: the word of each
color, empty for none; a PNG of four colors in base64, 0 for no paint; the weights inside and elsewhere.
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

from promptweight_ui.regions.masks import COLORS, MAX_CELLS, ColorIndices

MAX_MAP_LENGTH = 32_768
"""Characters of a map in base64; a painted one has about a thousand."""

MAX_WORD_LENGTH = 500


@dataclass(frozen=True)
class PaintedRegions:
    """Painted regions with their words and weights.

    Attributes:
        words: the word or phrase of each color; empty for none.
        indices: the color of every cell, as `masks.color_indices` returns it.
        inside: the weight of a word inside its color.
        outside: its weight elsewhere.
    """

    words: tuple[str, ...]
    indices: ColorIndices
    inside: float
    outside: float

    def record(self) -> dict[str, Any]:
        """Return the regions as plain data for the settings of an image."""
        image = Image.fromarray(self.indices, "P")
        image.putpalette(
            [0, 0, 0, *(value for color in COLORS.values() for value in bytes.fromhex(color[1:]))]
        )
        file = BytesIO()
        image.save(file, "PNG", bits=2, optimize=True)
        return {
            "words": list(self.words),
            "map": base64.b64encode(file.getvalue()).decode("ascii"),
            "inside": self.inside,
            "outside": self.outside,
        }

    def layer(self, side: int) -> Any:
        """Return the paint as an RGBA image of `side` × `side`: (rows, columns, 4) uint8."""
        colors = [(0, 0, 0, 0), *((*bytes.fromhex(color[1:]), 255) for color in COLORS.values())]
        pixels = np.array(colors, np.uint8)[self.indices]
        return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST))


def parse_regions(settings: Mapping[str, Any]) -> PaintedRegions | None:
    """Return the regions in the settings of an image; None if there are none, or they are invalid."""
    record = settings.get("regions")
    if not isinstance(record, dict):
        return None
    words, weights = record.get("words"), (record.get("inside"), record.get("outside"))
    if not isinstance(words, list) or len(words) != len(COLORS):
        return None
    if not all(
        isinstance(word, str) and len(word) <= MAX_WORD_LENGTH and _is_valid_text(word) for word in words
    ):
        return None
    inside, outside = (_number(each) for each in weights)
    indices = _indices(record.get("map"))
    if indices is None or not (0 < inside <= 1000 and 0 <= outside <= 1000):
        return None
    return PaintedRegions(tuple(words), indices, inside, outside)


def _indices(text: object) -> ColorIndices | None:
    """Return a map from its base64; None if it is invalid, too large, or has other colors."""
    if not isinstance(text, str) or len(text) > MAX_MAP_LENGTH:
        return None
    try:
        with Image.open(BytesIO(base64.b64decode(text, validate=True)), formats=("PNG",)) as image:
            if (
                image.mode != "P" or max(image.size) > MAX_CELLS
            ):  # known from the header, before decompression
                return None
            indices = np.array(image)
    except (binascii.Error, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return indices if indices.max() <= len(COLORS) else None


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= 1e6:
        return math.nan
    return float(value)


def _is_valid_text(word: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" or letter == "\0" for letter in word)
