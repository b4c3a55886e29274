"""Axes of a sweep as text."""

import pytest

from promptweight.batch import parse_methods, parse_weights
from promptweight.errors import SettingError


def test_weight_axis_is_a_phrase_and_distinct_numbers():
    assert parse_weights("gato azul=0.5, 1,1.5,1") == ("gato azul", (0.5, 1.0, 1.5))


def test_method_axis_is_names_of_methods_and_modes():
    assert parse_methods("a1111, logit,a1111") == ("a1111", "logit")
    with pytest.raises(SettingError, match=r"'a111'; did you mean a1111\?"):
        parse_methods("a111")


@pytest.mark.parametrize("text", ["gato", "=1", "gato=", "gato=1,x", "gato=nan", "gato=1e9"])
def test_invalid_weight_axis_is_rejected(text):
    with pytest.raises(SettingError, match="weights"):
        parse_weights(text)
