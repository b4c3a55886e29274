"""Negative guidance in `generate`: effect, record, and the warning of a negative prompt without it."""

import pytest

from promptweight import generate
from promptweight.attention import NegativeGuidance
from promptweight.errors import SettingError
from promptweight.generation import GenerateOptions

FAST = {"num_inference_steps": 2, "seed": 3, "negative_prompt": "feio"}
UNUSED = "negative-without-guidance"


def codes(result):
    return [warning.code for warning in result.warnings]


def test_text_of_a_negative_guidance_becomes_a_value():
    assert GenerateOptions(negative_guidance="nag scale=2").negative_guidance == NegativeGuidance(
        "nag", scale=2
    )
    assert GenerateOptions().negative_guidance == NegativeGuidance("cfg")
    with pytest.raises(SettingError, match="must be one of: cfg, nag, vsf; got 'sag'"):
        GenerateOptions(negative_guidance="sag")


@pytest.mark.parametrize("guidance", ["nag", "vsf"])
def test_negative_prompt_acts_at_guidance_1(tiny_pipe, guidance):
    plain = generate(tiny_pipe, "um gato", guidance_scale=1, **FAST)
    without = generate(tiny_pipe, "um gato", guidance_scale=1, **FAST | {"negative_prompt": ""})
    acting = generate(tiny_pipe, "um gato", guidance_scale=1, negative_guidance=guidance, **FAST)
    assert plain.images[0].tobytes() == without.images[0].tobytes() != acting.images[0].tobytes()
    assert codes(plain) == [UNUSED]
    assert codes(without) == codes(acting) == []
    assert acting.settings["negative_guidance"] == str(NegativeGuidance(guidance))
    again = generate(
        tiny_pipe, "um gato", guidance_scale=1, negative_guidance=acting.settings["negative_guidance"], **FAST
    )
    assert again.images[0].tobytes() == acting.images[0].tobytes()


def test_warning_of_an_unused_negative_prompt_names_the_scale(tiny_pipe):
    neutral = generate(tiny_pipe, "um gato", guidance_scale=1, negative_guidance="nag scale=1", **FAST)
    assert neutral.warnings == (
        "the negative prompt has no effect at guidance_scale=1; it needs a value above 1, or "
        "negative_guidance='nag'",
    )
    assert codes(generate(tiny_pipe, "um gato", guidance_scale=2, **FAST)) == []


def test_edit_refuses_a_negative_prompt_in_attention(tiny_pipe):
    with pytest.raises(SettingError, match="an edit uses the attention of its source"):
        generate(tiny_pipe, "um gato", edit="um rato", negative_guidance="vsf", **FAST)
