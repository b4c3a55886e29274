"""Checks of values from browsers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight_ui import validation

gradio = pytest.importorskip("gradio")


def error_text(check, *values):
    with pytest.raises(gradio.Error) as caught:
        check("en", *values)
    caught.value.message.encode("utf-8")
    return caught.value.message


@pytest.mark.parametrize("value", ["", "um gato", "🐱 ação\n\tBREAK", "x" * validation.MAX_CHARACTERS])
def test_valid_text_is_unchanged(value):
    assert validation.text("en", "generate_prompt", value) == value


def test_null_is_the_empty_text():
    assert validation.text("en", "generate_prompt", None) == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, "must be text; got 3"),
        (["um"], "must be text"),
        ("x" * 20_001, "must have at most 20000 characters; got 20001"),
        ("ab\ud800", "lone surrogate) at position 3"),
        ("a\0", "null character at position 2"),
    ],
)
def test_invalid_text_is_refused(value, expected):
    assert expected in error_text(validation.text, "generate_prompt", value)


def test_invalid_value_is_quoted_without_markup():
    text = error_text(validation.choice, "generate_weighting", "<img src=x onerror=alert(1)>" * 9, ["scale"])
    assert "<" not in text
    assert len(text) < 400


@pytest.mark.parametrize(
    "value",
    [None, math.nan, math.inf, -math.inf, "3", [3], {}, True, 0, 151, 2.5, -1, 10**400, 1e308, "\ud800"],
)
def test_value_that_is_not_an_integer_in_range_is_refused(value):
    text = error_text(validation.integer, "generate_steps", value, 1, 150)
    assert "whole number from 1 to 150" in text


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "7", [], False, -0.1, 100.5, 10**400])
def test_value_that_is_not_a_number_in_range_is_refused(value):
    assert "number from 0 to 100" in error_text(validation.number, "generate_guidance", value, 0, 100)


@given(st.integers(0, 2**53 - 1))
def test_seed_is_exact(seed):
    assert validation.integer("en", "generate_seed", seed, 0, 2**53) == seed


def test_integer_accepts_an_integral_float():
    assert validation.integer("en", "generate_steps", 25.0, 1, 150) == 25


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, None), ("", None), ("  ", None), (0, None), ("0", None), (64, 64), (" 64", 64)],
)
def test_side_without_a_value_is_left_to_the_model(value, expected):
    assert validation.optional_integer("en", "generate_width", value, 8, 128) == expected


@pytest.mark.parametrize("value", [7, "7", "129", "64x64", "-8", 64.5, [64], True, "9" * 30, "²"])
def test_invalid_side_is_refused(value):
    assert "from 8 to 128" in error_text(validation.optional_integer, "generate_width", value, 8, 128)


def test_error_is_in_the_language_of_the_page():
    with pytest.raises(gradio.Error, match="precisa ser um número inteiro de 1 a 150"):
        validation.integer("pt-br", "generate_steps", math.nan, 1, 150)
