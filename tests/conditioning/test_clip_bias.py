"""Weights inside CLIP text encoders against their layers computed in float64."""

import math

import pytest
import torch

from promptweight.conditioning import encode, encode_prompts, find_family, get_text_encoders
from promptweight.errors import SettingError
from promptweight.prompt import parse
from promptweight.weighting import KEY_WEIGHTINGS


def split_heads(projection, states, heads):
    return projection(states).unflatten(-1, (heads, -1)).transpose(1, 2)


@torch.no_grad()
def encode_in_float64(model, ids, weights, up_to=None):
    """Return the states of a CLIP text encoder after `up_to` layers, or the normalized last states."""
    model = getattr(model, "text_model", model).double()
    states = model.embeddings(torch.tensor([ids]))
    weights = torch.tensor(weights, dtype=torch.float64)
    later = torch.ones(len(ids), len(ids), dtype=torch.bool).triu(1)
    for layer in model.encoder.layers[:up_to]:
        attn, normed = layer.self_attn, layer.layer_norm1(states)
        query, key, value = (
            split_heads(each, normed, attn.num_heads) for each in (attn.q_proj, attn.k_proj, attn.v_proj)
        )
        logits = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        shares = logits.exp().masked_fill(later, 0) * weights.abs()
        mixed = (shares / shares.sum(-1, keepdim=True) * weights.sign()) @ value
        states = states + attn.out_proj(mixed.transpose(1, 2).flatten(2))
        states = states + layer.mlp(layer.layer_norm2(states))
    states = states if up_to else model.final_layer_norm(states)
    model.float()
    return states[0].float()


@pytest.mark.parametrize(
    ("prompt", "weights"),
    [
        ("um (gato:1.4) vermelho", {"gato": 1.4}),
        ("um (gato:0) vermelho", {"gato": 0}),
        ("um (gato:-1.5) (vermelho:0.3)", {"gato": -1.5, "vermelho": 0.3}),
        ("(um gato:1000)", {"um": 1000, "gato": 1000}),
    ],
)
def test_clip_weights_equal_weighted_attention_in_float64(prompt, weights, make_sd):
    pipe = make_sd()
    encoded = encode_prompts(pipe, prompt, weighting="clip-attention")
    (table,) = encoded.positive
    row_weights = [1.0] * 77
    for word in table.words:
        for position in word.positions:
            row_weights[position] = weights.get(word.text, 1.0)
    wanted = encode_in_float64(pipe.text_encoder, table.ids[0], row_weights)
    found = encoded.inputs["prompt_embeds"][0]
    assert encoded.warnings == ()
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-5)
    plain = encode(pipe, table.prompt.text)["prompt_embeds"][0]
    assert torch.equal(found[0], plain[0])  # the first token precedes the word
    assert (found - plain)[2:].abs().max() > 1e-2
    assert not any(module._forward_hooks for module in pipe.text_encoder.modules())


@torch.no_grad()
def test_clip_weights_on_sdxl_equal_an_attention_mask_of_log_w(make_sdxl):
    pipe = make_sdxl()
    encoded = encode_prompts(pipe, "um (gato:1.4) vermelho", weighting="clip-attention pooled=weighted")
    rows = []
    for tokenizer, model in (
        (pipe.tokenizer, pipe.text_encoder),
        (pipe.tokenizer_2, pipe.text_encoder_2),
    ):
        ids = tokenizer("um gato vermelho", padding="max_length", return_tensors="pt").input_ids
        mask = torch.full((77, 77), -torch.inf).triu(1)
        mask[2:, 2] = math.log(1.4)
        output = model(ids, attention_mask=mask[None, None], output_hidden_states=True)
        rows.append(output.hidden_states[-2])
        torch.testing.assert_close(
            rows[-1][0],
            encode_in_float64(model, ids[0].tolist(), [1, 1, 1.4] + [1] * 74, 2),
            rtol=0,
            atol=2e-5,
        )
    torch.testing.assert_close(encoded.inputs["prompt_embeds"], torch.cat(rows, -1), rtol=0, atol=1e-5)
    torch.testing.assert_close(encoded.inputs["pooled_prompt_embeds"], output.text_embeds, rtol=0, atol=1e-5)
    clean = encode(pipe, "um (gato:1.4) vermelho", weighting="clip-attention")
    assert torch.equal(
        clean["pooled_prompt_embeds"], encode(pipe, "um gato vermelho")["pooled_prompt_embeds"]
    )


@pytest.mark.parametrize(
    "prompt", ["um gato vermelho", "um (gato:1) (vermelho:1.0{weighting=clip-attention})", ""]
)
def test_clip_weights_of_one_equal_the_plain_encoding(prompt, sd, sdxl, sd3, flux):
    for pipe in (sd, sdxl, sd3, flux):
        inside = encode(pipe, prompt, "(feio:1)", weighting="clip-attention pooled=weighted normalizer=mean")
        plain = encode(pipe, "um gato vermelho" if prompt else "", "feio")
        assert set(inside) == set(plain)
        assert all(torch.equal(inside[name], plain[name]) for name in plain)


@pytest.mark.parametrize(("at", "near"), [("0", "1e-9"), ("0", "-1e-9"), ("1", "1.0000001")])
def test_clip_weights_near_zero_and_one_are_continuous(at, near, sd):
    exact, close = (
        encode(sd, f"um (gato:{each}) x", weighting="clip-attention")["prompt_embeds"] for each in (at, near)
    )
    torch.testing.assert_close(exact, close, rtol=0, atol=1e-5)


def test_clip_weight_zero_hides_the_word_from_later_tokens(sd):
    gato, x = (
        encode(sd, f"um ({word}:0) vermelho", weighting="clip-attention")["prompt_embeds"][0]
        for word in ("gato", "x")
    )
    assert gato.isfinite().all()
    assert not torch.allclose(gato[2], x[2], atol=1e-2)
    torch.testing.assert_close(gato[3:], x[3:], rtol=0, atol=1e-5)


def test_weighting_of_a_word_overrides_that_of_the_call(sd):
    """One word acts inside CLIP, one in the embeddings, and one in attention only."""
    inside = encode(sd, "um (gato:1.4) vermelho", weighting="clip-attention")["prompt_embeds"][0]
    prompt = "(um:0.7{weighting=attention}) (gato:1.4{weighting=clip-attention}) (vermelho:2)"
    encoded = encode_prompts(sd, prompt, weighting="scale")
    found = encoded.inputs["prompt_embeds"][0]
    red = [position for word in encoded.positive[0].find("vermelho") for position in word.positions]
    others = [row for row in range(77) if row not in red]
    assert torch.equal(found[others], inside[others])
    assert torch.equal(found[red], inside[red] * 2)


def test_clip_weights_of_a_chunk_leave_other_chunks_unchanged(sd):
    long = encode(sd, "um (gato:1.4) BREAK um (gato:0.5) BREAK um gato", weighting="clip-attention")[
        "prompt_embeds"
    ][0]
    for chunk, weight in enumerate(("1.4", "0.5", "1")):
        alone = encode(sd, f"um (gato:{weight})", weighting="clip-attention")["prompt_embeds"][0]
        assert torch.equal(long[chunk * 77 : (chunk + 1) * 77], alone)


@pytest.mark.parametrize("clip_skip", [0, 1])
def test_clip_weights_with_clip_skip_equal_inner_states_in_float64(clip_skip, make_sd):
    pipe = make_sd()
    encoded = encode_prompts(pipe, "um (gato:1.4)", weighting="clip-attention", clip_skip=clip_skip)
    (table,) = encoded.positive
    states = encode_in_float64(pipe.text_encoder, table.ids[0], table.weights, 3 - clip_skip)
    with torch.no_grad():
        wanted = pipe.text_encoder.final_layer_norm(states)
    torch.testing.assert_close(encoded.inputs["prompt_embeds"][0], wanted, rtol=0, atol=2e-5)


@pytest.mark.parametrize("implementation", ["eager", "flex_attention"])
def test_clip_weights_with_other_attention_implementations_restore_them(implementation, make_sd):
    pipe = make_sd()
    wanted = encode(pipe, "um (gato:-1.4)", weighting="clip-attention")["prompt_embeds"]
    pipe.text_encoder.set_attn_implementation(implementation)
    (encoder,) = get_text_encoders(pipe, find_family(pipe)).values()
    table = encoder.tokenize(parse("um (gato:-1.4)").at())
    with torch.no_grad():
        found = encoder.encode_chunk(table, 0, clip_weights=torch.tensor(table.weights)).rows
    torch.testing.assert_close(found, wanted[0], rtol=0, atol=1e-5)
    assert pipe.text_encoder.config._attn_implementation == implementation


def test_clip_weights_in_half_precision_are_finite_and_close(make_sd):
    pipe = make_sd()
    wanted = encode(pipe, "um (gato:1.4) (x:0)", weighting="clip-attention")["prompt_embeds"]
    found = encode(pipe.to(torch.bfloat16), "um (gato:1.4) (x:0)", weighting="clip-attention")[
        "prompt_embeds"
    ]
    assert found.dtype == torch.bfloat16
    assert found.isfinite().all()
    assert (found.float() - wanted).abs().mean() < 0.1 * wanted.abs().mean()


def test_clip_attention_warns_about_encoders_without_weights(sd3, flux):
    encoded = encode_prompts(sd3, "um (gato:1.4)", weighting="clip-attention", max_sequence_length=16)
    plain = encode(sd3, "um gato", max_sequence_length=16)["prompt_embeds"]
    assert torch.equal(encoded.inputs["prompt_embeds"][:, 77:], plain[:, 77:])
    assert not torch.equal(encoded.inputs["prompt_embeds"][:, :77], plain[:, :77])
    assert [warning.code for warning in encoded.warnings] == ["clip-attention-other-encoder"]
    without_pooled = encode_prompts(flux, "um (gato:1.4)", weighting="clip-attention", max_sequence_length=16)
    codes = [warning.code for warning in without_pooled.warnings]
    assert codes == ["clip-attention-other-encoder", "clip-attention-pooled"]
    weighted = encode_prompts(
        flux, "um (gato:1.4)", weighting="clip-attention pooled=weighted", max_sequence_length=16
    )
    assert len(weighted.warnings) == 1
    plain = encode(flux, "um gato", max_sequence_length=16)["pooled_prompt_embeds"]
    assert not torch.equal(weighted.inputs["pooled_prompt_embeds"], plain)
    assert encode_prompts(sd3, "um gato", weighting="clip-attention", max_sequence_length=16).warnings == ()


def test_clip_attention_warns_about_options_and_attention_needs_a_session(sd):
    (warning,) = encode_prompts(sd, "um (gato:1.4{weighting=clip-attention, region=left})").warnings
    assert warning.code == "word-options-text-encoder"
    assert warning.fields["word"] == "gato"
    for weighting in KEY_WEIGHTINGS:
        with pytest.raises(
            SettingError, match=f"'{weighting}' acts in the denoiser's attention.* use .*attach"
        ):
            encode(sd, "um gato", weighting=weighting)
