"""Phrases of a prompt."""

from typing import NamedTuple

from promptweight.prompt import split_phrases, split_words


class NamedWord(NamedTuple):
    text: str
    is_punctuation: bool


def words_of(text):
    return [NamedWord(text[word.start : word.end], word.is_punctuation) for word in split_words(text)]


def test_split_phrases_divides_at_function_words_and_punctuation():
    phrases = split_phrases(words_of("um gato vermelho e um rato cinza, the red Sun"))
    assert [[word.text for word in phrase] for phrase in phrases] == [
        ["gato", "vermelho"],
        ["rato", "cinza"],
        ["red", "Sun"],
    ]
