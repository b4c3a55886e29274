"""Color maps for heat: small tables, readable by people who see colors differently.

`inferno`, `magma` and `viridis` are samples, at even distances, of the tables by Nathaniel Smith, Stéfan
van der Walt and Eric Firing (https://github.com/BIDS/colormap, CC0), interpolated linearly in between: the
lightness grows evenly, so they also read in gray. `WORD_COLORS` is the palette of Okabe and Ito (2008),
"Color universal design".
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptweight.errors import SettingError

_SAMPLES = {
    "inferno": "000004 1b0c41 4a0c6b 781c6d a52c60 cf4446 ed6925 fb9b06 f7d13d fcffa4",
    "magma": "000004 180f3d 440f76 721f81 9e2f7f cd4071 f1605d fd9668 feca8d fcfdbf",
    "viridis": "440154 482878 3e4989 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725",
    "gray": "000000 ffffff",
}

COLORMAPS: tuple[str, ...] = tuple(_SAMPLES)
"""The names that `colormap` knows."""

WORD_COLORS: tuple[tuple[int, int, int], ...] = (
    (230, 159, 0),  # orange
    (0, 114, 178),  # blue
    (0, 158, 115),  # bluish green
    (204, 121, 167),  # reddish purple
    (213, 94, 0),  # vermilion
    (86, 180, 233),  # sky blue
    (240, 228, 66),  # yellow
)
"""One flat color per word where several words are shown on one picture; repeats after seven."""


@cache
def colormap_table(name: str) -> NDArray[np.uint8]:
    """Return the color map `name` as 256 RGB colors, shape (256, 3), lowest heat first.

    Raises:
        SettingError: there is no color map of that name.
    """
    if name not in _SAMPLES:
        raise SettingError(f"there is no color map {name!r}; valid names: {', '.join(COLORMAPS)}")
    samples = np.array([list(bytes.fromhex(color)) for color in _SAMPLES[name].split()], dtype=np.float64)
    at = np.linspace(0, len(samples) - 1, 256)
    channels = [np.interp(at, np.arange(len(samples)), samples[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def colorize(heat: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return the colors of `heat`, values 0..1, shape (height, width), as RGB (height, width, 3)."""
    return colormap_table(name)[(np.clip(heat, 0, 1) * 255).round().astype(np.intp)]
