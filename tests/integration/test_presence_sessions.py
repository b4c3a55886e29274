"""The method `presence` in a session: below 1 on the embeddings, above 1 in attention."""

import pytest
import torch

from promptweight.attention import attach
from promptweight.conditioning import encode
from promptweight.errors import SettingError


def draw(pipe, prompt, **options):
    """Return the latents of two steps from one noise, and the session."""
    with attach(pipe, prompt, record=False, **options) as session:
        latents = pipe(
            **session.inputs,
            num_inference_steps=2,
            guidance_scale=3.0,
            generator=torch.Generator().manual_seed(0),
            output_type="latent",
        ).images
    return latents, session


def test_weight_above_1_acts_in_attention_alone(tiny_pipe):
    latents, session = draw(tiny_pipe, "um (gato:1.5) um", weighting="presence")
    in_attention, _ = draw(tiny_pipe, "um (gato:1.5) um", weighting="attention")
    plain, _ = draw(tiny_pipe, "um gato um")
    assert torch.equal(latents, in_attention)
    assert not torch.equal(latents, plain)
    assert session.warnings == []


def test_weight_below_1_acts_on_the_embeddings_alone(tiny_pipe):
    _, session = draw(tiny_pipe, "um (gato:0.5) um", weighting="presence")
    inputs = encode(tiny_pipe, "um (gato:0.5) um", weighting="presence")
    assert all(torch.equal(session.inputs[key], inputs[key]) for key in inputs)
    assert not session.config.rules.keys[0]


def test_both_kinds_of_weights_act_together(tiny_pipe):
    prompt = "(um:0.5) (gato:1.5)"
    _, session = draw(tiny_pipe, prompt, weighting="presence")
    below = encode(tiny_pipe, "(um:0.5) gato", weighting="presence")["prompt_embeds"]
    assert torch.equal(session.inputs["prompt_embeds"], below)
    (rule,) = session.config.rules.keys[0].values()
    assert (rule.weight, rule.weighting) == (1.5, "attention")


def test_weighting_of_a_word_has_precedence(tiny_pipe):
    _, session = draw(tiny_pipe, "um (gato:1.5{weighting=embedding})", weighting="presence")
    assert not session.config.rules.keys[0]


def test_region_of_a_weight_above_1_acts_without_warning(tiny_pipe):
    _, session = draw(tiny_pipe, "um (gato:1.5{region=left})", weighting="presence")
    assert session.warnings == []
    (rule,) = session.config.rules.keys[0].values()
    assert rule.region is not None


def test_weight_above_1_in_a_blend_is_refused(tiny_pipe):
    with pytest.raises(SettingError, match="attention weights inside"):
        attach(tiny_pipe, '("um", "gato++").blend(0.5, 0.5)', weighting="presence", dialect="compel")
