"""Values from browsers, checked before anything is done with them: Gradio's own limits hold in the page only.

Everything may arrive here: null, lists turned into text, NaN, half characters, a megabyte. What is wrong is
refused with a sentence in the language of the page; what a person typed stands in it as text, never as HTML.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any, NoReturn

import gradio as gr

from promptweight.errors import PromptweightError
from promptweight_ui.i18n import say, told

MOST_CHARACTERS = 20_000
MOST_STEPS = 150
MOST_PICTURES = 16
LONGEST_SIDE = 2048
SHOWN = 60
"""How many characters of a wrong value are quoted."""


def refuse(language: object, key: str, **values: object) -> NoReturn:
    """Raise `gr.Error` with the text of `key`, the values in it shortened and made harmless."""
    quoted = {name: shown(value) for name, value in values.items()}
    raise gr.Error(say(language, key, **quoted), title=say(language, "error_title"), print_exception=False)


def refused(language: object, error: PromptweightError) -> gr.Error:
    """Return what an error of the library says, to be raised as Gradio's."""
    title = say(language, "error_title")
    said = told(language, error.args[0] if error.args else str(error))
    said = said.encode("utf-8", "replace").decode("utf-8")
    return gr.Error(escape(said[:1000]), title=title, print_exception=False)


def shown(value: object) -> str:
    """Return a value as text that is short and can be put into a page and into JSON."""
    text = value if isinstance(value, str) else repr(value)
    text = text.encode("utf-8", "replace").decode("utf-8")
    return escape(text if len(text) <= SHOWN else f"{text[:SHOWN]}…")


def text(language: object, name: str, value: object) -> str:
    """Return `value` where it is text that a prompt can be; None counts as no text.

    Args:
        language: of the page.
        name: the key of the text that names the value.
        value: from the browser.
    """
    named = say(language, name)
    if value is None:
        return ""
    if not isinstance(value, str):
        refuse(language, "error_text", name=named, value=value)
    if len(value) > MOST_CHARACTERS:
        refuse(language, "error_long", name=named, length=len(value), most=MOST_CHARACTERS)
    for place, character in enumerate(value):
        if "\ud800" <= character <= "\udfff":
            refuse(language, "error_surrogate", name=named, place=place + 1)
        if character == "\0":
            refuse(language, "error_null", name=named, place=place + 1)
    return value


def number(language: object, name: str, value: object, low: float, high: float) -> float:
    """Return `value` as a finite float from `low` to `high`."""
    real = _real(value)
    if real is None or not low <= real <= high:
        refuse(
            language, "error_range", name=say(language, name), value=value, low=f"{low:g}", high=f"{high:g}"
        )
    return real


def whole(language: object, name: str, value: object, low: int, high: int) -> int:
    """Return `value` as a whole number from `low` to `high`."""
    real = _real(value)
    if real is None or real != int(real) or not low <= real <= high:
        refuse(language, "error_whole", name=say(language, name), value=value, low=low, high=high)
    # an int stays exact where a float would round it: seeds have up to 63 bits
    return value if type(value) is int else int(real)


def choice(language: object, name: str, value: object, choices: Sequence[str]) -> str:
    """Return `value` where it is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        refuse(language, "error_choice", name=say(language, name), value=value, choices=", ".join(choices))
    return value


def _real(value: Any) -> float | None:
    """Return a number as a float; None for what is none, or is not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
