"""Backdrops of the built-in world: places, weather and light.

All features repeat with the latent grid (4 units) or have one fixed position, which limits the number of
different patches that an autoencoder and a denoiser must learn.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

UNITS = 64
"""Side length of the image in scene coordinates."""

CELL = 4  # units per latent
WATERLINE = 32
WATER = (96, 152, 206)
BEACH, FIELD, SNOW, SPACE, CITY, ROOM, LAKE = "beach", "field", "snow", "space", "city", "room", "lake"
PLACES = (BEACH, FIELD, SNOW, SPACE, CITY, ROOM)
RAIN, SNOWFALL = "rain", "snowfall"
WEATHERS = (RAIN, SNOWFALL)
DAY, DUSK, NIGHT = "day", "dusk", "night"
LIGHTS: dict[str, tuple[float, float, float]] = {
    "": (1.0, 1.0, 1.0),
    DAY: (1.0, 1.0, 1.0),
    DUSK: (1.0, 0.78, 0.62),
    NIGHT: (0.34, 0.40, 0.62),
}
GROUND_LINES = {BEACH: 36, FIELD: 32, SNOW: 32, CITY: 48, ROOM: 44}  # y of the ground's top edge, in units
Canvas = NDArray[np.float32]


class _Brush:
    """Painter of rectangles and disks in units, on a canvas with `scale` pixels per unit."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas, self.scale = canvas, canvas.shape[0] // UNITS

    def box(self, x0: float, y0: float, x1: float, y1: float, rgb: tuple[int, int, int]) -> None:
        """Fill the rectangle with corners (x0, y0) and (x1, y1)."""
        x0, y0, x1, y1 = (round(value * self.scale) for value in (x0, y0, x1, y1))
        self.canvas[int(y0) : int(y1), int(x0) : int(x1)] = np.array(rgb, np.float32)

    def disk(self, x: float, y: float, radius: float, rgb: tuple[int, int, int]) -> None:
        """Fill a disk; its edge is antialiased over one pixel."""
        side = self.canvas.shape[0]
        rows, columns = np.ogrid[:side, :side]
        distance = np.hypot(rows + 0.5 - y * self.scale, columns + 0.5 - x * self.scale)
        cover = np.clip(radius * self.scale + 0.5 - distance, 0, 1).astype(np.float32)[..., None]
        self.canvas += cover * (np.array(rgb, np.float32) - self.canvas)


def _beach(brush: _Brush) -> None:
    brush.box(0, 0, 64, 24, (186, 222, 248))
    brush.box(0, 24, 64, 36, (72, 152, 212))
    for x in range(0, 64, 8):
        brush.box(x + 1, 27, x + 5, 28, (150, 204, 238))
        brush.box(x + 4, 31, x + 8, 32, (150, 204, 238))
    brush.box(0, 36, 64, 38, (250, 252, 252))
    brush.box(0, 38, 64, 64, (240, 214, 156))
    for x in range(0, 64, 8):
        brush.box(x + 2, 46, x + 3, 47, (212, 182, 120))
        brush.box(x + 6, 54, x + 7, 55, (212, 182, 120))


def _field(brush: _Brush) -> None:
    brush.box(0, 0, 64, 32, (190, 224, 250))
    for x, radius in ((8, 14), (32, 18), (58, 16)):
        brush.disk(x, 32 + radius * 0.55, radius, (150, 206, 120))
    brush.box(0, 32, 64, 64, (124, 192, 92))
    for y in range(36, 64, 8):
        for x in range((y // 8 % 2) * 4, 64, 8):
            brush.box(x + 1, y, x + 2, y + 2, (84, 152, 62))
            brush.box(x + 3, y, x + 4, y + 2, (84, 152, 62))


def _snow(brush: _Brush) -> None:
    brush.box(0, 0, 64, 32, (196, 214, 234))
    for x in range(4, 64, 12):
        for row in range(4):
            brush.box(x + 3 - row, 20 + 3 * row, x + 5 + row, 23 + 3 * row, (110, 146, 138))
    brush.box(0, 32, 64, 64, (244, 249, 255))
    for y in range(36, 64, 8):
        for x in range((y // 8 % 2) * 4, 64, 8):
            brush.box(x, y + 1, x + 4, y + 2, (208, 224, 242))


def _space(brush: _Brush) -> None:
    brush.box(0, 0, 64, 64, (26, 26, 58))
    for index in range(32):
        x, y = (index % 8) * 8 + (index // 8 * 3 + index * 5) % 7, (index // 8) * 16 + (index * 11) % 13
        brush.disk(x + 1, y + 1.5, 0.9 if index % 3 else 1.4, (250, 246, 214))


def _city(brush: _Brush) -> None:
    brush.box(0, 0, 64, 48, (198, 216, 236))
    for index, top in enumerate((20, 8, 24, 12, 28, 16, 4, 20)):
        x = 8 * index
        brush.box(x, top, x + 8, 48, (150, 158, 182) if index % 2 else (126, 134, 160))
        for y in range(top + 2, 46, 4):
            brush.box(x + 1.5, y, x + 3, y + 2, (244, 230, 160))
            brush.box(x + 5, y, x + 6.5, y + 2, (244, 230, 160))
    brush.box(0, 48, 64, 50, (206, 206, 204))
    brush.box(0, 50, 64, 64, (98, 100, 108))
    for x in range(0, 64, 8):
        brush.box(x + 2, 56, x + 6, 57, (236, 232, 200))


def _room(brush: _Brush) -> None:
    brush.box(0, 0, 64, 44, (246, 218, 190))
    for x in range(0, 64, 4):
        brush.box(x + 1.5, 0, x + 2.5, 44, (236, 200, 168))
    brush.box(36, 4, 60, 24, (150, 96, 56))
    brush.box(38, 6, 58, 22, (176, 218, 250))
    brush.box(47, 6, 49, 22, (150, 96, 56))
    brush.box(38, 13, 58, 15, (150, 96, 56))
    brush.box(0, 44, 64, 47, (252, 246, 236))
    brush.box(0, 47, 64, 64, (188, 134, 84))
    for y in range(48, 64, 4):
        brush.box(0, y, 64, y + 0.5, (156, 106, 62))
        for x in range((y // 4 % 2) * 8, 64, 16):
            brush.box(x, y, x + 0.5, y + 4, (156, 106, 62))


def _lake(brush: _Brush) -> None:
    brush.box(0, WATERLINE, 64, 64, WATER)
    brush.box(0, WATERLINE, 64, WATERLINE + 1, (226, 240, 252))


_DRAW: dict[str, Callable[[_Brush], None]] = {
    BEACH: _beach,
    FIELD: _field,
    SNOW: _snow,
    SPACE: _space,
    CITY: _city,
    ROOM: _room,
    LAKE: _lake,
}


@cache
def _place(place: str, size: int) -> Canvas:
    canvas = np.zeros((size, size, 3), np.float32)
    _DRAW[place](_Brush(canvas))
    return canvas


def draw_place(canvas: Canvas, place: str) -> None:
    """Draw a backdrop on the canvas, in place.

    Args:
        canvas: image (size, size, 3), 0 to 255.
        place: one of `PLACES`, which fills the whole canvas, or `LAKE`, which fills its lower half.
    """
    rows = slice(WATERLINE * canvas.shape[0] // UNITS if place == LAKE else 0, None)
    canvas[rows] = _place(place, canvas.shape[0])[rows]


@cache
def _fall(weather: str, amount: int, size: int) -> NDArray[np.float32]:
    """Return the coverage of rain or snow: (size, size, 2), with channels for drops and for their edges."""
    cell = CELL * size // UNITS
    cover = np.zeros((cell, cell, 2), np.float32)
    rows, columns = np.mgrid[:cell, :cell] + 0.5
    if weather == RAIN:  # a stroke slanted to the left
        away = np.abs(columns + 0.5 * rows - 0.75 * cell) / cell
        cover[..., 0] = np.clip((0.14 - away) * cell + 0.5, 0, 1) * (np.abs(rows / cell - 0.5) < 0.4)
    else:
        away = np.hypot(rows / cell - 0.5, columns / cell - 0.5)
        cover[..., 0] = np.clip((0.27 - away) * cell + 0.5, 0, 1)
        cover[..., 1] = np.clip((0.40 - away) * cell + 0.5, 0, 1) - cover[..., 0]
    cells = size // cell
    tiled = np.zeros((cells, cells), np.float32)
    row, column = np.ogrid[:cells, :cells]
    every = {1: (column + 2 * row) % 8 == 0, 2: (column + 2 * row) % 4 == 0, 3: (column + row) % 2 == 0}
    tiled[every[amount]] = 1
    return np.kron(tiled[..., None], cover).astype(np.float32)


def draw_weather(canvas: Canvas, weather: str, amount: int) -> NDArray[np.float32]:
    """Draw rain or snow on the canvas, in place.

    Args:
        canvas: image (size, size, 3), 0 to 255.
        weather: one of `WEATHERS`.
        amount: 1 (light), 2 (normal) or 3 (heavy).

    Returns:
        The mask (size, size), 0 to 1, of drops and their edges.
    """
    cover = _fall(weather, amount, canvas.shape[0])
    drops, edges = (np.array(rgb, np.float32) for rgb in ((66, 112, 190), (150, 178, 216)))
    if weather == SNOWFALL:
        canvas += cover[..., 1:] * (edges - canvas)
        drops = np.full(3, 255, np.float32)
    canvas += cover[..., :1] * (drops - canvas)
    mask: NDArray[np.float32] = cover.sum(-1)
    return mask


def shine(canvas: Canvas, light: str) -> None:
    """Multiply the canvas by the color of a light (a key of `LIGHTS`), in place."""
    canvas *= np.array(LIGHTS[light], np.float32)
