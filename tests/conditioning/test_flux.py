"""Embeddings of FLUX.1 prompts against the pipeline's own `encode_prompt`."""

import diffusers
import numpy as np
import pytest
import torch

from promptweight.conditioning import encode, encode_prompts
from promptweight.errors import ModelError


def reference(pipe, prompt, **settings):
    """Return the pipeline's own embeddings and pooled vector of one prompt."""
    with torch.no_grad():
        return pipe.encode_prompt(prompt, device=torch.device("cpu"), **settings)[:2]


def assert_same(inputs, prompt, negative):
    assert torch.equal(inputs["prompt_embeds"], prompt[0])
    assert torch.equal(inputs["pooled_prompt_embeds"], prompt[1])
    assert torch.equal(inputs["negative_prompt_embeds"], negative[0])
    assert torch.equal(inputs["negative_pooled_prompt_embeds"], negative[1])


@pytest.mark.parametrize("prompt", ["", "um gato vermelho, " * 30])
@pytest.mark.parametrize("negative", ["", "feio"])
def test_plain_prompts_equal_the_pipelines_embeddings(prompt, negative, flux):
    encoded = encode_prompts(flux, prompt, negative, max_sequence_length=200)
    lengths = {"max_sequence_length": 200}
    assert_same(encoded.inputs, reference(flux, prompt, **lengths), reference(flux, negative, **lengths))
    assert encoded.warnings == ()


def test_default_length_is_512_tokens_and_truncation_warns(flux):
    encoded = encode_prompts(flux, ["um gato " * 300, "um"])
    assert encoded.inputs["prompt_embeds"].shape == (2, 512, 96)
    assert_same(encode(flux, "um gato " * 300), reference(flux, "um gato " * 300), reference(flux, ""))
    (warning,) = encoded.warnings
    assert (warning.code, warning.fields["room"]) == ("prompt-truncated", 511)
    assert warning.fields["cut"].startswith("gato um")


def test_negative_prompt_none_gives_no_negative_embeddings(flux):
    assert set(encode(flux, "um gato", None, max_sequence_length=16)) == {
        "prompt_embeds",
        "pooled_prompt_embeds",
    }


def test_a1111_dialect_ignores_weights_with_a_warning(flux):
    prompts = ("um (gato:1.4)", "(feio:0.5)")
    encoded = encode_prompts(flux, *prompts, dialect="a1111", max_sequence_length=16)
    lengths = {"max_sequence_length": 16}
    assert_same(encoded.inputs, reference(flux, "um gato", **lengths), reference(flux, "feio", **lengths))
    assert [warning.code for warning in encoded.warnings] == ["method-none"]
    assert encoded.positive[0].encoder == "t5"
    assert encoded.positive[0].find("gato")[0].weight == 1.4


def test_explicit_method_acts_with_a_warning(flux):
    encoded = encode_prompts(flux, "um (gato:1.4)", weighting="scale pooled=weighted", max_sequence_length=16)
    plain, pooled = reference(flux, "um gato", max_sequence_length=16)
    expected = plain.clone()
    expected[:, 1] *= 1.4
    assert torch.equal(encoded.inputs["prompt_embeds"], expected)
    assert not torch.equal(encoded.inputs["pooled_prompt_embeds"], pooled)
    assert [warning.code for warning in encoded.warnings] == ["method-weak"]


def test_clip_skip_has_no_effect_and_warns(flux):
    encoded = encode_prompts(flux, "um gato", clip_skip=1, max_sequence_length=16)
    assert [warning.code for warning in encoded.warnings] == ["clip-skip-unused"]
    assert torch.equal(encoded.inputs["prompt_embeds"], reference(flux, "um gato", max_sequence_length=16)[0])


def test_pipeline_without_negative_prompt_warns(make_flux):
    class WithoutNegative(diffusers.FluxPipeline):
        def __call__(self, prompt=None, prompt_embeds=None, pooled_prompt_embeds=None):
            return prompt_embeds

    pipe = make_flux()
    pipe.__class__ = WithoutNegative
    encoded = encode_prompts(pipe, "um gato", "feio", max_sequence_length=16)
    assert set(encoded.inputs) == {"prompt_embeds", "pooled_prompt_embeds"}
    assert [warning.code for warning in encoded.warnings] == ["negative-unsupported"]


def test_absent_clip_gives_zeros_and_absent_t5_raises(make_flux, flux):
    without_clip = encode(make_flux(text_encoder=None, tokenizer=None), "um gato", max_sequence_length=16)
    assert torch.equal(without_clip["prompt_embeds"], reference(flux, "um gato", max_sequence_length=16)[0])
    assert torch.equal(without_clip["pooled_prompt_embeds"], torch.zeros(1, 32))
    with pytest.raises(ModelError, match="loaded without the text encoders that it needs"):
        encode(make_flux(text_encoder_2=None, tokenizer_2=None), "um gato")


def test_image_from_embeddings_equals_image_from_prompts(flux):
    settings = {
        "num_inference_steps": 2,
        "output_type": "np",
        "height": 16,
        "width": 16,
        "true_cfg_scale": 2.0,
        "max_sequence_length": 16,
    }
    inputs = encode(flux, "um gato", "feio", max_sequence_length=16)
    images = [
        flux(**prompt, generator=torch.Generator().manual_seed(3), **settings).images
        for prompt in ({"prompt": "um gato", "negative_prompt": "feio"}, inputs)
    ]
    assert np.array_equal(*images)
