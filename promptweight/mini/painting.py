"""Icon painter: fill, pattern, rim and ink over a square of an image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from promptweight.mini import palette
from promptweight.mini.icons import layers

STRIPED, SPOTTED = "striped", "spotted"
PATTERNS = (STRIPED, SPOTTED)
Canvas = NDArray[np.float32]


def blend(canvas: Canvas, alpha: NDArray[np.float32], color: NDArray[np.float32]) -> None:
    """Blend a color (3,) onto the canvas (height, width, 3), in place, with opacity alpha (height, width)."""
    canvas += alpha[..., None] * (color - canvas)


def pattern_cover(pattern: str, side: int, cell: int) -> NDArray[np.float32]:
    """Return the mask of a pattern's second color: (side, side), 0 to 1, with a period of `cell` pixels."""
    rows, columns = np.mgrid[:side, :side] % cell + 0.5
    if pattern == STRIPED:
        stripes: NDArray[np.float32] = (columns > cell / 2).astype(np.float32)
        return stripes
    away = np.hypot(rows - cell / 2, columns - cell / 2)
    return np.clip(0.32 * cell + 0.5 - away, 0, 1).astype(np.float32)


def paint(
    canvas: Canvas,
    kind: str,
    color: str,
    *,
    shade: str = "",
    pattern: str = "",
    cell: int = 8,
    flipped: bool = False,
    first_row: int = 0,
) -> Canvas:
    """Paint an icon over a whole square canvas, in place, and return the canvas.

    Args:
        canvas: image (side, side, 3), 0 to 255.
        kind: a key of `ICONS`.
        color: a key of `COLORS`.
        shade: "", "light" or "dark".
        pattern: "", "striped" or "spotted".
        cell: period of the pattern in pixels.
        flipped: True to paint the icon upside down.
        first_row: first painted row of the icon; rows above it are skipped.
    """
    side = canvas.shape[0]
    silhouette, rim, ink = layers(kind, side)
    rgb = palette.fill(color, shade)
    painted = canvas[::-1] if flipped else canvas
    rows = slice(first_row, side)
    blend(painted[rows], silhouette[rows], rgb)
    if pattern:
        cover = pattern_cover(pattern, side, cell) * silhouette
        blend(painted[rows], cover[rows], palette.second(rgb))
    blend(painted[rows], rim[rows], palette.rim(rgb))
    blend(painted[rows], ink[rows], palette.ink(rgb))
    return canvas
