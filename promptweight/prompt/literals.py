"""Number, option and white-space literals of the prompt dialects, read in linear time."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from promptweight.errors import SettingError
from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.model import NO_OPTIONS, REGIONS, Options
from promptweight.prompt.step_curve import StepCurve, is_step_curve
from promptweight.validation import check_layers
from promptweight.weighting import WORD_WEIGHTINGS

# Possessive quantifiers (`++`, `*+`) never give back what they matched, so that no pattern backtracks.
WHITE = re.compile(r"\s*+")
ASCII_NUMBER = re.compile(r"[+-]?+(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+")
A1111_NUMBER = re.compile(r"[+-]?+[.\d]++")
SCHEDULE_NUMBER = re.compile(r"\s*+([+-]?+(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+)\s*+")
PART_NUMBER = re.compile(r"\s*+([-+]?+(?:\d++(?:\.\d*+)?+|\.\d++))")
NUMBER_LIKE = re.compile(r"\s*+[+\-−]?+(?:[.\d]|nan\b|inf)", re.IGNORECASE)

NOVELAI_FACTOR = 1.05
"""The factor of a bracket of NovelAI."""

UNUSUAL_WEIGHT = 3.0
"""Weights beyond this get a remark."""

MAX_WEIGHT = 1e30
"""Products of weights stay within -1e30 to 1e30, so that a weight is finite in float32 too."""


def skip_white(text: str, offset: int, end: int | None = None) -> int:
    """Return the offset after the white space at `offset`, at most `end`."""
    match = WHITE.match(text, offset) if end is None else WHITE.match(text, offset, end)
    return match.end() if match else offset


def parse_finite(number: str) -> float | None:
    """Return the value of a number; `None` for anything else, infinities and NaN included."""
    try:
        value = float(number)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def parse_weight(number: str) -> float | None:
    """Return a weight, also one in percent: `0.6` and `60%` as 0.6; None if it is not finite."""
    if not number.endswith("%"):
        return parse_finite(number)
    percent = parse_finite(number[:-1])
    return None if percent is None else round(percent / 100, 12)


def format_weight(weight: float) -> str:
    """Return a weight without an exponent: six decimals, or all of them for one below 0.001."""
    short = f"{weight:.6f}".rstrip("0").rstrip(".")
    if abs(weight) >= 1e-3 or weight == 0:
        return "0" if short == "-0" else short
    return format(Decimal(repr(weight)), "f")


def clamp_weight(weight: float) -> float:
    """Return the weight within `MAX_WEIGHT`."""
    return max(-MAX_WEIGHT, min(MAX_WEIGHT, weight))


OPTION_VALUES = {
    "steps": "a range such as 0.2-0.8, or increasing positions from 0 to 1 with factors such as 0:1.5 1:0.2",
    "layers": "parts of layer names joined by +, such as up_blocks+mid_block",
    "region": f"{', '.join(REGIONS)}, or a box “left top right bottom” in fractions such as 0 0 0.5 1",
    "weighting": ", ".join(WORD_WEIGHTINGS),
    "share": "a share of the words' attention between 0% and 100%, such as 25%",
}
"""The options of a weight, and the valid values of each."""


STEPS = re.compile(r"([0-9.]++)\s*+-\s*+([0-9.]++)")


def parse_options(block: str, offset: int, remarks: Remarks, source_offset: Callable[[int], int]) -> Options:
    """Parse the text between the braces.

    An invalid option gets a remark and is left out; the others count.

    Args:
        block: the text between the braces.
        offset: the offset of the block.
        remarks: gets the remarks.
        source_offset: maps an offset to the source.
    """
    if not block.strip():
        return NO_OPTIONS
    found: dict[str, Any] = {}
    item_offset = 0
    for item in block.split(","):
        start = offset + item_offset + len(item) - len(item.lstrip())
        end = offset + item_offset + len(item.rstrip())
        item_offset += len(item) + 1
        name, equals, value = item.partition("=")
        name, value = name.strip(), value.strip()
        if name not in OPTION_VALUES or not equals:
            if item.strip():
                options, offsets = ", ".join(OPTION_VALUES), (source_offset(start), source_offset(end))
                remarks.add("option-unknown", *offsets, name=name, options=options)
        elif name in found:
            remarks.add("option-repeated", source_offset(start), source_offset(end), name=name)
        else:
            parsed = _VALUE_PARSERS[name](value)
            if parsed is None:
                valid = OPTION_VALUES[name]
                offsets = source_offset(start), source_offset(end)
                remarks.add("option-value", *offsets, name=name, value=value, valid=valid)
            else:
                found[name] = parsed
    return Options(**found) if found else NO_OPTIONS


def _parse_steps(value: str) -> StepCurve | None:
    """Return the curve of the points `0:1.5 0.5:1 1:0.2`, or of the range `0.2-0.8`."""
    match = STEPS.fullmatch(value)
    pairs = [(match[1], "1"), (match[2], "1")] if match else [item.split(":", 1) for item in value.split()]
    if any(len(pair) != 2 for pair in pairs):
        return None
    numbers = [(_parse_number(position), _parse_number(factor)) for position, factor in pairs]
    curve = tuple((a, b) for a, b in numbers if a is not None and b is not None and abs(b) <= MAX_WEIGHT)
    return curve if len(curve) == len(pairs) and is_step_curve(curve) else None


def _parse_number(value: str) -> float | None:
    """Return a finite number."""
    return parse_finite(value) if ASCII_NUMBER.fullmatch(value) else None


def _parse_region(value: str) -> str | tuple[float, float, float, float] | None:
    """Return a named region, or four edges in fractions of the image."""
    if value in REGIONS:
        return value
    edges = [_parse_number(edge) for edge in value.split()]
    if len(edges) != 4 or None in edges:
        return None
    left, top, right, bottom = (edge for edge in edges if edge is not None)
    return (left, top, right, bottom) if 0 <= left < right <= 1 and 0 <= top < bottom <= 1 else None


def _parse_layers(value: str) -> tuple[str, ...] | None:
    """Return `up_blocks+mid_block` as its parts."""
    try:
        return check_layers(value.split("+"))
    except SettingError:
        return None


def _parse_weighting(value: str) -> str | None:
    """Return one of `WORD_WEIGHTINGS`."""
    return value if value in WORD_WEIGHTINGS else None


def parse_share(value: str) -> float | None:
    """Return `25%` as 0.25."""
    number = parse_finite(value[:-1]) if value.endswith("%") and ASCII_NUMBER.fullmatch(value[:-1]) else None
    share = None if number is None else round(number / 100, 12)
    return share if share is not None and 0 < share < 1 else None


_VALUE_PARSERS: dict[str, Callable[[str], Any]] = {
    "steps": _parse_steps,
    "layers": _parse_layers,
    "region": _parse_region,
    "weighting": _parse_weighting,
    "share": parse_share,
}
