"""Step curves: factors of a weight over the steps of a sampling run, linear between a few points.

A curve is a sequence of points (position, factor). A position is a fraction of the run; the first step in the
range of the positions has the factor of the first point, the last step that of the last point. Outside the
range the weight does not act. A range of steps is a curve whose factors are all 1.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise
from numbers import Real
from typing import Any

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.weighting import format_number

StepCurve = tuple[tuple[float, float], ...]
"""Points (position, factor), two or more, with increasing positions from 0 to 1."""


def make_step_curve(value: Any) -> StepCurve:
    """Return a curve from its points, or from the begin and end of a range.

    >>> make_step_curve((0.2, 0.8))
    ((0.2, 1.0), (0.8, 1.0))
    >>> make_step_curve([(0, 1.5), (0.5, 1), (1, 0.2)])
    ((0.0, 1.5), (0.5, 1.0), (1.0, 0.2))

    Raises:
        SettingError: the value is neither.
    """
    points = value
    if _has_real_numbers(value) and len(value) == 2:
        points = [(position, 1.0) for position in value]
    is_curve = isinstance(points, (tuple, list)) and all(
        _has_real_numbers(point) and len(point) == 2 for point in points
    )
    curve = tuple((float(position), float(factor)) for position, factor in points) if is_curve else ()
    if not is_step_curve(curve):
        raise SettingError(message("step-curve", value=value))
    return curve


def is_step_curve(curve: StepCurve) -> bool:
    """Return True for two or more points with increasing positions from 0 to 1 and finite factors."""
    positions = [position for position, _ in curve]
    return (
        len(curve) > 1
        and positions[0] >= 0
        and positions[-1] <= 1
        and all(before < after for before, after in pairwise(positions))
        and all(math.isfinite(factor) for _, factor in curve)
    )


def factor_at(curve: StepCurve, step: int, steps: int) -> float | None:
    """Return the factor at step `step`, from 0, of a run of `steps`; None outside the curve's range.

    Step i is in the range from begin to end when begin ≤ i / steps < end.
    """
    (begin, _), (end, _) = curve[0], curve[-1]
    first, last = math.ceil(begin * steps - 1e-9), math.ceil(end * steps - 1e-9) - 1
    if not first <= step <= last:
        return None
    if step == first:
        return curve[0][1]
    if step == last:
        return curve[-1][1]
    position = begin + (end - begin) * (step - first) / (last - first)
    number = bisect_right(curve, (position, math.inf)) - 1
    (left, before), (right, after) = curve[number : number + 2]
    return before + (after - before) * (position - left) / (right - left)


def format_step_curve(curve: StepCurve) -> str:
    """Return a curve in the syntax of prompts: `0:1.5 0.5:1 1:0.2`, or `0.2-0.8` for a range.

    >>> format_step_curve(((0.2, 1.0), (0.8, 1.0)))
    '0.2-0.8'
    """
    if len(curve) == 2 and not changes_weight(curve):
        return "-".join(format_number(position) for position, _ in curve)
    return " ".join(f"{format_number(position)}:{format_number(factor)}" for position, factor in curve)


def changes_weight(curve: StepCurve) -> bool:
    """Return True if any factor differs from 1."""
    return any(factor != 1 for _, factor in curve)


def _has_real_numbers(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(isinstance(each, Real) for each in value)
