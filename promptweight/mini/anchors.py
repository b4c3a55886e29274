"""Anchor points of icons: head tops for hats, grip points of holders, tops and rims of supports.

Points (x, y) are fractions of the icon's side, measured from its upper left corner.
"""

from __future__ import annotations

Point = tuple[float, float]

HEADS: dict[str, Point] = {
    "cat": (0.45, 0.16),
    "mouse": (0.54, 0.27),
    "dog": (0.67, 0.13),
    "bird": (0.68, 0.18),
    "rabbit": (0.35, 0.07),
    "horse": (0.72, 0.08),
    "fish": (0.62, 0.24),
    "astronaut": (0.50, 0.05),
}
"""Center of the top of the head, by kind."""
HAT_SHARE = 0.6
"""Side of a worn hat, as a fraction of the wearer's side."""
HAT_BRIM = 0.86
"""Vertical position of the brim in the hat's square, as a fraction of the hat's side from its top."""
HANDS: dict[str, Point] = {
    "cat": (0.96, 0.60),
    "mouse": (0.98, 0.74),
    "dog": (0.99, 0.40),
    "bird": (0.99, 0.34),
    "rabbit": (0.90, 0.76),
    "astronaut": (0.86, 0.54),
}
"""Grip point of the holder, by kind."""
HELD: dict[str, Point] = {"umbrella": (0.50, 0.80), "flower": (0.50, 0.86)}
"""Grip point of each kind that can be held."""
HELD_SHARE = 0.8
"""Side of a held object, as a fraction of the holder's side."""
TOPS: dict[str, float] = {
    "house": 0.10,
    "car": 0.26,
    "square": 0.07,
    "mushroom": 0.07,
    "cloud": 0.18,
    "castle": 0.14,
    "book": 0.26,
    "cup": 0.16,
    "ball": 0.12,
}
"""Vertical position of the supporting surface, as a fraction of the side from the top, by kind."""
RIMS: dict[str, float] = {"boat": 0.66, "car": 0.50, "cup": 0.30}
"""Vertical position of the rim that hides the occupant below it, as a fraction of the side, by kind."""
