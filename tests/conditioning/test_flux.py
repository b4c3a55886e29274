import diffusers
import numpy as np
import pytest
import torch

from promptweight.conditioning import encode, encode_prompts
from promptweight.errors import ModelError


def own(pipe, prompt, **settings):
    """What the pipeline itself makes of one prompt: the embeddings and the pooled vector."""
    with torch.no_grad():
        return pipe.encode_prompt(prompt, device=torch.device("cpu"), **settings)[:2]


def check_same(inputs, prompt, negative):
    assert torch.equal(inputs["prompt_embeds"], prompt[0])
    assert torch.equal(inputs["pooled_prompt_embeds"], prompt[1])
    assert torch.equal(inputs["negative_prompt_embeds"], negative[0])
    assert torch.equal(inputs["negative_pooled_prompt_embeds"], negative[1])


@pytest.mark.parametrize("prompt", ["", "um gato vermelho, " * 30])
@pytest.mark.parametrize("negative", ["", "feio"])
def test_plain_prompts_are_the_pipelines_own(prompt, negative, flux):
    encoded = encode_prompts(flux, prompt, negative, max_sequence_length=200)
    lengths = {"max_sequence_length": 200}
    check_same(encoded.inputs, own(flux, prompt, **lengths), own(flux, negative, **lengths))
    assert encoded.warnings == ()


def test_the_usual_length_is_512_tokens(flux):
    encoded = encode_prompts(flux, ["um gato " * 300, "um"])
    assert encoded.inputs["prompt_embeds"].shape == (2, 512, 96)
    check_same(encode(flux, "um gato " * 300), own(flux, "um gato " * 300), own(flux, ""))
    (warning,) = encoded.warnings
    assert warning.startswith(
        "the text encoder t5 takes 511 tokens; the end of the prompt was cut: 'gato um"
    )


def test_without_a_negative_prompt_none_is_passed_on(flux):
    assert set(encode(flux, "um gato", None, max_sequence_length=16)) == {
        "prompt_embeds",
        "pooled_prompt_embeds",
    }


def test_weights_are_left_to_attention_and_that_is_said(flux):
    encoded = encode_prompts(flux, "um (gato:1.4)", "(feio:0.5)", max_sequence_length=16)
    lengths = {"max_sequence_length": 16}
    check_same(encoded.inputs, own(flux, "um gato", **lengths), own(flux, "feio", **lengths))
    (warning,) = encoded.warnings
    assert warning.startswith("weights are not applied to the embeddings of the text encoder t5")
    assert encoded.positive[0].encoder == "t5"
    assert encoded.positive[0].find("gato")[0].weight == 1.4


def test_a_method_that_was_asked_for_is_applied(flux):
    encoded = encode_prompts(flux, "um (gato:1.4)", method="scale", pooled="weighted", max_sequence_length=16)
    plain, pooled = own(flux, "um gato", max_sequence_length=16)
    expected = plain.clone()
    expected[:, 1] *= 1.4
    assert torch.equal(encoded.inputs["prompt_embeds"], expected)
    assert not torch.equal(encoded.inputs["pooled_prompt_embeds"], pooled)
    assert len(encoded.warnings) == 1


def test_clip_skip_has_no_effect_and_that_is_said(flux):
    encoded = encode_prompts(flux, "um gato", clip_skip=1, max_sequence_length=16)
    assert encoded.warnings == ("clip_skip has no effect on FLUX.1",)
    assert torch.equal(encoded.inputs["prompt_embeds"], own(flux, "um gato", max_sequence_length=16)[0])


def test_a_pipeline_that_takes_no_negative_prompt(make_flux):
    class WithoutNegative(diffusers.FluxPipeline):
        def __call__(self, prompt=None, prompt_embeds=None, pooled_prompt_embeds=None):
            return prompt_embeds

    pipe = make_flux()
    pipe.__class__ = WithoutNegative
    encoded = encode_prompts(pipe, "um gato", "feio", max_sequence_length=16)
    assert set(encoded.inputs) == {"prompt_embeds", "pooled_prompt_embeds"}
    assert encoded.warnings == ("WithoutNegative has no negative prompt; it has no effect",)


def test_absent_encoders(make_flux, flux):
    without_clip = encode(make_flux(text_encoder=None, tokenizer=None), "um gato", max_sequence_length=16)
    assert torch.equal(without_clip["prompt_embeds"], own(flux, "um gato", max_sequence_length=16)[0])
    assert torch.equal(without_clip["pooled_prompt_embeds"], torch.zeros(1, 32))
    with pytest.raises(ModelError, match="loaded without the text encoders that it needs"):
        encode(make_flux(text_encoder_2=None, tokenizer_2=None), "um gato")


def test_the_pipeline_draws_the_same_picture_from_them(flux):
    settings = {
        "num_inference_steps": 2,
        "output_type": "np",
        "height": 16,
        "width": 16,
        "true_cfg_scale": 2.0,
        "max_sequence_length": 16,
    }
    inputs = encode(flux, "um gato", "feio", max_sequence_length=16)
    pictures = [
        flux(**prompt, generator=torch.Generator().manual_seed(3), **settings).images
        for prompt in ({"prompt": "um gato", "negative_prompt": "feio"}, inputs)
    ]
    assert np.array_equal(*pictures)
