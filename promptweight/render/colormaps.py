"""Color maps for heat maps and a categorical palette for words, legible to people with color blindness.

`inferno`, `magma` and `viridis` are evenly spaced samples of the tables by Nathaniel Smith, Stéfan van der
Walt and Eric Firing (https://github.com/BIDS/colormap, CC0) with linear interpolation between them. Their
lightness increases evenly, so they remain legible in gray. `WORD_COLORS` is the palette of Okabe and Ito
(2008), "Color universal design".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptweight.render.constants import CONSTANTS
from promptweight.validation import check_choice

_SAMPLES: Mapping[str, str] = CONSTANTS["colormaps"]

COLORMAPS: tuple[str, ...] = tuple(_SAMPLES)
"""Names of the color maps."""

WORD_COLORS: tuple[tuple[int, int, int], ...] = tuple(
    (red, green, blue) for red, green, blue in CONSTANTS["word_colors"]
)
"""One color per word in overlays of several words; repeats after seven words."""


@cache
def colormap_table(name: str) -> NDArray[np.uint8]:
    """Return a color map as 256 RGB colors, shape (256, 3), lowest heat first.

    Args:
        name: one of `COLORMAPS`.

    Raises:
        SettingError: `name` is not in `COLORMAPS`.
    """
    check_choice("colormap", name, COLORMAPS)
    samples = np.array([list(bytes.fromhex(color)) for color in _SAMPLES[name].split()], dtype=np.float64)
    positions = np.linspace(0, len(samples) - 1, 256)
    channels = [np.interp(positions, np.arange(len(samples)), samples[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def colorize(heat: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return the RGB colors (height, width, 3) of `heat` (height, width); values are clipped to 0..1."""
    return colormap_table(name)[(np.clip(heat, 0, 1) * 255).round().astype(np.intp)]
