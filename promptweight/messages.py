"""Sentences for people: English, and made so that a face can say the same in another language."""

from __future__ import annotations

from collections.abc import Mapping


class Note(str):
    """A sentence in English that knows its template and the values in it; a plain string in all else.

    Attributes:
        template: the sentence with places in braces, as `str.format` takes it; the key to its translations.
        values: what stands in the places, by name; notes among them are to be translated, too.
    """

    template: str
    values: Mapping[str, object]

    def __new__(cls, text: str, template: str = "", values: Mapping[str, object] | None = None) -> Note:
        """Make a note; `note` is the usual way."""
        made = super().__new__(cls, text)
        made.template, made.values = template, values or {}
        return made

    def said(self, templates: Mapping[str, str]) -> str:
        """Return the sentence by another language's templates; one that is not there stays English.

        >>> said = note("{name} is {value}", name=note("height"), value=3)
        >>> said, said.said({"{name} is {value}": "{name}: {value}", "height": "altura"})
        ('height is 3', 'altura: 3')
        """
        if self.template not in templates:
            return str(self)
        values = {
            name: value.said(templates) if isinstance(value, Note) else value
            for name, value in self.values.items()
        }
        return templates[self.template].format(**values)


def note(template: str, /, **values: object) -> Note:
    """Return the sentence of a template, which is written out in every call so that a test can find it."""
    return Note(template.format(**values), template, values)
