"""Range and choice checks of arguments that come from people, files and forms."""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

from promptweight.errors import SettingError
from promptweight.messages import message


def check_integer(name: str, value: Any, lowest: int, highest: int) -> int:
    """Return `value` as an int.

    Raises:
        SettingError: `value` is not an integer from `lowest` to `highest`.
    """
    try:
        integer = operator.index(value)
    except TypeError:
        raise SettingError(message("integer-type", name=name, value=value)) from None
    if not lowest <= integer <= highest:
        raise SettingError(message("integer-range", name=name, value=value, lowest=lowest, highest=highest))
    return integer


def check_number(name: str, value: Any, lowest: float, highest: float) -> float:
    """Return `value` as a float.

    Raises:
        SettingError: `value` is not a finite number from `lowest` to `highest`.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise SettingError(message("number-type", name=name, value=value)) from None
    if not (math.isfinite(number) and lowest <= number <= highest):
        raise SettingError(message("number-range", name=name, value=value, lowest=lowest, highest=highest))
    return number


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Check that `value` is one of `choices`.

    Raises:
        SettingError: it is not; the error lists the choices and suggests a similar one.
    """
    if value not in choices:
        raise SettingError(
            message(
                "choice",
                name=name,
                choices=", ".join(choices),
                value=value,
                hint=did_you_mean(value, choices),
            )
        )


def check_layers(value: Any) -> tuple[str, ...]:
    """Return parts of layer names as a tuple; `value` is one part or several.

    Raises:
        SettingError: a part is not text, is empty, or contains white space, `+`, `=` or a comma.
    """
    parts = (value,) if isinstance(value, str) else value
    if not isinstance(parts, (tuple, list)):
        raise SettingError(message("weighting-layers", value=value))
    for part in parts:
        if not isinstance(part, str) or part.split() != [part] or set(part) & set("+=,"):
            raise SettingError(message("weighting-layers", value=part))
    return tuple(parts)


def did_you_mean(value: object, known: Iterable[str]) -> str:
    """Return `; did you mean …?` with the member of `known` that is closest to `value`, else an empty string.

    >>> did_you_mean("a111", ["a1111", "comfy"])
    '; did you mean a1111?'
    """
    close = difflib.get_close_matches(str(value)[:100], known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
