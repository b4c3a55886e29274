"""Points at which icons meet: heads under a hat, paws and beaks that hold, tops to sit on, boats to sit in.

Points are shares of the icon's side, from its upper left corner.
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
"""The middle of the top of the head."""
HAT_SHARE = 0.6
"""The side of a hat that is worn, in sides of its wearer."""
HAT_BRIM = 0.86
"""How far down in its own square a hat rests on the head."""
HANDS: dict[str, Point] = {
    "cat": (0.96, 0.60),
    "mouse": (0.98, 0.74),
    "dog": (0.99, 0.40),
    "bird": (0.99, 0.34),
    "rabbit": (0.90, 0.76),
    "astronaut": (0.86, 0.54),
}
"""Where something is held."""
HELD: dict[str, Point] = {"umbrella": (0.50, 0.80), "flower": (0.50, 0.86)}
"""What can be held, and where it is gripped."""
HELD_SHARE = 0.8
"""The side of what is held, in sides of its holder."""
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
"""How far down the top of what can be sat on is."""
RIMS: dict[str, float] = {"boat": 0.66, "car": 0.50, "cup": 0.30}
"""From where on down what can be sat in hides who sits in it."""
