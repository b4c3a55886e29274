"""The app's texts: one file for each language, chosen by the browser or by the switch on the page.

Texts that Gradio shows (labels, buttons, tabs) go through its own translation, so that the page appears at
once in the browser's language; messages that Python makes are looked up here by the language of the page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import gradio as gr

from promptweight.messages import Message, catalog

LANGUAGES = {"en": "English", "pt-br": "Português"}
"""Names of the files in `strings/`, and what each language calls itself."""

DEFAULT = "en"


@cache
def strings(language: str) -> Mapping[str, str]:
    """Return every text of one of `LANGUAGES` by its key."""
    content = files("promptweight_ui").joinpath("strings", f"{language}.json").read_text(encoding="utf-8")
    return json.loads(content)


def chosen(language: object) -> str:
    """Return the language that a browser names, which may be anything; English where it is unknown."""
    return language if isinstance(language, str) and language in LANGUAGES else DEFAULT


def say(language: object, key: str, **values: object) -> str:
    """Return the text of that key in the language that a browser names, its places filled with `values`."""
    return strings(chosen(language))[key].format(**values)


@cache
def message_catalog(language: str) -> Mapping[str, str]:
    """Return the templates of the library's messages in one of `LANGUAGES`, by their codes.

    `strings/messages-*.json` replaces the texts that name arguments for which the page has controls.
    """
    own = files("promptweight_ui").joinpath("strings", f"messages-{language}.json").read_text("utf-8")
    return {**catalog(language), **json.loads(own)}


def told(language: object, sentence: str) -> str:
    """Return a sentence of the library in the language that a browser names."""
    known = chosen(language)
    if isinstance(sentence, Message):
        return sentence.translated(message_catalog(known))
    return say(known, "error_plain", text=sentence)


def told_in_all(sentence: str) -> dict[str, str]:
    """Return a sentence of the library by language, for a page that may change its own."""
    each = {language: told(language, sentence) for language in LANGUAGES}
    return {language: text.encode("utf-8", "replace").decode("utf-8") for language, text in each.items()}


def translations(forced: str | None = None) -> gr.I18n:
    """Return the texts as Gradio takes them.

    Args:
        forced: one of `LANGUAGES` that every browser is to get, whatever it asks for.
    """
    english, portuguese = (dict(strings(forced or language)) for language in ("en", "pt-br"))
    # Gradio looks "pt" up for both pt-BR and pt-PT, and falls back on "en" for all it has not.
    return gr.I18n(**{"en": english, "pt": portuguese, "pt-BR": portuguese})


def prefixed(prefix: str) -> dict[str, dict[str, str]]:
    """Return the texts whose keys begin with `prefix`, by language: what a part made of JavaScript needs."""
    return {
        language: {
            key.removeprefix(prefix): text
            for key, text in strings(language).items()
            if key.startswith(prefix)
        }
        for language in LANGUAGES
    }
