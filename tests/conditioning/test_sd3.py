"""Embeddings of Stable Diffusion 3 prompts against the pipeline's own `encode_prompt`."""

import numpy as np
import pytest
import torch

from promptweight.conditioning import encode, encode_prompts
from promptweight.errors import SettingError
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
        made = pipe.encode_prompt(
            prompt, None, None, negative_prompt=negative, device=torch.device("cpu"), **settings
        )
    return dict(zip(KEYS, made, strict=True))


def assert_same(inputs, expected):
    assert set(inputs) == set(expected)
    for key in KEYS:
        assert inputs[key].dtype == expected[key].dtype
        assert torch.equal(inputs[key], expected[key]), key


@pytest.mark.parametrize("prompt", ["", "um gato vermelho", "Coração 🐱, um\ngato!", "x " * 75])
@pytest.mark.parametrize("negative", ["", "feio", None])
def test_plain_prompts_equal_the_pipelines_embeddings(prompt, negative, sd3):
    assert_same(encode(sd3, prompt, negative), reference(sd3, prompt, negative))


@pytest.mark.parametrize("method", [None, *METHODS])
def test_weights_of_one_equal_the_pipelines_embeddings(method, sd3):
    inputs = encode(sd3, "um (gato:1)", "(feio:1)", weighting=Weighting(method, pooled="weighted"))
    assert_same(inputs, reference(sd3, "um gato", "feio"))


@pytest.mark.parametrize("clip_skip", [0, 2])
def test_clip_skip_equals_the_pipelines_clip_skip(clip_skip, sd3):
    inputs = encode(sd3, "um gato", "feio", clip_skip=clip_skip)
    assert_same(inputs, reference(sd3, "um gato", "feio", clip_skip=clip_skip))


def test_max_sequence_length_sets_the_rows_of_t5(sd3):
    inputs = encode(sd3, "um gato", "feio", max_sequence_length=40)
    assert inputs["prompt_embeds"].shape == (1, 77 + 40, 96)
    assert_same(inputs, reference(sd3, "um gato", "feio", max_sequence_length=40))


@pytest.mark.parametrize("length", [1, 513, 64.0])
def test_max_sequence_length_out_of_range_raises(length, sd3):
    with pytest.raises(SettingError, match="an integer from 2 to 512"):
        encode(sd3, "um gato", max_sequence_length=length)


def test_absent_t5_gives_rows_of_zeros(make_sd3, sd3):
    pipe = make_sd3(text_encoder_3=None, tokenizer_3=None)
    inputs = encode(pipe, "um gato", "feio")
    assert_same(inputs, reference(pipe, "um gato", "feio"))
    assert not inputs["prompt_embeds"][:, 77:].any()


def test_absent_clip_gives_channels_of_zeros(make_sd3, sd3):
    """The pipeline cannot encode without it; the embeddings of the other encoders stay the same."""
    complete = reference(sd3, "um gato", "feio")
    without_l = encode(make_sd3(text_encoder=None, tokenizer=None), "um gato", "feio")
    without_g = encode(make_sd3(text_encoder_2=None, tokenizer_2=None), "um gato", "feio")
    only_t5 = make_sd3(text_encoder=None, tokenizer=None, text_encoder_2=None, tokenizer_2=None)
    for inputs, absent in ((without_l, slice(0, 32)), (without_g, slice(32, 72))):
        for key, expected in complete.items():
            expected = expected.clone()
            (expected if "pooled" in key else expected[:, :77])[..., absent] = 0
            assert torch.equal(inputs[key], expected), key
    encoded = encode_prompts(only_t5, "um (gato:1.3)", "feio", dialect="a1111")
    assert not encoded.inputs["prompt_embeds"][:, :77].any()
    assert torch.equal(encoded.inputs["prompt_embeds"][:, 77:], complete["prompt_embeds"][:, 77:])
    assert torch.equal(encoded.inputs["pooled_prompt_embeds"], torch.zeros(1, 72))
    assert [section.encoders for section in encoded.sections] == [(), ("t5",)]
    assert encoded.positive[0].encoder == "t5"


def test_a1111_dialect_weights_clip_and_not_t5_with_a_warning(sd3):
    encoded = encode_prompts(sd3, "um (gato:1.4)", "(feio:0.5)", dialect="a1111")
    expected = reference(sd3, "um gato", "feio")
    expected["prompt_embeds"][:, 2] *= 1.4
    expected["negative_prompt_embeds"][:, 1:5] *= 0.5
    assert_same(encoded.inputs, expected)
    assert [warning.code for warning in encoded.warnings] == ["method-none"]


def test_explicit_method_acts_on_t5_with_a_warning(sd3):
    encoded = encode_prompts(sd3, "um (gato:1.4)", weighting="scale")
    expected = reference(sd3, "um gato")
    expected["prompt_embeds"][:, [2, 77 + 1]] *= 1.4
    assert_same(encoded.inputs, expected)
    assert [warning.code for warning in encoded.warnings] == ["method-weak"]
    assert encode_prompts(sd3, "um (gato:1.4)", weighting="none").warnings == ()


@pytest.mark.parametrize("method", ["compel", "down_weight", "comfy++", "perp", "scale-rms"])
def test_every_method_changes_the_embeddings_of_t5(method, sd3):
    embeds = encode(sd3, "um (gato:0.6) (vermelho:1.3)", weighting=method)["prompt_embeds"]
    plain = reference(sd3, "um gato vermelho")["prompt_embeds"]
    assert embeds.isfinite().all()
    assert not torch.equal(embeds[:, 77:], plain[:, 77:])


def test_long_prompts_take_chunks_of_clip_and_one_text_of_t5(sd3):
    encoded = encode_prompts(sd3, ["um " * 75 + "gato", "um"], "feio", max_sequence_length=40)
    assert encoded.inputs["prompt_embeds"].shape == (2, 154 + 40, 96)
    clip, t5 = encoded.sections
    assert (clip.start, clip.rows, t5.start, t5.rows) == (0, 154, 154, 40)
    first, second = reference(sd3, "um " * 75), reference(sd3, "gato")
    embeds = encoded.inputs["prompt_embeds"][0]
    assert torch.equal(embeds[:77], first["prompt_embeds"][0, :77])
    assert torch.equal(embeds[77:154], second["prompt_embeds"][0, :77])
    cut = reference(sd3, "um " * 75, max_sequence_length=40)
    assert torch.equal(embeds[154:], cut["prompt_embeds"][0, 77:])
    end = ("um " * 36 + "gato").strip()
    (warning,) = encoded.warnings
    assert warning.code == "prompt-truncated"
    assert warning.fields == {"encoder": "t5", "room": 39, "cut": end}


def test_prompts_are_independent_of_the_batch(sd3):
    prompts = ["um (gato:1.4)", "x (vermelho:0.5)", ""]
    together = encode(sd3, prompts, ["feio", "(feio:1.2)", ""], weighting="comfy pooled=weighted")
    for row, prompt in enumerate(prompts):
        alone = encode(sd3, prompt, weighting="comfy pooled=weighted")
        for key in ("prompt_embeds", "pooled_prompt_embeds"):
            assert torch.equal(together[key][row], alone[key][0])


def test_image_from_embeddings_equals_image_from_prompts(sd3):
    settings = {"num_inference_steps": 2, "output_type": "np", "height": 8, "width": 8}
    images = [
        sd3(**inputs, generator=torch.Generator().manual_seed(3), **settings).images
        for inputs in ({"prompt": "um gato", "negative_prompt": "feio"}, encode(sd3, "um gato", "feio"))
    ]
    assert np.array_equal(*images)
