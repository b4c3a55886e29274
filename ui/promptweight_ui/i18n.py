"""Texts of the app, one file per language, selected by the browser or by the switch on the page.

Texts that Gradio shows (labels, buttons, tabs) are translated in the browser, so that the page has its
language at once. Messages that Python makes are translated here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import gradio as gr

from promptweight.messages import Message, catalog

LANGUAGES = {"en": "English", "pt-br": "Português"}
"""The name of each language in itself, by the name of its file in `strings/`."""

DEFAULT_LANGUAGE = "en"


@cache
def strings(language: str) -> Mapping[str, str]:
    """Return every text of one of `LANGUAGES` by its key."""
    content = files("promptweight_ui").joinpath("strings", f"{language}.json").read_text(encoding="utf-8")
    return json.loads(content)


def known_language(language: object) -> str:
    """Return `language` if it is one of `LANGUAGES`, else `DEFAULT_LANGUAGE`."""
    return language if isinstance(language, str) and language in LANGUAGES else DEFAULT_LANGUAGE


def translate(language: object, key: str, **values: object) -> str:
    """Return the text of `key` in a language that a browser names, with its placeholders filled."""
    return strings(known_language(language))[key].format(**values)


@cache
def message_catalog(language: str) -> Mapping[str, str]:
    """Return the templates of the library's messages in one of `LANGUAGES`, by their codes.

    `strings/messages-*.json` replaces the texts that name arguments for which the page has controls.
    """
    own = files("promptweight_ui").joinpath("strings", f"messages-{language}.json").read_text("utf-8")
    return {**catalog(language), **json.loads(own)}


def translate_message(language: object, text: str) -> str:
    """Return a message of the library in a language that a browser names.

    A plain string is English; on a page in another language it is marked as such.
    """
    known = known_language(language)
    if isinstance(text, Message):
        return text.translated(message_catalog(known))
    return translate(known, "error_plain", text=text)


def message_in_all_languages(text: str) -> dict[str, str]:
    """Return a message of the library by language, for a page that may change its own."""
    return {language: encodable(translate_message(language, text)) for language in LANGUAGES}


def encodable(text: str) -> str:
    """Return `text` with lone surrogates replaced, which UTF-8 and JSON cannot hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def gradio_translations(forced: str | None = None) -> gr.I18n:
    """Return the texts in Gradio's form.

    Args:
        forced: one of `LANGUAGES` for every browser; the language of each browser when None.
    """
    english, portuguese = (dict(strings(forced or language)) for language in ("en", "pt-br"))
    # Gradio uses "pt" for both pt-BR and pt-PT, and "en" for all languages that it does not have.
    return gr.I18n(**{"en": english, "pt": portuguese, "pt-BR": portuguese})


def texts_with_prefix(prefix: str) -> dict[str, dict[str, str]]:
    """Return the texts whose keys begin with `prefix` by language, as JavaScript components take them."""
    return {
        language: {
            key.removeprefix(prefix): text
            for key, text in strings(language).items()
            if key.startswith(prefix)
        }
        for language in LANGUAGES
    }
