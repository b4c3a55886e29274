"""Recommended settings of a model: written and read, and damaged files."""

import json

import pytest

from promptweight import load
from promptweight.conditioning import Advice, advice_in, advice_of, encode_prompts
from promptweight.errors import ModelError
from promptweight.weighting import Weighting

ADVICE = Advice(4.5, ("blocks.1.",), Weighting("presence", dial=((0.5, 0.7),), gain=0.5))


@pytest.mark.parametrize("advice", [ADVICE, Advice(0), Advice(2, ("a", "b"), traces_words=True)])
def test_advice_survives_a_file(tmp_path, advice):
    (tmp_path / "promptweight.json").write_text(json.dumps(advice.to_json()))
    assert advice_in(tmp_path) == advice


def test_folder_without_a_file_has_no_advice(tmp_path):
    assert advice_in(tmp_path) is None


@pytest.mark.parametrize("weighting", ["unknown", "presence dial=0.5", 3])
def test_damaged_weighting_is_an_error_that_names_the_file(tmp_path, weighting):
    (tmp_path / "promptweight.json").write_text(json.dumps({"guidance_scale": 1, "weighting": weighting}))
    with pytest.raises(ModelError, match=r"weighting in .*promptweight\.json"):
        advice_in(tmp_path)


def test_damaged_advice_on_traces_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "promptweight.json").write_text('{"guidance_scale": 1, "traces_words": "yes"}')
    with pytest.raises(
        ModelError, match=r"traces_words in .*promptweight\.json must be true or false; got 'yes'"
    ):
        advice_in(tmp_path)


@pytest.mark.parametrize("name", ["mini", "mini-dit"])
def test_built_in_model_encodes_with_its_dial_unless_the_call_has_one(name):
    pipe = load(name)
    advised = advice_of(pipe).weighting
    assert advised.dial
    assert encode_prompts(pipe, "um gato").settings.weighting.dial == advised.dial
    own = Weighting("presence", dial=((0.5, 0.5),))
    assert encode_prompts(pipe, "um gato", weighting=own).settings.weighting.dial == own.dial
