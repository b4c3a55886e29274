"""Icons of vehicles, buildings and everyday objects, in addition to the first fourteen kinds in `icons`."""

from __future__ import annotations

from promptweight.mini.pen import Pen


def boat(pen: Pen) -> None:
    """Draw a sailing boat."""
    pen.polygon([(0.02, 0.66), (0.98, 0.66), (0.82, 0.95), (0.18, 0.95)])
    pen.box(0.455, 0.03, 0.545, 0.70)
    pen.box(0.47, 0.05, 0.53, 0.66, layer="ink")
    pen.polygon([(0.58, 0.06), (0.94, 0.58), (0.58, 0.58)])
    pen.polygon([(0.42, 0.16), (0.42, 0.58), (0.12, 0.58)])
    pen.box(0.08, 0.72, 0.92, 0.77, layer="ink")


def bicycle(pen: Pen) -> None:
    """Draw a bicycle."""
    for x in (0.23, 0.77):
        pen.ellipse(x, 0.68, 0.225)
        pen.ellipse(x, 0.68, 0.165, layer="ink")
        pen.cut_ellipse(x, 0.68, 0.075, layer="ink")
    pen.stroke([(0.23, 0.68), (0.38, 0.34), (0.67, 0.34), (0.77, 0.68)], 0.08)
    pen.stroke([(0.38, 0.30), (0.50, 0.68), (0.67, 0.34)], 0.08)
    pen.stroke([(0.23, 0.68), (0.50, 0.68)], 0.08)
    pen.box(0.27, 0.22, 0.50, 0.31, 0.04)
    pen.stroke([(0.67, 0.36), (0.64, 0.17), (0.82, 0.14)], 0.07)


def airplane(pen: Pen) -> None:
    """Draw an airplane in profile, flying to the right."""
    pen.polygon([(0.06, 0.44), (0.00, 0.14), (0.16, 0.14), (0.32, 0.44)])
    pen.box(0.04, 0.40, 0.99, 0.62, 0.11)
    pen.polygon([(0.42, 0.44), (0.36, 0.14), (0.47, 0.14), (0.66, 0.44)])
    pen.polygon([(0.42, 0.56), (0.26, 0.90), (0.40, 0.90), (0.68, 0.56)])
    for x in (0.36, 0.50, 0.64):
        pen.ellipse(x, 0.48, 0.04, layer="ink")
    pen.polygon([(0.80, 0.42), (0.90, 0.42), (0.97, 0.50), (0.80, 0.50)], layer="ink")


def rocket(pen: Pen) -> None:
    """Draw a rocket at takeoff."""
    pen.ellipse(0.50, 0.42, 0.20, 0.41)
    pen.cut_box(0.00, 0.74, 1.00, 1.00)
    pen.box(0.33, 0.42, 0.67, 0.74, 0.03)
    pen.polygon([(0.36, 0.46), (0.10, 0.78), (0.12, 0.90), (0.36, 0.74)])
    pen.polygon([(0.64, 0.46), (0.90, 0.78), (0.88, 0.90), (0.64, 0.74)])
    pen.polygon([(0.37, 0.77), (0.63, 0.77), (0.56, 0.88), (0.50, 1.00), (0.44, 0.88)])
    pen.ellipse(0.50, 0.34, 0.10, layer="ink")
    pen.box(0.34, 0.62, 0.66, 0.67, layer="ink")


def castle(pen: Pen) -> None:
    """Draw a castle with two towers."""
    pen.box(0.14, 0.46, 0.86, 0.97)
    for x in (0.03, 0.71):
        pen.box(x, 0.22, x + 0.26, 0.97)
        for step in range(3):
            pen.box(x + 0.10 * step, 0.10, x + 0.10 * step + 0.06, 0.26)
        pen.box(x + 0.09, 0.36, x + 0.17, 0.54, 0.04, layer="ink")
    for x in (0.37, 0.56):
        pen.box(x, 0.36, x + 0.07, 0.50)
    pen.ellipse(0.50, 0.72, 0.12, 0.12, layer="ink")
    pen.box(0.38, 0.72, 0.62, 0.97, layer="ink")


def hat(pen: Pen) -> None:
    """Draw a top hat."""
    pen.box(0.02, 0.74, 0.98, 0.90, 0.07)
    pen.box(0.22, 0.12, 0.78, 0.86, 0.05)
    pen.box(0.22, 0.58, 0.78, 0.72, layer="ink")


def ball(pen: Pen) -> None:
    """Draw a soccer ball."""
    pen.ellipse(0.50, 0.50, 0.39)
    pen.polygon([(0.50, 0.36), (0.635, 0.455), (0.585, 0.61), (0.415, 0.61), (0.365, 0.455)], layer="ink")
    for x, y in ((0.50, 0.11), (0.87, 0.38), (0.73, 0.82), (0.27, 0.82), (0.13, 0.38)):
        pen.ellipse(x, y, 0.10, layer="ink")


def umbrella(pen: Pen) -> None:
    """Draw an open umbrella."""
    pen.ellipse(0.50, 0.50, 0.48, 0.42)
    pen.cut_box(0.00, 0.50, 1.00, 1.00)
    for x in (0.18, 0.50, 0.82):
        pen.cut_ellipse(x, 0.51, 0.16, 0.07)
    pen.box(0.46, 0.00, 0.54, 0.12, 0.02)
    pen.stroke([(0.50, 0.30), (0.50, 0.86), (0.57, 0.93), (0.66, 0.93), (0.71, 0.84)], 0.075)
    pen.stroke([(0.50, 0.52), (0.50, 0.86), (0.57, 0.93), (0.66, 0.93), (0.71, 0.84)], 0.055, layer="ink")


def cup(pen: Pen) -> None:
    """Draw a cup with a handle to the right."""
    pen.ellipse(0.72, 0.52, 0.26, 0.24)
    pen.cut_ellipse(0.73, 0.52, 0.14, 0.13)
    pen.box(0.06, 0.16, 0.72, 0.92, 0.12)
    pen.box(0.06, 0.16, 0.72, 0.40, 0.02)
    pen.box(0.12, 0.20, 0.66, 0.28, 0.03, layer="ink")


def book(pen: Pen) -> None:
    """Draw an open book."""
    pen.polygon([(0.01, 0.22), (0.48, 0.32), (0.48, 0.90), (0.01, 0.80)])
    pen.polygon([(0.99, 0.22), (0.52, 0.32), (0.52, 0.90), (0.99, 0.80)])
    pen.box(0.46, 0.32, 0.54, 0.90)
    for y in (0.40, 0.54, 0.68):
        pen.stroke([(0.11, y - 0.02), (0.38, y + 0.04)], 0.04, layer="ink")
        pen.stroke([(0.89, y - 0.02), (0.62, y + 0.04)], 0.04, layer="ink")
    pen.box(0.485, 0.33, 0.515, 0.90, layer="ink")
