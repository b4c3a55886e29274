"""The method `presence` in real text encoders, against encodings of the prompt without the phrase."""

import pytest
import torch

from promptweight.conditioning import encode_prompts

PIPELINES = ("sd", "sdxl", "sd3", "flux")


def encode(pipe, prompt, **options):
    return encode_prompts(pipe, prompt, weighting="presence", **options).inputs


def sorted_rows(embeds):
    """Rows in an order that depends on their values alone."""
    return sorted(tuple(row) for row in embeds[0].double().round(decimals=5).tolist())


@pytest.mark.parametrize("name", PIPELINES)
def test_weight_0_leaves_the_rows_of_the_prompt_without_the_phrase(request, name):
    pipe = request.getfixturevalue(name)
    weighted = encode(pipe, "um (gato:0) um")
    absent = encode(pipe, "um um")
    assert sorted_rows(weighted["prompt_embeds"]) == sorted_rows(absent["prompt_embeds"])


@pytest.mark.parametrize("name", ["sdxl", "sd3", "flux"])
def test_weight_0_leaves_the_pooled_vector_of_the_prompt_without_the_phrase(request, name):
    pipe = request.getfixturevalue(name)
    weighted, absent = (
        encode(pipe, prompt)["pooled_prompt_embeds"] for prompt in ("um (gato:0) um", "um um")
    )
    torch.testing.assert_close(weighted, absent, atol=1e-6, rtol=1e-5)


def interpolate(absent, plain, part):
    """Interpolate directions linearly and lengths by their logarithm; equal rows stay as they are."""
    lengths = [torch.linalg.vector_norm(each.double(), dim=-1, keepdim=True) for each in (absent, plain)]
    direction = (1 - part) * absent / lengths[0] + part * plain / lengths[1]
    length = lengths[0] ** (1 - part) * lengths[1] ** part
    bounded = length.clamp(torch.minimum(*lengths), torch.maximum(*lengths))
    is_same = (absent == plain).all(-1, keepdim=True)
    return torch.where(is_same, plain.double(), bounded * direction).float()


def blocks_of_encoders(pipe, name, key):
    """Ranges of rows and channels that come from one text encoder."""
    if name in ("sd", "flux"):
        return [(None, slice(None))]
    first, second = (
        encoder.config.projection_dim if key.startswith("pooled") else encoder.config.hidden_size
        for encoder in (pipe.text_encoder, pipe.text_encoder_2)
    )
    first = 0 if (name, key) == ("sdxl", "pooled_prompt_embeds") else first
    sides = [slice(0, first), slice(first, first + second)]
    if name == "sdxl" or key.startswith("pooled"):
        return [(None, side) for side in sides if side.stop > side.start]
    return [*((slice(0, 77), side) for side in sides), (slice(77, None), slice(None))]


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize(("weight", "part"), [(0.25, 0.25), (0.5, 0.5), (-0.5, -1 / 3), (-9, -0.9)])
def test_weights_below_1_interpolate_directions_and_lengths(request, name, weight, part):
    pipe = request.getfixturevalue(name)
    plain, absent, weighted = (encode(pipe, f"um (gato:{w}) um") for w in (1, 0, weight))
    for key in ("prompt_embeds", "pooled_prompt_embeds"):
        if key in plain:
            for rows, columns in blocks_of_encoders(pipe, name, key):
                block = (..., columns) if rows is None else (slice(None), rows, columns)
                expected = interpolate(absent[key][block], plain[key][block], part)
                torch.testing.assert_close(weighted[key][block], expected, atol=1e-5, rtol=1e-4)


def test_dial_of_the_weighting_turns_weights_between_0_and_1(sd):
    weighting = "presence dial=0.5:0.8"
    for weight, turned in ((0.25, 0.4), (0.5, 0.8), (0.75, 0.9), (0, 0), (-0.5, -0.5)):
        dialed = encode_prompts(sd, f"um (gato:{weight}) um", weighting=weighting).inputs["prompt_embeds"]
        expected = encode(sd, f"um (gato:{turned}) um")["prompt_embeds"]
        torch.testing.assert_close(dialed, expected)


def test_two_phrases_of_weight_0_are_absent_together(sd):
    weighted = encode(sd, "(gato:0) um (gato:0)")
    assert sorted_rows(weighted["prompt_embeds"]) == sorted_rows(encode(sd, "um")["prompt_embeds"])


def test_weight_above_1_multiplies_the_rows_of_its_own_tokens(sd):
    plain, weighted = (encode(sd, f"um (gato:{w}) um")["prompt_embeds"] for w in (1, 1.5))
    factors = torch.ones(77, 1)
    factors[2] = 1.5
    torch.testing.assert_close(weighted, plain * factors)


def test_phrase_in_a_later_chunk_is_removed_from_its_own_chunk(sd):
    weighted, absent = (
        encode(sd, f"um BREAK {tail}")["prompt_embeds"] for tail in ("um (gato:0) um", "um um")
    )
    assert torch.equal(weighted[:, :77], absent[:, :77])
    assert sorted_rows(weighted[:, 77:]) == sorted_rows(absent[:, 77:])


def test_negative_prompt_is_weighted_in_the_same_way(sd):
    weighted, absent = (
        encode_prompts(sd, "um", negative, weighting="presence").inputs["negative_prompt_embeds"]
        for negative in ("um (gato:0)", "um")
    )
    assert sorted_rows(weighted) == sorted_rows(absent)


@pytest.mark.parametrize("name", PIPELINES)
def test_presence_is_the_default_of_the_dialect_pw(request, name):
    pipe = request.getfixturevalue(name)
    default, named = encode_prompts(pipe, "um (gato:0.5)").inputs, encode(pipe, "um (gato:0.5)")
    assert all(torch.equal(default[key], named[key]) for key in named)


@pytest.mark.parametrize("dialect", ["comfy", "compel"])
def test_dialects_of_tools_have_the_method_of_the_tool(sd, dialect):
    prompt = {"comfy": "um (gato:0.5)", "compel": "um (gato)0.5"}[dialect]
    default, named = (
        encode_prompts(sd, prompt, dialect=dialect, weighting=weighting).inputs
        for weighting in (None, dialect)
    )
    assert all(torch.equal(default[key], named[key]) for key in named)
