"""Icons of the built-in world's objects, drawn on a unit square.

An icon has a silhouette (filled with the object's color) and ink (eyes, doors, wheels: dark on light colors,
light on dark colors). Both are drawn at eight times the size and downsampled, so edges are antialiased.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from promptweight.mini import icons_nature, icons_objects
from promptweight.mini.pen import Pen

OVERSAMPLING = 8
OUTLINE = 1 / 28  # width of the rim, as a fraction of the icon's side


def _cat(pen: Pen) -> None:
    pen.stroke([(0.70, 0.90), (0.88, 0.84), (0.93, 0.66), (0.86, 0.52)], 0.09)
    pen.ellipse(0.47, 0.76, 0.30, 0.22)
    pen.box(0.24, 0.55, 0.70, 0.97, 0.12)
    pen.ellipse(0.45, 0.37, 0.31, 0.25)
    pen.polygon([(0.13, 0.40), (0.13, 0.02), (0.43, 0.20)])
    pen.polygon([(0.77, 0.40), (0.77, 0.02), (0.47, 0.20)])
    pen.ellipse(0.33, 0.36, 0.05, 0.065, layer="ink")
    pen.ellipse(0.57, 0.36, 0.05, 0.065, layer="ink")
    pen.polygon([(0.40, 0.46), (0.50, 0.46), (0.45, 0.52)], layer="ink")


def _mouse(pen: Pen) -> None:
    pen.stroke([(0.14, 0.74), (0.05, 0.62), (0.07, 0.46), (0.03, 0.34)], 0.06)
    pen.ellipse(0.40, 0.70, 0.33, 0.21)
    pen.polygon([(0.50, 0.50), (0.98, 0.76), (0.60, 0.90), (0.40, 0.88)])
    pen.ellipse(0.54, 0.40, 0.17, 0.18)
    pen.ellipse(0.55, 0.41, 0.07, 0.08, layer="ink")
    pen.ellipse(0.75, 0.67, 0.042, layer="ink")
    pen.ellipse(0.95, 0.75, 0.045, layer="ink")
    pen.box(0.24, 0.84, 0.36, 0.95, 0.04)
    pen.box(0.52, 0.84, 0.64, 0.95, 0.04)


def _house(pen: Pen) -> None:
    pen.box(0.16, 0.42, 0.84, 0.96)
    pen.polygon([(0.01, 0.47), (0.50, 0.04), (0.99, 0.47)])
    pen.box(0.66, 0.08, 0.80, 0.35)
    pen.box(0.56, 0.62, 0.74, 0.96, layer="ink")
    pen.box(0.25, 0.58, 0.43, 0.76, layer="ink")


def _tree(pen: Pen) -> None:
    pen.box(0.42, 0.55, 0.58, 0.98)
    pen.ellipse(0.50, 0.27, 0.26)
    pen.ellipse(0.27, 0.45, 0.23)
    pen.ellipse(0.73, 0.45, 0.23)
    pen.ellipse(0.50, 0.50, 0.22)
    pen.box(0.43, 0.72, 0.57, 0.98, layer="ink")


def _sun(pen: Pen) -> None:
    pen.ellipse(0.5, 0.5, 0.28)
    for ray in range(8):
        angle = ray * math.pi / 4
        along = (math.cos(angle), math.sin(angle))
        across = (-along[1], along[0])
        corners = ((0.2, -0.13), (0.5, -0.04), (0.5, 0.04), (0.2, 0.13))
        pen.polygon(
            [(0.5 + r * along[0] + w * across[0], 0.5 + r * along[1] + w * across[1]) for r, w in corners]
        )


def _car(pen: Pen) -> None:
    pen.polygon([(0.20, 0.52), (0.32, 0.26), (0.68, 0.26), (0.82, 0.52)])
    pen.box(0.02, 0.48, 0.98, 0.76, 0.09)
    for x in (0.25, 0.75):
        pen.ellipse(x, 0.76, 0.145)
        pen.ellipse(x, 0.76, 0.12, layer="ink")
    pen.polygon([(0.31, 0.49), (0.38, 0.33), (0.48, 0.33), (0.48, 0.49)], layer="ink")
    pen.polygon([(0.54, 0.49), (0.54, 0.33), (0.64, 0.33), (0.71, 0.49)], layer="ink")


def _fish(pen: Pen) -> None:
    pen.ellipse(0.58, 0.50, 0.38, 0.26)
    pen.polygon([(0.30, 0.50), (0.02, 0.22), (0.10, 0.50), (0.02, 0.78)])
    pen.polygon([(0.45, 0.30), (0.60, 0.08), (0.74, 0.32)])
    pen.ellipse(0.80, 0.43, 0.05, layer="ink")
    pen.stroke([(0.64, 0.38), (0.59, 0.50), (0.64, 0.62)], 0.035, layer="ink")


def _star(pen: Pen) -> None:
    corners = []
    for corner in range(10):
        angle, radius = -math.pi / 2 + corner * math.pi / 5, (0.52, 0.21)[corner % 2]
        corners.append((0.5 + radius * math.cos(angle), 0.53 + radius * math.sin(angle)))
    pen.polygon(corners)


def _heart(pen: Pen) -> None:
    curve = []
    for step in range(120):
        t = step * 2 * math.pi / 120
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        curve.append((0.5 + x / 34, 0.47 - y / 34))
    pen.polygon(curve)


def _circle(pen: Pen) -> None:
    pen.ellipse(0.5, 0.5, 0.46)


def _square(pen: Pen) -> None:
    pen.box(0.07, 0.07, 0.93, 0.93)


def _triangle(pen: Pen) -> None:
    pen.polygon([(0.5, 0.05), (0.98, 0.93), (0.02, 0.93)])


def _astronaut(pen: Pen) -> None:
    pen.box(0.16, 0.46, 0.84, 0.60, 0.07)
    pen.box(0.28, 0.42, 0.72, 0.76, 0.08)
    pen.box(0.30, 0.68, 0.47, 0.98, 0.05)
    pen.box(0.53, 0.68, 0.70, 0.98, 0.05)
    pen.ellipse(0.50, 0.26, 0.25)
    pen.box(0.33, 0.17, 0.67, 0.36, 0.08, layer="ink")
    pen.box(0.42, 0.54, 0.58, 0.63, layer="ink")


def _horse(pen: Pen) -> None:
    pen.stroke([(0.14, 0.44), (0.05, 0.56), (0.05, 0.74)], 0.08)
    pen.ellipse(0.42, 0.52, 0.32, 0.17)
    pen.polygon([(0.54, 0.56), (0.66, 0.10), (0.84, 0.18), (0.74, 0.60)])
    pen.polygon([(0.66, 0.10), (0.72, 0.00), (0.78, 0.12), (0.99, 0.28), (0.93, 0.38), (0.72, 0.32)])
    for x in (0.15, 0.30, 0.54, 0.66):
        pen.box(x, 0.56, x + 0.09, 0.98, 0.02)
    pen.ellipse(0.80, 0.20, 0.035, layer="ink")
    pen.stroke([(0.64, 0.14), (0.57, 0.40)], 0.05, layer="ink")


ICONS: dict[str, Callable[[Pen], None]] = {
    "cat": _cat,
    "mouse": _mouse,
    "house": _house,
    "tree": _tree,
    "sun": _sun,
    "car": _car,
    "fish": _fish,
    "star": _star,
    "heart": _heart,
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "astronaut": _astronaut,
    "horse": _horse,
    "dog": icons_nature.dog,
    "bird": icons_nature.bird,
    "rabbit": icons_nature.rabbit,
    "butterfly": icons_nature.butterfly,
    "flower": icons_nature.flower,
    "mushroom": icons_nature.mushroom,
    "moon": icons_nature.moon,
    "cloud": icons_nature.cloud,
    "apple": icons_nature.apple,
    "banana": icons_nature.banana,
    "boat": icons_objects.boat,
    "bicycle": icons_objects.bicycle,
    "airplane": icons_objects.airplane,
    "rocket": icons_objects.rocket,
    "castle": icons_objects.castle,
    "hat": icons_objects.hat,
    "ball": icons_objects.ball,
    "umbrella": icons_objects.umbrella,
    "cup": icons_objects.cup,
    "book": icons_objects.book,
}


@cache
def layers(kind: str, side: int) -> NDArray[np.float32]:
    """Return the layers of an icon: (3, side, side), values 0 to 1.

    Layer 0 is the whole silhouette (the instance mask), layer 1 its rim, layer 2 the ink.
    """
    pen = Pen(side * OVERSAMPLING)
    ICONS[kind](pen)
    rim = 2 * max(1, round(OUTLINE * pen.side)) + 1
    inner = pen.silhouette
    for _ in range(rim // 2 // 4):  # erosion by four pixels at a time; a single large filter is slower
        inner = inner.filter(ImageFilter.MinFilter(9))
    silhouette, inner_area, ink = (
        np.asarray(layer.resize((side, side), Image.Resampling.BOX), np.float32) / 255
        for layer in (pen.silhouette, inner, pen.ink)
    )
    return np.stack([silhouette, silhouette - inner_area, np.minimum(ink, silhouette)])
