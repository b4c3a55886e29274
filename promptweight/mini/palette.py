"""Color palette of the built-in world: eleven object colors, their light and dark shades, backgrounds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rgb = tuple[int, int, int]

COLORS: dict[str, Rgb] = {
    "red": (222, 36, 36),
    "orange": (250, 138, 18),
    "yellow": (250, 218, 30),
    "green": (40, 158, 58),
    "blue": (40, 84, 222),
    "purple": (128, 48, 172),
    "pink": (250, 130, 186),
    "brown": (126, 76, 38),
    "black": (28, 28, 32),
    "white": (252, 252, 252),
    "gray": (140, 142, 148),
}
"""Eleven object colors, as sRGB values 0 to 255."""

LIGHT, DARK = "light", "dark"
SHADES: dict[str, dict[str, Rgb]] = {
    LIGHT: {
        "red": (246, 116, 106),
        "orange": (255, 190, 112),
        "yellow": (255, 240, 142),
        "green": (142, 216, 132),
        "blue": (128, 180, 250),
        "purple": (186, 130, 224),
        "pink": (255, 192, 220),
        "brown": (184, 134, 90),
        "gray": (190, 192, 198),
    },
    DARK: {
        "red": (138, 12, 22),
        "orange": (206, 92, 0),
        "yellow": (196, 160, 0),
        "green": (12, 92, 36),
        "blue": (14, 36, 120),
        "purple": (74, 18, 110),
        "pink": (214, 60, 132),
        "brown": (74, 42, 20),
        "gray": (84, 86, 92),
    },
}
BACKGROUNDS: dict[str, Rgb] = {
    "plain": (240, 234, 218),
    "blue": (184, 214, 246),
    "green": (196, 232, 190),
    "yellow": (252, 240, 170),
    "pink": (252, 214, 226),
    "gray": (206, 208, 212),
    "purple": (218, 202, 240),
}
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


def fill(color: str, shade: str = "") -> NDArray[np.float32]:
    """Return the fill color (3,; 0 to 255) of an object; `shade` is "", "light" or "dark"."""
    return np.array(SHADES[shade][color] if shade else COLORS[color], np.float32)


def luminance(rgb: NDArray[np.float32]) -> float:
    """Return the luminance (0 to 255) of a color (3,; 0 to 255)."""
    return float(rgb @ _LUMINANCE)


def rim(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the rim color of an object filled with `rgb`: darker, or lighter for dark fills."""
    return np.float32(80) + rgb * np.float32(0.3) if luminance(rgb) < 70 else rgb * np.float32(0.58)


def ink(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the ink color (eyes, doors, wheels) of an object filled with `rgb`."""
    return np.full(3, 226 if luminance(rgb) < 70 else 40, np.float32)


def second(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the color of stripes and spots of an object filled with `rgb`."""
    return rgb * np.float32(0.5) if luminance(rgb) > 130 else rgb + np.float32(0.62) * (255 - rgb)
