"""Words of a text."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptweight.prompt import fold, split_words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("um gato  vermelho", ["um", "gato", "vermelho"]),
        ("a cat, a dog...", ["a", "cat", ",", "a", "dog", "..."]),
        ("it's d’água", ["it's", "d’água"]),
        ("guarda-chuva - azul", ["guarda-chuva", "-", "azul"]),
        ("1.5 16:9 4k 3,", ["1.5", "16", ":", "9", "4k", "3", ","]),
        ("long_hair", ["long_hair"]),
        ("cafe\u0301 corac\u0327a\u0303o", ["cafe\u0301", "corac\u0327a\u0303o"]),
        ("👩‍👩‍👧🐱 👍🏽!", ["👩‍👩‍👧", "🐱", "👍🏽", "!"]),
        ("🇧🇷🇵🇹", ["🇧🇷", "🇵🇹"]),
        ("1️⃣ ❤️", ["1️⃣", "❤️"]),
        ("赤い猫", ["赤", "い", "猫"]),
        ("a\n\tb\u00a0c", ["a", "b", "c"]),
        ("", []),
        (" \n", []),
    ],
)
def test_split_words_finds_user_perceived_words(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end, _ in split_words(text)] == expected


def test_split_words_marks_punctuation() -> None:
    text = "gato, + 🐱 !? 4"
    marked = {text[start:end] for start, end, is_punctuation in split_words(text) if is_punctuation}
    assert marked == {",", "+", "!?"}


def test_split_words_respects_boundaries() -> None:
    assert [(start, end) for start, end, _ in split_words("catdog", [3])] == [(0, 3), (3, 6)]
    assert [(start, end) for start, end, _ in split_words("a-b!!", [1, 4])] == [
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 4),
        (4, 5),
    ]


@settings(deadline=None)
@given(st.text(), st.lists(st.integers(0, 20)))
def test_split_words_covers_all_but_white_space(text: str, boundaries: list[int]) -> None:
    words = split_words(text, boundaries)
    covered = [position for start, end, _ in words for position in range(start, end)]
    assert covered == sorted(set(covered))
    assert all(text[position].isspace() for position in set(range(len(text))) - set(covered))


def test_fold_ignores_case_and_composition() -> None:
    assert fold("CORAÇÃO") == fold(unicodedata.normalize("NFD", "coração"))
    assert fold("cafe") != fold("café")
