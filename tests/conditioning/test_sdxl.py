"""Embeddings of SDXL prompts against the pipeline's own `encode_prompt`."""

import numpy as np
import pytest
import torch

from promptweight.conditioning import encode, encode_prompts
from promptweight.weighting import METHODS, Weighting

KEYS = (
    "prompt_embeds",
    "negative_prompt_embeds",
    "pooled_prompt_embeds",
    "negative_pooled_prompt_embeds",
)


def reference(pipe, prompt, negative="", **settings):
    """Return the pipeline's own embeddings of one prompt."""
    with torch.no_grad():
        made = pipe.encode_prompt(prompt, negative_prompt=negative, device=torch.device("cpu"), **settings)
    return dict(zip(KEYS, made, strict=True))


def assert_same(inputs, expected):
    assert set(inputs) == set(expected)
    for key in KEYS:
        assert inputs[key].dtype == expected[key].dtype
        assert torch.equal(inputs[key], expected[key]), key


@pytest.mark.parametrize("prompt", ["", "um gato vermelho", "Coração 🐱, um\ngato!", "x " * 75])
@pytest.mark.parametrize("negative", ["", "feio", None])
def test_plain_prompts_equal_the_pipelines_embeddings(prompt, negative, sdxl):
    assert_same(encode(sdxl, prompt, negative), reference(sdxl, prompt, negative))


def test_negative_prompt_none_gives_zeros_where_the_pipeline_does(sdxl, make_sdxl):
    assert not encode(sdxl, "um gato", None)["negative_prompt_embeds"].any()
    encoded_empty = make_sdxl(force_zeros_for_empty_prompt=False)
    inputs = encode(encoded_empty, "um gato", None)
    assert inputs["negative_prompt_embeds"].any()
    assert_same(inputs, reference(encoded_empty, "um gato", None))


@pytest.mark.parametrize("method", [None, *METHODS])
def test_weights_of_one_equal_the_pipelines_embeddings(method, sdxl):
    inputs = encode(sdxl, "um (gato:1)", "(feio:1)", weighting=Weighting(method, pooled="weighted"))
    assert_same(inputs, reference(sdxl, "um gato", "feio"))


@pytest.mark.parametrize("clip_skip", [0, 1, 2])
def test_clip_skip_equals_the_pipelines_clip_skip(clip_skip, sdxl):
    inputs = encode(sdxl, "um gato", "feio", clip_skip=clip_skip)
    assert_same(inputs, reference(sdxl, "um gato", "feio", clip_skip=clip_skip))


def test_refiner_uses_only_the_second_encoder(make_sdxl):
    refiner = make_sdxl(text_encoder=None, tokenizer=None)
    assert_same(encode(refiner, "um gato", "feio"), reference(refiner, "um gato", "feio"))


def test_a1111_dialect_scales_both_encoders_and_not_the_pooled_vector(sdxl):
    inputs = encode(sdxl, "um (gato:1.4)", "(feio:0.5)", dialect="a1111")
    expected = reference(sdxl, "um gato", "feio")
    expected["prompt_embeds"][:, 2] *= 1.4
    expected["negative_prompt_embeds"][:, 1:5] *= 0.5
    assert_same(inputs, expected)


def test_prompts_are_independent_of_the_batch(sdxl):
    prompts = ["um (gato:1.4)", "um " * 80, ""]
    together = encode(sdxl, prompts, ["feio", "(feio:1.2)", ""], weighting="pooled=weighted")
    assert together["prompt_embeds"].shape == together["negative_prompt_embeds"].shape == (3, 154, 72)
    assert together["pooled_prompt_embeds"].shape == (3, 20)
    for row, prompt in enumerate(prompts):
        alone = encode(sdxl, prompt, weighting="pooled=weighted")
        rows = alone["prompt_embeds"].shape[1]
        assert torch.equal(together["prompt_embeds"][row, :rows], alone["prompt_embeds"][0])
        assert torch.equal(together["pooled_prompt_embeds"][row], alone["pooled_prompt_embeds"][0])


def test_long_prompts_take_chunks_and_pool_the_first(sdxl):
    inputs = encode(sdxl, "um " * 75 + "gato", "feio")
    first, second = reference(sdxl, "um " * 75, "feio"), reference(sdxl, "gato", "")
    assert torch.equal(inputs["prompt_embeds"][:, :77], first["prompt_embeds"])
    assert torch.equal(inputs["prompt_embeds"][:, 77:], second["prompt_embeds"])
    assert torch.equal(inputs["pooled_prompt_embeds"], first["pooled_prompt_embeds"])
    assert torch.equal(inputs["negative_prompt_embeds"][:, 77:], second["negative_prompt_embeds"])


def test_weighted_pooled_vector_moves_by_the_contribution_of_each_word(sdxl):
    inputs = encode(sdxl, "um (gato:1.5) e (x:0)", weighting="scale pooled=weighted")
    ids = sdxl.tokenizer_2("um gato e x", padding="max_length", return_tensors="pt").input_ids
    plain = sdxl.text_encoder_2(ids).text_embeds
    expected = plain.clone()
    for row, weight in ((2, 1.5), (4, 0.0)):
        mask = torch.ones_like(ids)
        mask[0, row] = 0
        expected += (weight - 1) * (plain - sdxl.text_encoder_2(ids, attention_mask=mask).text_embeds)
    torch.testing.assert_close(inputs["pooled_prompt_embeds"], expected, rtol=0, atol=1e-5)
    assert not torch.allclose(expected, plain, atol=1e-3)


def test_section_names_both_encoders(sdxl):
    encoded = encode_prompts(sdxl, "um (gato:1.4)")
    (section,) = encoded.sections
    assert (section.encoders, section.start, section.rows) == (("clip_l", "clip_g"), 0, 77)
    assert encoded.positive[0].encoder == "clip_l"
    assert encoded.warnings == ()


def test_image_from_embeddings_equals_image_from_prompts(sdxl):
    settings = {"num_inference_steps": 2, "output_type": "np", "height": 8, "width": 8}
    images = [
        sdxl(**inputs, generator=torch.Generator().manual_seed(3), **settings).images
        for inputs in ({"prompt": "um gato", "negative_prompt": "feio"}, encode(sdxl, "um gato", "feio"))
    ]
    assert np.array_equal(*images)
