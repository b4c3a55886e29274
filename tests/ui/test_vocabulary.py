"""Words of the built-in models, for the page."""

import pytest

from promptweight.mini import unknown_words as library_unknown_words
from promptweight.prompt import parse
from promptweight_ui.i18n import LANGUAGES, strings
from promptweight_ui.model_facts import read_facts
from promptweight_ui.vocabulary import known_words, unknown_words

WORLD = read_facts("mini").world


def unknown(text, language="en"):
    prompt = parse(text).at()
    return {
        each["text"]: (text[each["start"] : each["end"]], each["near"])
        for each in unknown_words(WORLD, prompt, language)
    }


def test_unknown_words_have_the_nearest_known_ones():
    found = unknown("a red tiger and a gray mouse")
    assert list(found) == ["tiger", "gray"]
    assert found["tiger"] == ("tiger", ["cat"])
    assert "grey" in found["gray"][1]
    assert unknown("um tigre cinza", "pt-br")["tigre"] == ("tigre", ["gato"])


def test_places_are_those_in_the_source_of_the_prompt():
    text = "a (red (tiger:1.3):1.2), [zebra:cat:0.5] 😀 (gray mouse:0)"
    for written, (selected, _) in unknown(text).items():
        assert selected == written


def test_each_word_is_listed_once_and_punctuation_never():
    assert list(unknown("tiger, Tiger, tiger! (?) a cat.")) == ["tiger"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_listed_words_and_examples_are_known(language):
    listed = known_words(WORLD)[language]
    assert len(listed["things"]) == len(WORLD.things)
    assert len(listed["colors"]) == len(WORLD.colors)
    examples = [text for key, text in strings(language).items() if key.startswith("example_")]
    assert len(listed["degrees"]) == len(WORLD.sizes) + len(WORLD.numbers)
    for text in (*listed["things"], *listed["colors"], *listed["degrees"], *examples):
        assert unknown(text, language) == {}
        assert library_unknown_words(parse(text).at().text, WORLD) == []


def test_model_without_a_list_of_words_has_none():
    assert known_words(None) == {}
    assert unknown_words(None, parse("a tiger").at(), "en") == []
