"""Values from browsers: taken as they are when they are good, refused with a sentence when not."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight_ui import validation

gradio = pytest.importorskip("gradio")


def message(check, *values):
    with pytest.raises(gradio.Error) as caught:
        check("en", *values)
    caught.value.message.encode("utf-8")
    return caught.value.message


@pytest.mark.parametrize("value", ["", "um gato", "🐱 ação\n\tBREAK", "x" * validation.MOST_CHARACTERS])
def test_texts_stay_as_they_are(value):
    assert validation.text("en", "generate_prompt", value) == value


def test_null_is_no_text():
    assert validation.text("en", "generate_prompt", None) == ""


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (3, "must be text, not 3"),
        (["um"], "must be text"),
        ("x" * 20_001, "has 20001 characters; at most 20000"),
        ("ab\ud800", "lone surrogate) at place 3"),
        ("a\0", "null character at place 2"),
    ],
)
def test_what_is_no_text_is_refused(value, said):
    assert said in message(validation.text, "generate_prompt", value)


def test_a_wrong_value_is_quoted_without_its_markup():
    said = message(validation.choice, "generate_method", "<img src=x onerror=alert(1)>" * 9, ["scale"])
    assert "<" not in said
    assert len(said) < 400


@pytest.mark.parametrize(
    "value",
    [None, math.nan, math.inf, -math.inf, "3", [3], {}, True, 0, 151, 2.5, -1, 10**400, 1e308, "\ud800"],
)
def test_steps_are_a_whole_number_in_their_range(value):
    assert "whole number from 1 to 150" in message(validation.whole, "generate_steps", value, 1, 150)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "7", [], False, -0.1, 100.5, 10**400])
def test_guidance_is_a_number_in_its_range(value):
    assert "number from 0 to 100" in message(validation.number, "generate_guidance", value, 0, 100)


@given(st.integers(0, 2**53 - 1))
def test_seeds_stay_exact(seed):
    assert validation.whole("en", "generate_seed", seed, 0, 2**53) == seed


def test_a_whole_number_may_come_as_a_float():
    assert validation.whole("en", "generate_steps", 25.0, 1, 150) == 25


def test_messages_are_in_the_language_of_the_page():
    with pytest.raises(gradio.Error, match="precisa ser um número inteiro de 1 a 150"):
        validation.whole("pt-br", "generate_steps", math.nan, 1, 150)
