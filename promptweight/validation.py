"""Checks of settings from people, files and forms: in range, or a sentence that says what would be."""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

from promptweight.errors import SettingError
from promptweight.messages import message


def check_integer(name: str, value: Any, lowest: int, highest: int) -> int:
    """Return `value` as an int; `SettingError` where it is not a whole number from `lowest` to `highest`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise SettingError(
            message("integer-type", name=name, value=value)
        ) from None
    if not lowest <= number <= highest:
        raise SettingError(
            message(
                "integer-range",
                name=name,
                value=value,
                lowest=lowest,
                highest=highest,
            )
        )
    return number


def check_number(name: str, value: Any, lowest: float, highest: float) -> float:
    """Return `value` as a float; `SettingError` where it is not a finite number in the range."""
    try:
        real = float(value)
    except (TypeError, ValueError):
        raise SettingError(message("number-type", name=name, value=value)) from None
    if not (math.isfinite(real) and lowest <= real <= highest):
        raise SettingError(
            message(
                "number-range",
                name=name,
                value=value,
                lowest=lowest,
                highest=highest,
            )
        )
    return real


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise `SettingError` where `value` is none of `choices`."""
    if value not in choices:
        raise SettingError(f"{name} is {value!r}; valid: {', '.join(choices)}{did_you_mean(value, choices)}")


def did_you_mean(value: object, known: Iterable[str]) -> str:
    """Return `; did you mean …?` where one of `known` is close to `value`, else nothing.

    >>> did_you_mean("a111", ["a1111", "comfy"])
    '; did you mean a1111?'
    """
    close = difflib.get_close_matches(str(value)[:100], known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
