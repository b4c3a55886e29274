"""Checks of values from browsers: the limits of Gradio's components hold only in the page.

Any value may arrive: null, lists converted to text, NaN, lone surrogates, a megabyte. Invalid values raise
`gr.Error` with a text in the language of the page, which quotes what a person typed as text, never as HTML.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any, NoReturn

import gradio as gr

from promptweight.errors import PromptweightError
from promptweight_ui.i18n import encodable, translate, translate_message

MAX_CHARACTERS = 20_000
MAX_STEPS = 150
MAX_IMAGES = 16
MAX_SIDE = 2048
MAX_QUOTED = 60
"""Characters of an invalid value that an error quotes."""

MAX_ERROR = 1000
"""Characters of the library's message in an error."""


def refuse(language: object, key: str, **values: object) -> NoReturn:
    """Raise `gr.Error` with the text of `key`, its values shortened and escaped."""
    quoted = {name: quote(value) for name, value in values.items()}
    text, title = translate(language, key, **quoted), translate(language, "error_title")
    raise gr.Error(text, title=title, print_exception=False)


def as_gradio_error(language: object, error: PromptweightError) -> gr.Error:
    """Return an error of the library as one that Gradio shows on the page."""
    text = encodable(translate_message(language, error.args[0] if error.args else str(error)))
    title = translate(language, "error_title")
    return gr.Error(escape(text[:MAX_ERROR]), title=title, print_exception=False)


def quote(value: object) -> str:
    """Return a value as short text that is safe in HTML and in JSON."""
    text = encodable(value if isinstance(value, str) else repr(value))
    return escape(text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}…")


def text(language: object, name: str, value: object) -> str:
    """Return `value` if it is valid as a prompt; None is the empty text.

    Args:
        language: the language of the page.
        name: the key of the text that names the value.
        value: the value from the browser.

    Raises:
        gr.Error: it is not text, too long, or holds a lone surrogate or a null character.
    """
    named = translate(language, name)
    if value is None:
        return ""
    if not isinstance(value, str):
        refuse(language, "error_text", name=named, value=value)
    if len(value) > MAX_CHARACTERS:
        refuse(language, "error_long", name=named, length=len(value), most=MAX_CHARACTERS)
    for position, character in enumerate(value, 1):
        if "\ud800" <= character <= "\udfff":
            refuse(language, "error_surrogate", name=named, position=position)
        if character == "\0":
            refuse(language, "error_null", name=named, position=position)
    return value


def number(language: object, name: str, value: object, low: float, high: float) -> float:
    """Return `value` as a finite float from `low` to `high`."""
    real = _finite(value)
    if real is None or not low <= real <= high:
        named = translate(language, name)
        refuse(language, "error_range", name=named, value=value, low=f"{low:g}", high=f"{high:g}")
    return real


def integer(language: object, name: str, value: object, low: int, high: int) -> int:
    """Return `value` as an integer from `low` to `high`."""
    real = _finite(value)
    if real is None or real != int(real) or not low <= real <= high:
        refuse(language, "error_integer", name=translate(language, name), value=value, low=low, high=high)
    # an int stays exact where a float would round it: seeds have up to 63 bits
    return value if type(value) is int else int(real)


def choice(language: object, name: str, value: object, choices: Sequence[str]) -> str:
    """Return `value` if it is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        named = translate(language, name)
        refuse(language, "error_choice", name=named, value=value, choices=", ".join(choices))
    return value


def _finite(value: Any) -> float | None:
    """Return a finite number as a float; None for every other value."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
