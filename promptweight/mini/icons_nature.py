"""Icons of animals, plants and the sky, in addition to the first fourteen kinds in `icons`."""

from __future__ import annotations

import math

from promptweight.mini.pen import Pen


def dog(pen: Pen) -> None:
    """Draw a dog in profile, facing right."""
    pen.stroke([(0.15, 0.52), (0.06, 0.40), (0.05, 0.24)], 0.09)
    pen.box(0.09, 0.46, 0.70, 0.76, 0.13)
    for x in (0.11, 0.25, 0.46, 0.60):
        pen.box(x, 0.62, x + 0.11, 0.97, 0.03)
    pen.polygon([(0.48, 0.56), (0.54, 0.22), (0.84, 0.24), (0.74, 0.62)])
    pen.ellipse(0.69, 0.26, 0.19, 0.17)
    pen.box(0.70, 0.24, 0.99, 0.43, 0.08)
    pen.ellipse(0.54, 0.33, 0.09, 0.18)
    pen.ellipse(0.55, 0.34, 0.06, 0.14, layer="ink")
    pen.ellipse(0.74, 0.22, 0.04, layer="ink")
    pen.ellipse(0.96, 0.29, 0.05, layer="ink")


def bird(pen: Pen) -> None:
    """Draw a bird in profile, facing right."""
    pen.polygon([(0.26, 0.44), (0.00, 0.30), (0.03, 0.58), (0.22, 0.66)])
    pen.ellipse(0.45, 0.56, 0.32, 0.24)
    pen.ellipse(0.69, 0.32, 0.19, 0.18)
    pen.polygon([(0.84, 0.22), (1.00, 0.34), (0.84, 0.42)])
    for x in (0.40, 0.54):
        pen.stroke([(x, 0.76), (x, 0.94), (x + 0.09, 0.94)], 0.055)
    pen.polygon([(0.30, 0.48), (0.60, 0.50), (0.40, 0.72), (0.22, 0.62)], layer="ink")
    pen.ellipse(0.72, 0.28, 0.042, layer="ink")


def rabbit(pen: Pen) -> None:
    """Draw a rabbit from the front, with long ears."""
    for x in (0.35, 0.65):
        pen.ellipse(x, 0.23, 0.105, 0.23)
        pen.ellipse(x, 0.22, 0.045, 0.14, layer="ink")
    pen.ellipse(0.50, 0.52, 0.27, 0.20)
    pen.ellipse(0.50, 0.80, 0.31, 0.18)
    for x in (0.26, 0.74):
        pen.ellipse(x, 0.93, 0.16, 0.06)
    for x in (0.40, 0.60):
        pen.ellipse(x, 0.49, 0.042, 0.055, layer="ink")
    pen.polygon([(0.455, 0.57), (0.545, 0.57), (0.50, 0.62)], layer="ink")


def butterfly(pen: Pen) -> None:
    """Draw a butterfly with open wings."""
    for side in (-1, 1):
        pen.ellipse(0.5 + side * 0.26, 0.32, 0.235, 0.23)
        pen.ellipse(0.5 + side * 0.21, 0.70, 0.19, 0.21)
        pen.stroke([(0.5, 0.24), (0.5 + side * 0.08, 0.10), (0.5 + side * 0.16, 0.05)], 0.045)
        pen.ellipse(0.5 + side * 0.29, 0.31, 0.09, layer="ink")
        pen.ellipse(0.5 + side * 0.22, 0.71, 0.07, layer="ink")
    pen.box(0.455, 0.18, 0.545, 0.90, 0.045)
    pen.box(0.465, 0.20, 0.535, 0.88, 0.035, layer="ink")


def flower(pen: Pen) -> None:
    """Draw a flower with six petals, a stem and two leaves."""
    pen.box(0.455, 0.50, 0.545, 0.98, 0.03)
    pen.box(0.465, 0.62, 0.535, 0.97, layer="ink")
    for side in (-1, 1):
        pen.ellipse(0.5 + side * 0.19, 0.80, 0.17, 0.075)
    for petal in range(6):
        angle = petal * math.pi / 3 + math.pi / 6
        pen.ellipse(0.5 + 0.21 * math.cos(angle), 0.33 + 0.21 * math.sin(angle), 0.135)
    pen.ellipse(0.50, 0.33, 0.16)
    pen.ellipse(0.50, 0.33, 0.115, layer="ink")


def mushroom(pen: Pen) -> None:
    """Draw a mushroom with dots on its cap."""
    pen.ellipse(0.50, 0.50, 0.47, 0.44)
    pen.cut_box(0.00, 0.53, 1.00, 1.00)
    pen.box(0.03, 0.46, 0.97, 0.58, 0.06)
    pen.box(0.35, 0.50, 0.65, 0.97, 0.08)
    for x, y, radius in ((0.28, 0.34, 0.075), (0.54, 0.22, 0.08), (0.74, 0.38, 0.075)):
        pen.ellipse(x, y, radius, layer="ink")
    pen.box(0.35, 0.56, 0.65, 0.60, layer="ink")


def moon(pen: Pen) -> None:
    """Draw a crescent, open to the right."""
    pen.ellipse(0.46, 0.50, 0.44, 0.47)
    pen.cut_ellipse(0.70, 0.44, 0.36, 0.38)
    pen.ellipse(0.20, 0.58, 0.045, layer="ink")
    pen.ellipse(0.34, 0.78, 0.055, layer="ink")


def cloud(pen: Pen) -> None:
    """Draw a cloud."""
    pen.ellipse(0.25, 0.58, 0.235, 0.20)
    pen.ellipse(0.48, 0.40, 0.25, 0.24)
    pen.ellipse(0.76, 0.55, 0.225, 0.21)
    pen.box(0.10, 0.56, 0.90, 0.78, 0.11)


def apple(pen: Pen) -> None:
    """Draw an apple with a stem and a leaf."""
    pen.ellipse(0.34, 0.60, 0.30, 0.34)
    pen.ellipse(0.66, 0.60, 0.30, 0.34)
    pen.box(0.30, 0.40, 0.70, 0.92, 0.10)
    pen.cut_ellipse(0.50, 0.25, 0.10, 0.08)
    pen.stroke([(0.50, 0.36), (0.52, 0.20), (0.47, 0.08)], 0.07)
    pen.stroke([(0.50, 0.36), (0.52, 0.20), (0.47, 0.08)], 0.05, layer="ink")
    pen.polygon([(0.54, 0.22), (0.64, 0.08), (0.86, 0.06), (0.76, 0.20)])


def banana(pen: Pen) -> None:
    """Draw a banana with the stem at the upper right."""
    pen.ellipse(0.40, 0.36, 0.57)
    pen.cut_ellipse(0.26, 0.08, 0.60)
    pen.cut_box(0.00, 0.00, 1.00, 0.20)
    pen.stroke([(0.87, 0.28), (0.90, 0.09)], 0.14)
    pen.stroke([(0.895, 0.12), (0.90, 0.07)], 0.10, layer="ink")
    pen.ellipse(0.03, 0.66, 0.06, layer="ink")
