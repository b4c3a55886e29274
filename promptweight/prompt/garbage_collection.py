"""Pause of cyclic garbage collection while a long prompt is parsed."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import ParamSpec, TypeVar

LONG_TEXT = 20_000
"""The number of characters from which collection pauses; one pass over fewer nodes takes no time."""

Parameters = ParamSpec("Parameters")
Value = TypeVar("Value")


def call_without_collection(
    text: str, work: Callable[Parameters, Value], *arguments: Parameters.args, **more: Parameters.kwargs
) -> Value:
    """Return the value of a call, during which cyclic garbage collection pauses if the text is long.

    The collector would traverse all nodes and spans several times while they are made, a quarter of the time
    of a parse, and free nothing: they contain no cycles.
    """
    if len(text) < LONG_TEXT or not gc.isenabled():
        return work(*arguments, **more)
    gc.disable()
    try:
        return work(*arguments, **more)
    finally:
        gc.enable()
