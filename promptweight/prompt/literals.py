"""Reading numbers and white space at a place in a text, each character looked at once."""

from __future__ import annotations

import math
import re

# Possessive quantifiers (`++`, `*+`) never give back what they took, so that no pattern backtracks.
WHITE = re.compile(r"\s*+")
ASCII_NUMBER = re.compile(r"[+-]?+(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+")
A1111_NUMBER = re.compile(r"[+-]?+[.\d]++")
SCHEDULE_NUMBER = re.compile(r"\s*+([+-]?+(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+)\s*+")
PART_NUMBER = re.compile(r"\s*+([-+]?+(?:\d++(?:\.\d*+)?+|\.\d++))")
NUMBER_LIKE = re.compile(r"\s*+[+\-−]?+(?:[.\d]|nan\b|inf)", re.IGNORECASE)

UNUSUAL_WEIGHT = 3.0
"""Weights beyond this are remarked on."""

HEAVIEST = 1e30
"""No product of weights leaves -1e30..1e30, so that a weight is finite in float32 too."""


def skip_white(text: str, place: int) -> int:
    """The place after the white space at ``place``."""
    match = WHITE.match(text, place)
    return match.end() if match else place


def finite(number: str) -> float | None:
    """The value of a number as written, or None where it is none or is not finite."""
    try:
        value = float(number)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def within_reach(weight: float) -> float:
    """The weight, held within ``HEAVIEST``."""
    return max(-HEAVIEST, min(HEAVIEST, weight))
