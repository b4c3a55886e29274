"""Weightings of sessions on a model with a dial of its own."""

import pytest

from promptweight import attach, load
from promptweight.conditioning import encode_prompts
from promptweight.errors import SettingError


@pytest.fixture(scope="module")
def mini():
    return load("mini")


@pytest.mark.parametrize("weighting", [None, "presence", "presence pooled=weighted", "presence dial=0.5:0.6"])
def test_session_takes_the_dial_of_the_model_or_of_the_call(mini, weighting):
    with attach(mini, "um (gato:0.5)", weighting=weighting) as session:
        assert session.inputs["prompt_embeds"].shape == (1, 77, 128)


def test_encoded_prompts_accept_their_weighting_by_name_and_no_other(mini):
    encoded = encode_prompts(mini, "um (gato:0.5)", weighting="presence", in_session=True)
    attach(mini, encoded, weighting="presence")
    with pytest.raises(SettingError, match="weighting must be that of the encoded prompts"):
        attach(mini, encoded, weighting="comfy")
