"""Warnings about words that a built-in model was not trained on."""

import pytest

from promptweight import generate
from promptweight.errors import ModelError
from promptweight.generation.vocabulary_warning import find_unknown_words
from promptweight.models import load
from promptweight.prompt import parse


@pytest.fixture(scope="module")
def mini():
    return load("mini", device="cpu")


def prompt_of(text):
    return parse(text).at()


@pytest.mark.parametrize(
    "text",
    [
        "um (gato:1.4) vermelho persegue um rato cinza",
        "A red cat and a blue square on a yellow background",
        "um cavalo marrom e seu reflexo na água",
        "",
    ],
)
def test_known_words_give_no_warning(mini, text):
    assert find_unknown_words(mini, prompt_of(text)) == []


@pytest.mark.parametrize(
    ("text", "unknown", "suggested"),
    [
        ("a photo of a beautiful woman, masterpiece", "'photo', 'beautiful', 'woman', 'masterpiece'", ""),
        ("a cat wearing a hat on a beach", "'wearing', 'hat', 'beach'", ""),
        ("um tigre preto", "'tigre'", "gato"),
        ("a red cirle", "'cirle'", "circle"),
    ],
)
def test_unknown_words_are_named_with_known_ones(mini, text, unknown, suggested):
    (warning,) = find_unknown_words(mini, prompt_of(text))
    assert warning.code == "unknown-words"
    assert warning.fields["words"] == unknown
    assert suggested in warning.fields["known"]
    assert warning.fields["known"]


def test_result_has_the_warning(mini):
    result = generate(mini, "um tigre", seed=1, num_inference_steps=1)
    assert "unknown-words" in [warning.code for warning in result.warnings]


def test_models_without_a_word_list_give_no_warning(tiny_pipe):
    assert find_unknown_words(tiny_pipe, prompt_of("a photo of a beautiful woman")) == []


def test_damaged_word_list_is_a_model_error(mini, monkeypatch):
    def fail(_pipe):
        raise ValueError("size must be a multiple of 64; got 3")

    monkeypatch.setattr("promptweight.mini.world_of", fail)
    with pytest.raises(ModelError, match=r"valid world: size must be .*; got 3"):
        find_unknown_words(mini, prompt_of("um gato"))
