"""Checks of values that programs send, with errors that name the argument."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.validation import check_integer
from promptweight_ui.validation import MAX_CHARACTERS

if TYPE_CHECKING:
    from promptweight_ui.model_facts import ModelFacts

MIN_SIDE = 8
"""Smallest width and height in pixels."""


def check_text(name: str, value: object) -> str:
    """Return `value` if it is text that is valid as a prompt.

    Raises:
        SettingError: it is not text, is too long, or has a lone surrogate or a null character.
    """
    if not isinstance(value, str):
        raise SettingError(message("text-type", name=name, value=repr(value)[:60]))
    if len(value) > MAX_CHARACTERS:
        raise SettingError(message("text-long", name=name, most=MAX_CHARACTERS, length=len(value)))
    for position, character in enumerate(value, 1):
        if character == "\0" or "\ud800" <= character <= "\udfff":
            raise SettingError(message("text-character", name=name, position=position))
    return value


def check_size(facts: ModelFacts, width: object, height: object) -> tuple[int, int]:
    """Return width and height if a model can draw them.

    Raises:
        SettingError: one is not an integer from `MIN_SIDE` to the largest side of the model.
    """
    return (
        check_integer("width", width, MIN_SIDE, facts.max_side),
        check_integer("height", height, MIN_SIDE, facts.max_side),
    )
