"""Embeddings of Stable Diffusion 1 and 2 prompts against the pipeline's own `encode_prompt`."""

import diffusers
import numpy as np
import pytest
import torch

from promptweight.conditioning import encode, encode_prompts
from promptweight.errors import ModelError, SettingError
from promptweight.prompt import parse
from promptweight.weighting import METHODS, Weighting

PLAIN = ["", "um gato vermelho", "Coração 🐱, um\ngato!", "x " * 75]


def reference(pipe, prompt, negative="", **settings):
    """Return the pipeline's own embeddings of one prompt."""
    with torch.no_grad():
        return pipe.encode_prompt(prompt, torch.device("cpu"), 1, True, negative, **settings)


def same_bits(first, second):
    return first.dtype == second.dtype and torch.equal(first, second)


@pytest.mark.parametrize("prompt", PLAIN)
@pytest.mark.parametrize("negative", ["", "feio, borrado"])
def test_plain_prompts_equal_the_pipelines_embeddings(prompt, negative, sd):
    prompt_embeds, negative_prompt_embeds = reference(sd, prompt, negative)
    inputs = encode(sd, prompt, negative)
    assert set(inputs) == {"prompt_embeds", "negative_prompt_embeds"}
    assert same_bits(inputs["prompt_embeds"], prompt_embeds)
    assert same_bits(inputs["negative_prompt_embeds"], negative_prompt_embeds)


@pytest.mark.parametrize("method", [None, *METHODS])
def test_weights_of_one_equal_the_pipelines_embeddings(method, sd):
    inputs = encode(sd, "um (gato:1) (vermelho:1.0)", "(feio:1)", weighting=Weighting(method, "length+mean"))
    prompt_embeds, negative_prompt_embeds = reference(sd, "um gato vermelho", "feio")
    assert same_bits(inputs["prompt_embeds"], prompt_embeds)
    assert same_bits(inputs["negative_prompt_embeds"], negative_prompt_embeds)


def test_negative_prompt_none_equals_an_empty_text(sd):
    assert same_bits(encode(sd, "um gato", None)["negative_prompt_embeds"], reference(sd, "um gato", None)[1])


def test_half_precision_pipeline_gives_its_dtype(make_sd):
    pipe = make_sd().to(torch.bfloat16)
    inputs = encode(pipe, "um gato", "feio")
    assert same_bits(inputs["prompt_embeds"], reference(pipe, "um gato")[0])
    assert encode(pipe, "um (gato:1.3)")["prompt_embeds"].dtype == torch.bfloat16


def test_use_attention_mask_in_the_configuration_masks_padding(make_sd):
    masked = make_sd()
    masked.text_encoder.config.use_attention_mask = True
    inputs = encode(masked, "um gato", "feio")
    prompt_embeds, negative_prompt_embeds = reference(masked, "um gato", "feio")
    assert same_bits(inputs["prompt_embeds"], prompt_embeds)
    assert same_bits(inputs["negative_prompt_embeds"], negative_prompt_embeds)
    assert not torch.equal(prompt_embeds, reference(make_sd(), "um gato")[0])


@pytest.mark.parametrize("clip_skip", [0, 1, 3])
def test_clip_skip_equals_the_pipelines_clip_skip(clip_skip, make_sd):
    pipe = make_sd()
    inputs = encode(pipe, "um gato", "feio", clip_skip=clip_skip)
    # CLIPTextModel held its layers in `text_model` up to transformers 5.5; the pipeline still uses it.
    object.__setattr__(pipe.text_encoder, "text_model", pipe.text_encoder)
    prompt_embeds, negative_prompt_embeds = reference(pipe, "um gato", "feio", clip_skip=clip_skip)
    assert same_bits(inputs["prompt_embeds"], prompt_embeds)
    assert same_bits(inputs["negative_prompt_embeds"], negative_prompt_embeds)
    assert torch.equal(prompt_embeds, reference(pipe, "um gato")[0]) == (clip_skip == 0)


@pytest.mark.parametrize(
    ("clip_skip", "message"),
    [(4, "from 0 to 3"), (-1, "between 0 and 100; got -1"), (1.5, "must be an integer; got 1.5")],
)
def test_clip_skip_out_of_range_raises(clip_skip, message, sd):
    with pytest.raises(SettingError, match=message):
        encode(sd, "um gato", clip_skip=clip_skip)


@pytest.mark.parametrize("method", [None, *METHODS])
def test_prompts_are_independent_of_the_batch(method, sd):
    prompts = ["um (gato:1.4) [vermelho]", "um " * 200, "", "(coração:0.3), um (gato:-1)"]
    together = encode(sd, prompts, ["feio", "(feio:1.2)", "", "borrado"], weighting=method)
    assert together["prompt_embeds"].shape == together["negative_prompt_embeds"].shape == (4, 231, 32)
    for row, prompt in enumerate(prompts):
        alone = encode(sd, prompt, weighting=method)["prompt_embeds"][0]
        assert same_bits(together["prompt_embeds"][row, : len(alone)], alone)


def test_single_negative_prompt_is_repeated_for_the_batch(sd):
    inputs = encode(sd, ["um gato", "um"], "(feio:1.2)")
    alone = encode(sd, "um", "(feio:1.2)")["negative_prompt_embeds"]
    assert same_bits(inputs["negative_prompt_embeds"], alone.expand(2, -1, -1))


def test_long_prompts_encode_each_chunk_separately(sd):
    long = encode_prompts(sd, "um " * 100 + "(gato:1.5)", "feio", weighting="scale")
    first, second = reference(sd, "um " * 75)[0], reference(sd, "um " * 25 + "gato")[0]
    assert same_bits(long.inputs["prompt_embeds"][:, :77], first)
    weighted = second.clone()
    weighted[:, 26] *= 1.5
    assert same_bits(long.inputs["prompt_embeds"][:, 77:], weighted)
    assert [table.rows for table in (*long.positive, *long.negative)] == [154, 154]
    negative = long.inputs["negative_prompt_embeds"]
    assert same_bits(negative[:, :77], reference(sd, "", "feio")[1])
    assert same_bits(negative[:, 77:], reference(sd, "", "")[1])


def test_break_begins_a_chunk(sd):
    inputs = encode(sd, "um gato BREAK um")
    assert same_bits(inputs["prompt_embeds"][:, :77], reference(sd, "um gato")[0])
    assert same_bits(inputs["prompt_embeds"][:, 77:], reference(sd, "um")[0])


def words_and_weights(table):
    return [(word.text, word.weight) for word in table.words]


def test_method_of_the_a1111_dialect_is_a1111(sd):
    encoded = encode_prompts(sd, "um (gato:1.4) [vermelho]", dialect="a1111")
    plain = reference(sd, "um gato vermelho")[0][0].double().numpy()
    weights = np.ones(77)
    weights[2], weights[3:6] = 1.4, 1 / 1.1
    y = plain * weights[:, None]
    expected = y * (plain.mean() / y.mean())
    np.testing.assert_allclose(encoded.inputs["prompt_embeds"][0].numpy(), expected, atol=2e-6)
    assert words_and_weights(encoded.positive[0]) == [("um", 1.0), ("gato", 1.4), ("vermelho", 1 / 1.1)]
    assert encoded.warnings == ()


def test_method_of_the_novelai_dialect_is_that_of_the_encoder(sd):
    encoded = encode_prompts(sd, "um 1.4::gato:: [vermelho]", dialect="novelai")
    plain = reference(sd, "um gato vermelho")[0][0].double().numpy()
    weights = np.ones(77)
    weights[2], weights[3:6] = 1.4, 1 / 1.05
    y = plain * weights[:, None]
    expected = y * (plain.mean() / y.mean())
    np.testing.assert_allclose(encoded.inputs["prompt_embeds"][0].numpy(), expected, atol=2e-6)
    assert words_and_weights(encoded.positive[0]) == [("um", 1.0), ("gato", 1.4), ("vermelho", 1 / 1.05)]
    assert encoded.warnings == ()


def test_comfy_interpolates_from_the_empty_prompt(sd):
    inputs = encode(sd, "um (gato:0.5)", weighting="comfy")
    plain, empty = reference(sd, "um gato")[0][0], reference(sd, "")[0][0]
    expected = plain.clone()
    expected[2] = empty[2] + (plain[2] - empty[2]) * 0.5
    torch.testing.assert_close(inputs["prompt_embeds"][0], expected, rtol=0, atol=1e-6)


def test_compel_masks_words_in_the_encoders_attention(sd):
    inputs = encode(sd, "um (gato:0.5) vermelho", weighting="compel")
    ids = sd.tokenizer("um gato vermelho", padding="max_length", return_tensors="pt").input_ids
    mask = torch.ones_like(ids)
    mask[0, 2] = 0
    empty = reference(sd, "")[0]
    weights = torch.ones(77)
    weights[2] = 0.5
    bases = [
        empty + (rows - empty) * weights[:, None]
        for rows in (reference(sd, "um gato vermelho")[0], sd.text_encoder(ids, attention_mask=mask)[0])
    ]
    # tan(pi / 4) = 1: equal shares
    torch.testing.assert_close(inputs["prompt_embeds"], (bases[0] + bases[1]) / 2, rtol=0, atol=1e-6)


def test_down_weight_replaces_words_by_a_neutral_token(sd):
    inputs = encode(sd, "um (gato:0.4) vermelho", weighting="down_weight")
    plain, without = reference(sd, "um gato vermelho")[0], reference(sd, "um + vermelho")[0]
    torch.testing.assert_close(inputs["prompt_embeds"], 0.4 * plain + 0.6 * without, rtol=0, atol=1e-6)


def test_normalizer_changes_the_weights_before_the_method(sd):
    inputs = encode(sd, "um (gato:1.4) (vermelho:0.8)", weighting="scale normalizer=length+mean")
    lengthened = np.array([1, 1.4, *[1 - 0.2 / np.sqrt(3)] * 3])
    weights = np.ones(77)
    weights[1:6] = lengthened + 1 - lengthened.mean()
    expected = reference(sd, "um gato vermelho")[0][0].numpy() * weights[:, None]
    np.testing.assert_allclose(inputs["prompt_embeds"][0].numpy(), expected, atol=2e-6)


def test_a1111_with_a_factor_out_of_range_warns_and_scales(make_sd):
    pipe = make_sd()
    plain = reference(pipe, "um gato")[0]
    weights = torch.ones(77, 1)
    weights[2] = 20
    pipe.text_encoder.final_layer_norm.bias -= (plain * weights).sum() / (weights.sum() * 32)
    encoded = encode_prompts(pipe, "um (gato:20)", weighting="a1111")
    assert [warning.code for warning in encoded.warnings] == ["a1111-not-renormalized"]
    torch.testing.assert_close(encoded.inputs["prompt_embeds"], reference(pipe, "um gato")[0] * weights)


def test_word_weighted_in_attention_leaves_the_embeddings_plain(sd):
    encoded = encode_prompts(sd, "um (gato:1.4{weighting=attention})")
    assert same_bits(encoded.inputs["prompt_embeds"], reference(sd, "um gato")[0])
    assert encoded.positive[0].find("gato")[0].weight == 1.4
    (warning,) = encoded.warnings
    assert warning.code == "word-attention"
    assert warning.fields == {"word": "gato", "weighting": "attention"}
    in_session = encode_prompts(sd, "um (gato:1.4{weighting=attention})", in_session=True)
    assert in_session.warnings == ()
    assert same_bits(in_session.inputs["prompt_embeds"], encoded.inputs["prompt_embeds"])


@pytest.mark.parametrize(
    ("prompt", "method", "code"),
    [
        ("[gato:rato:0.5]", None, "first-step-only"),
        ("um gato AND um rato", None, "and-concatenated"),
        ("um (gato:1.4{region=left})", None, "word-options-embeddings"),
        ("um (gato:1.4{weighting=embedding})", "none", "word-embedding-unused"),
    ],
)
def test_prompts_beyond_one_set_of_embeddings_warn(prompt, method, code, sd):
    (warning,) = encode_prompts(sd, prompt, weighting=method).warnings
    assert warning.code == code


def test_word_with_weighting_embedding_acts_as_without(sd):
    explicit, plain = (
        encode_prompts(sd, f"um (gato:1.4{options})") for options in ("{weighting=embedding}", "")
    )
    assert same_bits(explicit.inputs["prompt_embeds"], plain.inputs["prompt_embeds"])
    assert explicit.warnings == ()


def test_parsed_prompts_keep_their_dialect(sd):
    prompt = parse("um (gato:1.2)", "plain").at()
    assert same_bits(encode(sd, prompt)["prompt_embeds"], reference(sd, "um (gato:1.2)")[0])
    assert same_bits(
        encode(sd, "um (gato:1.2)", dialect="plain")["prompt_embeds"], encode(sd, prompt)["prompt_embeds"]
    )


def test_textual_inversion_of_several_vectors_equals_the_pipelines_embeddings(make_sd):
    pipe = make_sd()
    pipe.load_textual_inversion(torch.randn(3, 32, generator=torch.Generator().manual_seed(1)), token="<toy>")
    inputs = encode(pipe, "um <toy> vermelho", "<toy>")
    prompt_embeds, negative_prompt_embeds = reference(pipe, "um <toy> vermelho", "<toy>")
    assert same_bits(inputs["prompt_embeds"], prompt_embeds)
    assert same_bits(inputs["negative_prompt_embeds"], negative_prompt_embeds)
    table = encode_prompts(pipe, "um (<toy>:1.5) vermelho").positive[0]
    assert (table.find("<toy>")[0].positions, table.weights[2:5]) == ((2, 3, 4), [1.5] * 3)


def test_image_from_embeddings_equals_image_from_prompts(sd):
    settings = {"num_inference_steps": 2, "output_type": "np", "height": 8, "width": 8}
    expected = sd("um gato", negative_prompt="feio", generator=torch.Generator().manual_seed(3), **settings)
    image = sd(**encode(sd, "um gato", "feio"), generator=torch.Generator().manual_seed(3), **settings)
    assert np.array_equal(image.images, expected.images)


@pytest.mark.parametrize(
    ("prompt", "negative", "message"),
    [
        ([], "", "at least one prompt; got an empty list"),
        (["a", "b", "c"], ["d", "e"], "must hold 1 or 3 prompts, .*; got 2"),
        (["a", 7], "", "prompt 1 must be text or a Prompt; got int"),
        (7, "", "prompt must be text, .*; got int"),
        ({"prompt_embeds": None}, "", "got dict; pass encoded prompts to the pipeline"),
    ],
)
def test_invalid_prompts_raise(prompt, negative, message, sd):
    with pytest.raises(SettingError, match=message):
        encode(sd, prompt, negative)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weighting": "magic"}, "weighting must be one of: none, .*; got 'magic'"),
        ({"weighting": "scale normalizer=magic"}, "normalizer must be one of: none, .*; got 'magic'"),
        ({"weighting": "pooled=magic"}, "pooled must be one of: clean, weighted; got 'magic'"),
        ({"weighting": 7}, "weighting must be a Weighting, text or None; got int"),
        ({"dialect": "magic"}, "magic"),
        ({"max_sequence_length": 256}, "max_sequence_length must be None for Stable Diffusion 1 and 2"),
    ],
)
def test_invalid_settings_raise(settings, message, sd):
    with pytest.raises(SettingError, match=message):
        encode(sd, "um gato", **settings)


def test_unsupported_pipeline_raises_with_the_supported_ones():
    with pytest.raises(
        ModelError, match=r"object is not a supported pipeline; supported: Stable Diffusion 1 and 2: Stable"
    ):
        encode(object(), "um gato")


def test_pipeline_without_text_encoder_raises(make_sd):
    pipe = make_sd()
    pipe.text_encoder = None
    with pytest.raises(ModelError, match="loaded without the text encoders"):
        encode(pipe, "um gato")


def test_subclass_of_a_pipeline_has_its_family(make_sd):
    class Subclass(diffusers.StableDiffusionPipeline):
        pass

    pipe = make_sd()
    pipe.__class__ = Subclass
    assert same_bits(encode(pipe, "um gato")["prompt_embeds"], reference(pipe, "um gato")[0])
