"""The method `presence` in real text encoders, against encodings of the prompt without the phrase."""

import pytest
import torch

from promptweight.conditioning import encode_prompts

PIPELINES = ("sd", "sdxl", "sd3", "flux")


def encode(pipe, prompt, **options):
    return encode_prompts(pipe, prompt, method="presence", **options).inputs


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


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("weight", [0.25, 0.5, -0.5])
def test_weights_below_1_interpolate_linearly(request, name, weight):
    pipe = request.getfixturevalue(name)
    plain, absent, weighted = (encode(pipe, f"um (gato:{w}) um") for w in (1, 0, weight))
    for key in ("prompt_embeds", "pooled_prompt_embeds"):
        if key in plain:
            expected = absent[key] + weight * (plain[key] - absent[key])
            torch.testing.assert_close(weighted[key], expected, atol=1e-5, rtol=1e-4)


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
        encode_prompts(sd, "um", negative, method="presence").inputs["negative_prompt_embeds"]
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
        encode_prompts(sd, prompt, dialect=dialect, method=method).inputs for method in (None, dialect)
    )
    assert all(torch.equal(default[key], named[key]) for key in named)
