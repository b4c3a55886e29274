"""Tests of the vocabulary: known caption words, unknown prompt words and suggestions in both languages."""

from random import Random

import pytest

from promptweight.mini.captions import caption
from promptweight.mini.lexicon import LANGUAGES, NOUNS
from promptweight.mini.related_words import RELATED, stand_ins
from promptweight.mini.sampling import sample_scene
from promptweight.mini.vocabulary import known_words, nearest_words, unknown_words
from promptweight.mini.worlds import FIRST, PRESENT, WHOLE, WORLDS, World


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_every_caption_of_a_world_is_known(world: World) -> None:
    rng = Random(1)
    for _ in range(2000):
        text = caption(sample_scene(rng, world), rng, world=world)
        assert unknown_words(text, world) == [], text


@pytest.mark.parametrize(
    ("prompt", "world", "words"),
    [
        ("a photo of a beautiful woman, masterpiece", FIRST, ["photo", "beautiful", "woman", "masterpiece"]),
        ("a cat wearing a hat on a beach", FIRST, ["wearing", "hat", "beach"]),
        ("a cat wearing a hat on a beach", WHOLE, []),
        ("dois gatos pretos", FIRST, ["dois", "gatos", "pretos"]),
        ("dois gatos pretos", PRESENT, []),
        ("a gray mouse", FIRST, ["gray"]),
        ("a gray mouse and a grey cat", PRESENT, []),
        ("Um GATO vermelho; a red cat!", FIRST, []),
        ("um gato e seu reflexo na água", FIRST, []),
        ("um guarda-chuva azul-claro", WHOLE, []),
        ("um guarda-sol azul", WHOLE, []),
        ("", FIRST, []),
        ("(cat:1.4) 12 🐈", FIRST, []),
    ],
)
def test_unknown_words_are_named(prompt: str, world: World, words: list[str]) -> None:
    found = unknown_words(prompt, world)
    assert [each.word for each in found] == words
    for each in found:
        assert prompt.lower()[each.start :].startswith(each.word)


@pytest.mark.parametrize(
    ("word", "world", "portuguese", "english"),
    [
        ("woman", FIRST, "astronauta", "astronaut"),
        ("tigre", FIRST, "gato", "cat"),
        ("dog", FIRST, "gato", "cat"),
        ("cachoro", WHOLE, "cachorro", None),
        ("árvre", FIRST, "árvore", None),
        ("cirle", FIRST, None, "circle"),
        ("ônibus", WHOLE, "carro", "car"),
    ],
)
def test_the_nearest_known_words_are_suggested(
    word: str, world: World, portuguese: str | None, english: str | None
) -> None:
    (found,) = unknown_words(word, world)
    for language, wanted in zip(LANGUAGES, (portuguese, english), strict=True):
        assert (found.suggestions[language][:1] or (None,))[0] == wanted


def test_suggestions_are_known_words() -> None:
    for world in WORLDS.values():
        for _, words in RELATED:
            for found in unknown_words(words, world):
                for language in LANGUAGES:
                    for suggestion in found.suggestions[language]:
                        assert unknown_words(suggestion, world) == []


def test_nearness_leaves_accents_aside() -> None:
    assert nearest_words("coracao", ("casa", "coração"))[0] == "coração"
    assert nearest_words("masterpiece", ("cat", "mouse")) == ()


def test_no_word_of_the_world_stands_for_another_thing_first() -> None:
    for kind, (_, portuguese, english) in NOUNS.items():
        for noun in (*portuguese, *english):
            assert stand_ins(noun)[0] == kind
            assert all(
                part in known_words(WHOLE, "pt") | known_words(WHOLE, "en") for part in noun.split("-")
            )
