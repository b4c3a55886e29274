"""Texts of the app: complete in both languages."""

import re
from string import Formatter

import pytest

from promptweight_ui.generation import WEIGHTINGS
from promptweight_ui.i18n import (
    LANGUAGES,
    gradio_translations,
    known_language,
    strings,
    texts_with_prefix,
    translate,
)
from promptweight_ui.tabs.generate import text_key

ENGLISH, PORTUGUESE = strings("en"), strings("pt-br")


def placeholders(text):
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_languages_have_the_same_keys_in_the_same_order():
    assert list(ENGLISH) == list(PORTUGUESE)


def test_texts_are_complete_and_have_the_same_placeholders():
    for key, text in ENGLISH.items():
        assert text.strip(), key
        assert PORTUGUESE[key].strip(), key
        assert placeholders(text) == placeholders(PORTUGUESE[key]), key


def test_long_texts_are_translated():
    same = [key for key, text in ENGLISH.items() if len(text) > 12 and text == PORTUGUESE[key]]
    assert same == []


def test_keys_begin_with_the_name_of_their_part():
    assert {key.split("_")[0] for key in ENGLISH} == {
        "error", "example", "help", "prompt", "picture", "generate", "compare", "explore", "history", "reach",
        "regions", "tour",
    }  # fmt: skip


def test_every_weighting_has_a_text():
    assert {f"generate_weighting_{text_key(name)}" for name in WEIGHTINGS} <= set(ENGLISH)


def test_texts_with_prefix_lack_the_prefix():
    texts = texts_with_prefix("prompt_")
    assert texts["en"]["loading"] == ENGLISH["prompt_loading"]
    assert texts["pt-br"]["loading"] == PORTUGUESE["prompt_loading"]
    assert all(re.fullmatch(r"[a-z]\w*", key) for key in texts["en"])


@pytest.mark.parametrize("language", [None, 3, [], "", "tlh", "../en", float("nan")])
def test_unknown_language_is_english(language):
    assert known_language(language) == "en"
    assert translate(language, "generate_go") == ENGLISH["generate_go"]


def test_gradio_has_portuguese_for_every_portuguese_browser():
    translations = gradio_translations().translations_dict
    assert translations["pt"] == translations["pt-BR"] == PORTUGUESE
    assert translations["en"] == ENGLISH
    assert set(LANGUAGES) == {"en", "pt-br"}


def test_forced_language_applies_to_every_browser():
    translations = gradio_translations("pt-br").translations_dict
    assert translations["en"] == translations["pt"] == PORTUGUESE
