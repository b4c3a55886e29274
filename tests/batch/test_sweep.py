"""Axes of a sweep as text."""

import pytest

from promptweight.batch import parse_weightings, parse_weights
from promptweight.errors import SettingError
from promptweight.weighting import Weighting


def test_weight_axis_is_a_phrase_and_distinct_numbers():
    assert parse_weights("gato azul=0.5, 1,1.5,1") == ("gato azul", (0.5, 1.0, 1.5))


def test_weighting_axis_is_distinct_weightings_as_text():
    assert parse_weightings("a1111, attention layers=up_blocks steps=0-0.6,a1111") == (
        Weighting("a1111"),
        Weighting("attention", layers="up_blocks", steps=(0, 0.6)),
    )
    with pytest.raises(SettingError, match=r"'a111'; did you mean a1111\?"):
        parse_weightings("a111")


@pytest.mark.parametrize("text", ["gato", "=1", "gato=", "gato=1,x", "gato=nan", "gato=1e9"])
def test_invalid_weight_axis_is_rejected(text):
    with pytest.raises(SettingError, match="weights"):
        parse_weights(text)
