"""Range and choice checks of arguments."""

import math

import numpy as np
import pytest

from promptweight.errors import SettingError
from promptweight.validation import check_choice, check_integer, check_number, did_you_mean


@pytest.mark.parametrize("value", [1, 5, 10, True, np.int64(7)])
def test_check_integer_in_range_returns_an_int(value):
    result = check_integer("steps", value, 1, 10)
    assert (result, type(result)) == (int(value), int)


@pytest.mark.parametrize(
    ("value", "code"),
    [(0, "integer-range"), (11, "integer-range"), (2.0, "integer-type"), ("2", "integer-type")],
)
def test_check_integer_with_an_invalid_value_raises(value, code):
    with pytest.raises(SettingError, match="steps") as raised:
        check_integer("steps", value, 1, 10)
    assert raised.value.args[0].code == code


@pytest.mark.parametrize("value", [0, 0.5, 1, "0.25", np.float32(0.5)])
def test_check_number_in_range_returns_a_float(value):
    result = check_number("threshold", value, 0, 1)
    assert (result, type(result)) == (float(value), float)


@pytest.mark.parametrize(
    ("value", "code"),
    [(-0.1, "number-range"), (math.nan, "number-range"), (math.inf, "number-range"), ("x", "number-type")],
)
def test_check_number_with_an_invalid_value_raises(value, code):
    with pytest.raises(SettingError, match="threshold") as raised:
        check_number("threshold", value, 0, 1)
    assert raised.value.args[0].code == code


def test_check_choice_with_an_unknown_value_lists_the_choices_and_suggests_one():
    check_choice("method", "comfy", ("a1111", "comfy"))
    with pytest.raises(SettingError) as raised:
        check_choice("method", "a111", ("a1111", "comfy"))
    assert str(raised.value) == "method must be one of: a1111, comfy; got 'a111'; did you mean a1111?"


def test_did_you_mean_without_a_similar_name_is_empty():
    assert did_you_mean("zzz", ["a1111", "comfy"]) == ""
    assert did_you_mean("x" * 10_000_000, ["a1111"]) == ""
