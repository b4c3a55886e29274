"""Checks of values from browsers: the limits of Gradio's components hold only in the page.

Any value may arrive: null, lists converted to text, NaN, lone surrogates, a megabyte. Invalid values raise
`PageError` with a text in the language of the page, which quotes what a person typed as text, never as HTML.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, NoReturn

import gradio as gr

from promptweight.errors import PromptweightError
from promptweight.messages import Message, message
from promptweight_ui.i18n import LANGUAGES, encodable, known_language, translate, translate_message
from promptweight_ui.turns import QueueFullError

MAX_CHARACTERS = 20_000
MAX_STEPS = 150
MAX_IMAGES = 16
MAX_CLIP_SKIP = 12
"""Layers that the Generate tab can leave out."""

MAX_QUOTED = 60
"""Characters of an invalid value that an error quotes."""

MAX_ERROR = 1000
"""Characters of the library's message in an error."""

PATH = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[\\/][^\s'\"]*")
"""Absolute paths in messages of other libraries, which the page does not disclose."""


class PageError(gr.Error):
    """Error that the page shows, with its text in every language.

    Args:
        language: the language of the page.
        texts: the text by language, as plain text.
    """

    def __init__(self, language: object, texts: Mapping[str, str]) -> None:
        self.texts = dict(texts)
        title = translate(language, "error_title")
        # Gradio shows errors as HTML.
        shown = escape(self.texts[known_language(language)])
        super().__init__(shown, title=title, print_exception=False)


def refuse(language: object, key: str, **values: object) -> NoReturn:
    """Raise `PageError` with the text of `key`, its values shortened."""
    raise PageError(language, {each: page_text(each, key, values) for each in LANGUAGES})


def as_page_error(language: object, error: Exception) -> PageError:
    """Return any error as one that the page shows.

    The library's errors have texts in every language. Of others, the log has the traceback, and the page the
    first line without paths of the server.
    """
    if isinstance(error, PageError):
        return error
    if isinstance(error, PromptweightError):
        first = error.args[0] if error.args else str(error)
        texts = {each: encodable(translate_message(each, first)) for each in LANGUAGES}
        return PageError(language, {each: text[:MAX_ERROR] for each, text in texts.items()})
    if isinstance(error, QueueFullError):
        return PageError(language, {each: translate(each, "error_queue") for each in LANGUAGES})
    logging.getLogger("promptweight").error("a run failed", exc_info=error)
    if type(error).__name__ in ("OutOfMemoryError", "MemoryError"):
        return PageError(language, {each: translate(each, "error_memory") for each in LANGUAGES})
    line = next(iter(str(error).splitlines()), "")
    reason = quote(f"{type(error).__name__}: {PATH.sub('…', line)}", MAX_ERROR)
    return PageError(language, {each: translate(each, "error_failed", reason=reason) for each in LANGUAGES})


@dataclass(frozen=True)
class TextKey:
    """Value of an error that is a text of the page, such as the name of a field, by its key."""

    key: str


def page_text(language: object, key: str, values: Mapping[str, object], longest: int = MAX_QUOTED) -> str:
    """Return the text of `key` with its values shortened, and keys of texts translated."""
    shown = {
        name: translate(language, value.key) if isinstance(value, TextKey) else quote(value, longest)
        for name, value in values.items()
    }
    return translate(language, key, **shown)


def missing_phrase_message(phrase: str) -> Message:
    """Return the message that a word or phrase is not in the prompt."""
    return message("grid-word-missing", word=phrase)


def quote(value: object, longest: int = MAX_QUOTED) -> str:
    """Return a value as text of at most `longest` characters that is safe in JSON."""
    text = encodable(value if isinstance(value, str) else repr(value))
    return text if len(text) <= longest else f"{text[:longest]}…"


def text(language: object, name: str, value: object) -> str:
    """Return `value` if it is valid as a prompt; None is the empty text.

    Args:
        language: the language of the page.
        name: the key of the text that names the value.
        value: the value from the browser.

    Raises:
        PageError: it is not text, too long, or holds a lone surrogate or a null character.
    """
    named = TextKey(name)
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
        named = TextKey(name)
        refuse(language, "error_range", name=named, value=value, low=f"{low:g}", high=f"{high:g}")
    return real


def integer(language: object, name: str, value: object, low: int, high: int) -> int:
    """Return `value` as an integer from `low` to `high`."""
    real = _finite(value)
    if real is None or real != int(real) or not low <= real <= high:
        refuse(language, "error_integer", name=TextKey(name), value=value, low=low, high=high)
    # an int stays exact where a float would round it: seeds have up to 63 bits
    return value if type(value) is int else int(real)


def optional_integer(language: object, name: str, value: object, low: int, high: int) -> int | None:
    """Return `value`, a number or its digits, as an integer from `low` to `high`; None for 0 or no value."""
    if isinstance(value, str):
        digits = value.strip()
        value = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else value
        if not digits:
            return None
    if value is None or value == 0:
        return None
    return integer(language, name, value, low, high)


def choice(language: object, name: str, value: object, choices: Sequence[str]) -> str:
    """Return `value` if it is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        named = TextKey(name)
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
