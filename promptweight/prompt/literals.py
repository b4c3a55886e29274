"""Reading numbers and white space at a place in a text, each character looked at once."""

from __future__ import annotations

import math
import re
from typing import Any

from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.model import MODES, NO_OPTIONS, REGIONS, Options

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


VALID = {
    "steps": "begin-end with 0 <= begin < end <= 1, such as 0.2-0.8",
    "to": "a finite number, such as 1.0",
    "region": f"{', '.join(REGIONS)}, or a box “left top right bottom” in fractions such as 0 0 0.5 1",
    "mode": ", ".join(MODES),
    "share": "a share of the words' attention between 0% and 100%, such as 25%",
}


STEPS = re.compile(r"([0-9.]++)\s*+-\s*+([0-9.]++)")


def read_options(block: str, place: int, remarks: Remarks, at: Any) -> Options:
    """Read what stands between the braces; ``at(offset)`` gives the source place of ``place + offset``.

    An option that cannot be read is remarked on and left out; the others count.
    """
    if not block.strip():
        return NO_OPTIONS
    found: dict[str, Any] = {}
    offset = 0
    for item in block.split(","):
        start = place + offset + len(item) - len(item.lstrip())
        end = place + offset + len(item.rstrip())
        offset += len(item) + 1
        name, equals, value = item.partition("=")
        name, value = name.strip(), value.strip()
        if name not in VALID or not equals:
            if item.strip():
                remarks.add("option-unknown", at(start), at(end), name=name)
        elif name in found:
            remarks.add("option-repeated", at(start), at(end), name=name)
        else:
            parsed = READERS[name](value)
            if parsed is None:
                remarks.add("option-value", at(start), at(end), name=name, value=value, valid=VALID[name])
            else:
                found[name] = parsed
    return Options(**found) if found else NO_OPTIONS


def read_steps(value: str) -> tuple[float, float] | None:
    """``0.2-0.8`` as (0.2, 0.8)."""
    match = STEPS.fullmatch(value)
    if match is None:
        return None
    begin, end = finite(match[1]), finite(match[2])
    return (begin, end) if begin is not None and end is not None and 0 <= begin < end <= 1 else None


def read_number(value: str) -> float | None:
    """A finite number."""
    return finite(value) if ASCII_NUMBER.fullmatch(value) else None


def read_region(value: str) -> str | tuple[float, float, float, float] | None:
    """A named region, or four edges in fractions of the picture."""
    if value in REGIONS:
        return value
    edges = [read_number(edge) for edge in value.split()]
    if len(edges) != 4 or None in edges:
        return None
    left, top, right, bottom = (edge for edge in edges if edge is not None)
    return (left, top, right, bottom) if 0 <= left < right <= 1 and 0 <= top < bottom <= 1 else None


def read_mode(value: str) -> str | None:
    """One of the modes."""
    return value if value in MODES else None


def read_share(value: str) -> float | None:
    """``25%`` as 0.25."""
    number = finite(value[:-1]) if value.endswith("%") and ASCII_NUMBER.fullmatch(value[:-1]) else None
    share = None if number is None else round(number / 100, 12)
    return share if share is not None and 0 < share < 1 else None


READERS = {
    "steps": read_steps,
    "to": read_number,
    "region": read_region,
    "mode": read_mode,
    "share": read_share,
}
