import diffusers
import numpy as np
import pytest
import torch

from promptweight.conditioning import encode, encode_prompts
from promptweight.errors import ModelError, SettingError
from promptweight.prompt import parse
from promptweight.weighting.methods import METHODS

PLAIN = ["", "um gato vermelho", "Coração 🐱, um\ngato!", "x " * 75]


def own(pipe, prompt, negative="", **settings):
    """What the pipeline itself makes of one prompt."""
    with torch.no_grad():
        return pipe.encode_prompt(prompt, torch.device("cpu"), 1, True, negative, **settings)


def same_bits(first, second):
    return first.dtype == second.dtype and torch.equal(first, second)


@pytest.mark.parametrize("prompt", PLAIN)
@pytest.mark.parametrize("negative", ["", "feio, borrado"])
def test_plain_prompts_are_the_pipelines_own(prompt, negative, sd):
    prompt_embeds, negative_prompt_embeds = own(sd, prompt, negative)
    inputs = encode(sd, prompt, negative)
    assert set(inputs) == {"prompt_embeds", "negative_prompt_embeds"}
    assert same_bits(inputs["prompt_embeds"], prompt_embeds)
    assert same_bits(inputs["negative_prompt_embeds"], negative_prompt_embeds)


@pytest.mark.parametrize("method", [None, *METHODS])
def test_weights_of_one_are_the_pipelines_own(method, sd):
    inputs = encode(sd, "um (gato:1) (vermelho:1.0)", "(feio:1)", method=method, normalizer="length+mean")
    prompt_embeds, negative_prompt_embeds = own(sd, "um gato vermelho", "feio")
    assert same_bits(inputs["prompt_embeds"], prompt_embeds)
    assert same_bits(inputs["negative_prompt_embeds"], negative_prompt_embeds)


def test_no_negative_prompt_is_an_empty_one(sd):
    assert same_bits(encode(sd, "um gato", None)["negative_prompt_embeds"], own(sd, "um gato", None)[1])


def test_half_precision_keeps_its_type(make_sd):
    pipe = make_sd().to(torch.bfloat16)
    inputs = encode(pipe, "um gato", "feio")
    assert same_bits(inputs["prompt_embeds"], own(pipe, "um gato")[0])
    assert encode(pipe, "um (gato:1.3)")["prompt_embeds"].dtype == torch.bfloat16


def test_an_attention_mask_is_used_where_the_encoder_asks_for_it(make_sd):
    masked = make_sd()
    masked.text_encoder.config.use_attention_mask = True
    inputs = encode(masked, "um gato", "feio")
    prompt_embeds, negative_prompt_embeds = own(masked, "um gato", "feio")
    assert same_bits(inputs["prompt_embeds"], prompt_embeds)
    assert same_bits(inputs["negative_prompt_embeds"], negative_prompt_embeds)
    assert not torch.equal(prompt_embeds, own(make_sd(), "um gato")[0])


@pytest.mark.parametrize("clip_skip", [0, 1, 3])
def test_clip_skip_is_the_pipelines_own(clip_skip, make_sd):
    pipe = make_sd()
    inputs = encode(pipe, "um gato", "feio", clip_skip=clip_skip)
    # CLIPTextModel kept its layers in `text_model` up to transformers 5.5; the pipeline still looks there.
    object.__setattr__(pipe.text_encoder, "text_model", pipe.text_encoder)
    prompt_embeds, negative_prompt_embeds = own(pipe, "um gato", "feio", clip_skip=clip_skip)
    assert same_bits(inputs["prompt_embeds"], prompt_embeds)
    assert same_bits(inputs["negative_prompt_embeds"], negative_prompt_embeds)
    assert torch.equal(prompt_embeds, own(pipe, "um gato")[0]) == (clip_skip == 0)


@pytest.mark.parametrize(
    ("clip_skip", "message"),
    [(4, "allows 0 to 3"), (-1, "a whole number from 0"), (1.5, "a whole number from 0")],
)
def test_clip_skip_out_of_range(clip_skip, message, sd):
    with pytest.raises(SettingError, match=message):
        encode(sd, "um gato", clip_skip=clip_skip)


@pytest.mark.parametrize("method", [None, *METHODS])
def test_a_prompt_does_not_depend_on_its_batch_mates(method, sd):
    prompts = ["um (gato:1.4) [vermelho]", "um " * 200, "", "(coração:0.3), um (gato:-1)"]
    together = encode(sd, prompts, ["feio", "(feio:1.2)", "", "borrado"], method=method)
    assert together["prompt_embeds"].shape == together["negative_prompt_embeds"].shape == (4, 231, 32)
    for row, prompt in enumerate(prompts):
        alone = encode(sd, prompt, method=method)["prompt_embeds"][0]
        assert same_bits(together["prompt_embeds"][row, : len(alone)], alone)


def test_one_negative_prompt_serves_all(sd):
    inputs = encode(sd, ["um gato", "um"], "(feio:1.2)")
    alone = encode(sd, "um", "(feio:1.2)")["negative_prompt_embeds"]
    assert same_bits(inputs["negative_prompt_embeds"], alone.expand(2, -1, -1))


def test_long_prompts_are_chunks_each_read_by_itself(sd):
    long = encode_prompts(sd, "um " * 100 + "(gato:1.5)", "feio", method="scale")
    first, second = own(sd, "um " * 75)[0], own(sd, "um " * 25 + "gato")[0]
    assert same_bits(long.inputs["prompt_embeds"][:, :77], first)
    weighted = second.clone()
    weighted[:, 26] *= 1.5
    assert same_bits(long.inputs["prompt_embeds"][:, 77:], weighted)
    assert [table.rows for table in (*long.positive, *long.negative)] == [154, 154]
    negative = long.inputs["negative_prompt_embeds"]
    assert same_bits(negative[:, :77], own(sd, "", "feio")[1])
    assert same_bits(negative[:, 77:], own(sd, "", "")[1])


def test_break_begins_a_chunk(sd):
    inputs = encode(sd, "um gato BREAK um")
    assert same_bits(inputs["prompt_embeds"][:, :77], own(sd, "um gato")[0])
    assert same_bits(inputs["prompt_embeds"][:, 77:], own(sd, "um")[0])


def words_and_weights(table):
    return [(word.text, word.weight) for word in table.words]


def test_a1111_is_the_usual_method(sd):
    encoded = encode_prompts(sd, "um (gato:1.4) [vermelho]")
    plain = own(sd, "um gato vermelho")[0][0].double().numpy()
    weights = np.ones(77)
    weights[2], weights[3:6] = 1.4, 1 / 1.1
    y = plain * weights[:, None]
    expected = y * (plain.mean() / y.mean())
    np.testing.assert_allclose(encoded.inputs["prompt_embeds"][0].numpy(), expected, atol=2e-6)
    assert words_and_weights(encoded.positive[0]) == [("um", 1.0), ("gato", 1.4), ("vermelho", 1 / 1.1)]
    assert encoded.warnings == ()


def test_comfy_starts_from_the_empty_prompt(sd):
    inputs = encode(sd, "um (gato:0.5)", method="comfy")
    plain, empty = own(sd, "um gato")[0][0], own(sd, "")[0][0]
    expected = plain.clone()
    expected[2] = empty[2] + (plain[2] - empty[2]) * 0.5
    torch.testing.assert_close(inputs["prompt_embeds"][0], expected, rtol=0, atol=1e-6)


def test_compel_hides_words_from_the_encoders_attention(sd):
    inputs = encode(sd, "um (gato:0.5) vermelho", method="compel")
    ids = sd.tokenizer("um gato vermelho", padding="max_length", return_tensors="pt").input_ids
    mask = torch.ones_like(ids)
    mask[0, 2] = 0
    empty = own(sd, "")[0]
    weights = torch.ones(77)
    weights[2] = 0.5
    bases = [
        empty + (rows - empty) * weights[:, None]
        for rows in (own(sd, "um gato vermelho")[0], sd.text_encoder(ids, attention_mask=mask)[0])
    ]
    # tan(pi / 4) = 1: both count alike
    torch.testing.assert_close(inputs["prompt_embeds"], (bases[0] + bases[1]) / 2, rtol=0, atol=1e-6)


def test_down_weight_puts_a_neutral_token_in_the_place_of_words(sd):
    inputs = encode(sd, "um (gato:0.4) vermelho", method="down_weight")
    plain, without = own(sd, "um gato vermelho")[0], own(sd, "um + vermelho")[0]
    torch.testing.assert_close(inputs["prompt_embeds"], 0.4 * plain + 0.6 * without, rtol=0, atol=1e-6)


def test_a_normalizer_changes_the_weights_first(sd):
    inputs = encode(sd, "um (gato:1.4) (vermelho:0.8)", method="scale", normalizer="length+mean")
    lengthened = np.array([1, 1.4, *[1 - 0.2 / np.sqrt(3)] * 3])
    weights = np.ones(77)
    weights[1:6] = lengthened + 1 - lengthened.mean()
    expected = own(sd, "um gato vermelho")[0][0].numpy() * weights[:, None]
    np.testing.assert_allclose(inputs["prompt_embeds"][0].numpy(), expected, atol=2e-6)


def test_an_unsound_renormalisation_is_a_warning(make_sd):
    pipe = make_sd()
    plain = own(pipe, "um gato")[0]
    weights = torch.ones(77, 1)
    weights[2] = 20
    pipe.text_encoder.final_layer_norm.bias -= (plain * weights).sum() / (weights.sum() * 32)
    encoded = encode_prompts(pipe, "um (gato:20)")
    assert [warning.split(":")[0] for warning in encoded.warnings] == [
        "the renormalization of a1111 is skipped"
    ]
    torch.testing.assert_close(encoded.inputs["prompt_embeds"], own(pipe, "um gato")[0] * weights)


def test_a_word_may_ask_for_attention_instead(sd):
    encoded = encode_prompts(sd, "um (gato:1.4{mode=logit})")
    assert same_bits(encoded.inputs["prompt_embeds"], own(sd, "um gato")[0])
    assert encoded.positive[0].find("gato")[0].weight == 1.4
    assert encoded.warnings == (
        "'gato' has mode=logit: its weight acts in attention, not in the embeddings",
    )
    assert encode_prompts(sd, "um (gato:1.4{mode=logit})", method="none").warnings == ()


@pytest.mark.parametrize(
    ("prompt", "method", "warning"),
    [
        ("[gato:rato:0.5]", None, "'[gato:rato:0.5]' changes during denoising"),
        ("um gato AND um rato", None, "the 2 AND parts of 'um gato AND um rato' are encoded as one"),
        ("um (gato:1.4{region=left})", None, "'gato' has region=left, which works only in attention"),
        ("um (gato:1.4{mode=embedding})", "none", "'gato' has mode=embedding, but these embeddings"),
    ],
)
def test_what_embeddings_cannot_hold_is_said(prompt, method, warning, sd):
    (said,) = encode_prompts(sd, prompt, method=method).warnings
    assert said.startswith(warning)


def test_a_word_may_ask_for_the_embeddings(sd):
    asked, plain = (encode_prompts(sd, f"um (gato:1.4{options})") for options in ("{mode=embedding}", ""))
    assert same_bits(asked.inputs["prompt_embeds"], plain.inputs["prompt_embeds"])
    assert asked.warnings == ()


def test_parsed_prompts_are_taken_as_they_are(sd):
    prompt = parse("um (gato:1.2)", "plain")
    assert same_bits(encode(sd, prompt)["prompt_embeds"], own(sd, "um (gato:1.2)")[0])
    assert same_bits(
        encode(sd, "um (gato:1.2)", dialect="plain")["prompt_embeds"], encode(sd, prompt)["prompt_embeds"]
    )


def test_textual_inversion_of_several_vectors(make_sd):
    pipe = make_sd()
    pipe.load_textual_inversion(torch.randn(3, 32, generator=torch.Generator().manual_seed(1)), token="<toy>")
    inputs = encode(pipe, "um <toy> vermelho", "<toy>")
    prompt_embeds, negative_prompt_embeds = own(pipe, "um <toy> vermelho", "<toy>")
    assert same_bits(inputs["prompt_embeds"], prompt_embeds)
    assert same_bits(inputs["negative_prompt_embeds"], negative_prompt_embeds)
    table = encode_prompts(pipe, "um (<toy>:1.5) vermelho").positive[0]
    assert (table.find("<toy>")[0].positions, table.weights[2:5]) == ((2, 3, 4), [1.5] * 3)


def test_the_pipeline_draws_the_same_picture_from_them(sd):
    settings = {"num_inference_steps": 2, "output_type": "np", "height": 8, "width": 8}
    own_picture = sd(
        "um gato", negative_prompt="feio", generator=torch.Generator().manual_seed(3), **settings
    )
    picture = sd(**encode(sd, "um gato", "feio"), generator=torch.Generator().manual_seed(3), **settings)
    assert np.array_equal(picture.images, own_picture.images)


@pytest.mark.parametrize(
    ("prompt", "negative", "message"),
    [
        ([], "", "The list of prompts is empty"),
        (["a", "b", "c"], ["d", "e"], "There are 2 negative prompts for 3 prompts; give 1 or 3"),
        (["a", 7], "", "Prompt 1 is a int"),
        (7, "", "The prompt is a int; it must be text"),
        ({"prompt_embeds": None}, "", "The prompt is a dict; .*encoded prompts go to the pipeline itself"),
    ],
)
def test_prompts_that_do_not_fit(prompt, negative, message, sd):
    with pytest.raises(SettingError, match=message):
        encode(sd, prompt, negative)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "magic"}, "'magic' is no method for embeddings"),
        ({"normalizer": "magic"}, "'magic' is no normalizer"),
        ({"pooled": "magic"}, "pooled is 'magic'"),
        ({"dialect": "magic"}, "magic"),
        ({"max_sequence_length": 256}, "max_sequence_length is 256, but Stable Diffusion 1 and 2 reads"),
    ],
)
def test_settings_out_of_range(settings, message, sd):
    with pytest.raises(SettingError, match=message):
        encode(sd, "um gato", **settings)


def test_an_unknown_pipeline_names_what_is_supported():
    with pytest.raises(
        ModelError, match=r"object is not a supported pipeline; supported: Stable Diffusion 1 and 2: Stable"
    ):
        encode(object(), "um gato")


def test_a_pipeline_without_text_encoder_is_refused(make_sd):
    pipe = make_sd()
    pipe.text_encoder = None
    with pytest.raises(ModelError, match="loaded without the text encoders"):
        encode(pipe, "um gato")


def test_a_class_of_the_users_own_is_its_parents_family(make_sd):
    class Mine(diffusers.StableDiffusionPipeline):
        pass

    pipe = make_sd()
    pipe.__class__ = Mine
    assert same_bits(encode(pipe, "um gato")["prompt_embeds"], own(pipe, "um gato")[0])
