"""Translatable warnings and errors, each with a code.

A message is an English sentence with a code and fields. Its texts are in `catalogs/`, one file for each
language, keyed by code. Control flow compares codes, never sentences.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files


class Message(str):
    """An English sentence with its code and fields; in all else a plain string.

    Attributes:
        code: the key of the sentence in the catalogs, such as "nan-image".
        fields: the values in the sentence, by name; messages among them are translated with it.
    """

    code: str
    fields: Mapping[str, object]

    def __new__(cls, text: str, code: str = "", fields: Mapping[str, object] | None = None) -> Message:
        """Create a message; `message` is the usual way."""
        made = super().__new__(cls, text)
        made.code, made.fields = code, fields or {}
        return made

    def translated(self, templates: Mapping[str, str]) -> str:
        """Return the sentence with the texts of another catalog; a code that it lacks stays English.

        >>> about = message("integer-type", name=message("height"), value="x")
        >>> about.translated(catalog("pt-br"))
        'a altura está em “x”; precisa ser um número inteiro'
        """
        if self.code not in templates:
            return str(self)
        fields = {
            name: value.translated(templates) if isinstance(value, Message) else value
            for name, value in self.fields.items()
        }
        return templates[self.code].format(**fields)


@cache
def catalog(language: str) -> Mapping[str, str]:
    """Return the texts of a language ("en" or "pt-br") by their codes, as templates of `str.format`."""
    return json.loads(files("promptweight").joinpath("catalogs", f"{language}.json").read_text("utf-8"))


def message(code: str, /, **fields: object) -> Message:
    """Return the English message with this code.

    >>> message("integer-type", name="height", value="x")
    "height must be an integer; got 'x'"

    Raises:
        KeyError: the code is not in the catalog, or a field of its text is missing.
    """
    return Message(catalog("en")[code].format(**fields), code, fields)
