"""The texts: complete in both languages, and all that the app asks for."""

import re
from importlib.resources import files

import pytest

from promptweight_ui.i18n import LANGUAGES, chosen, say, strings, translations

PLACE = re.compile(r"\{(\w+)\}")
ENGLISH, PORTUGUESE = strings("en"), strings("pt-br")


def test_both_languages_have_the_same_keys_in_the_same_order():
    assert list(ENGLISH) == list(PORTUGUESE)


def test_no_text_is_empty_and_places_are_the_same():
    for key, text in ENGLISH.items():
        assert text.strip(), key
        assert PORTUGUESE[key].strip(), key
        assert set(PLACE.findall(text)) == set(PLACE.findall(PORTUGUESE[key])), key


def test_long_texts_are_translated():
    same = [key for key, text in ENGLISH.items() if len(text) > 12 and text == PORTUGUESE[key]]
    assert same == []


def test_every_key_begins_with_the_name_of_its_part():
    assert {key.split("_")[0] for key in ENGLISH} <= {
        "app", "error", "prompt", "picture", "generate", "compare", "explore", "history", "regions",
    }  # fmt: skip


def test_javascript_asks_for_no_text_that_is_not_there():
    asked = 0
    for script in files("promptweight_ui").joinpath("static").iterdir():
        name = script.name.removesuffix(".js").split("_")[0]
        if name in ("prompt", "picture", "compare", "explore"):
            keys = re.findall(r"""\bsay\(\s*"(\w+)\"""", script.read_text(encoding="utf-8"))
            assert [key for key in keys if f"{name}_{key}" not in ENGLISH] == []
            asked += len(keys)
    assert asked > 80


@pytest.mark.parametrize("language", [None, 3, [], "", "tlh", "../en", float("nan")])
def test_an_unknown_language_is_english(language):
    assert chosen(language) == "en"
    assert say(language, "generate_go") == ENGLISH["generate_go"]


def test_gradio_gets_portuguese_for_every_portuguese_browser():
    given = translations().translations_dict
    assert given["pt"] == given["pt-BR"] == PORTUGUESE
    assert given["en"] == ENGLISH
    assert set(LANGUAGES) == {"en", "pt-br"}


def test_a_forced_language_is_everyones():
    given = translations("pt-br").translations_dict
    assert given["en"] == given["pt"] == PORTUGUESE
