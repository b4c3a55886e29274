"""Weights in attention against softmax(logits + log w) in float64."""

import pytest
import torch

from promptweight.attention import attach


class Eager:
    """Cross-attention in float64: probabilities times |weights|, renormalized; the signs on the values."""

    def __init__(self, weights):
        self.weights = weights.double()[:, None, None]

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        split = lambda tensor: tensor.double().unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # noqa: E731
        query, key = split(attn.to_q(hidden_states)), split(attn.to_k(encoder_hidden_states))
        value = split(attn.to_v(encoder_hidden_states))
        scores = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).exp() * self.weights.abs()
        mixed = scores / scores.sum(-1, keepdim=True) * self.weights.sign()
        return attn.to_out[0]((mixed @ value).to(hidden_states.dtype).transpose(1, 2).flatten(2))


def one_call(pipe, encoded, weights=None, **options):
    """Return the UNet's output for [negative, positive], attached or with the test's own attention."""
    generator = torch.Generator().manual_seed(0)
    embeds = torch.cat([encoded.inputs["negative_prompt_embeds"], encoded.inputs["prompt_embeds"]])
    sample = torch.randn(len(embeds), 4, 16, 16, generator=generator)
    with torch.no_grad():
        if weights is None:
            with attach(pipe, encoded, **options) as session:
                return pipe.unet(sample, 300, encoder_hidden_states=embeds).sample, session
        layers = [module for name, module in pipe.unet.named_modules() if name.endswith("attn2")]
        before = [layer.processor for layer in layers]
        for layer in layers:
            layer.processor = Eager(weights)
        output = pipe.unet(sample, 300, encoder_hidden_states=embeds).sample
        for layer, processor in zip(layers, before, strict=True):
            layer.processor = processor
        return output


@pytest.mark.parametrize(
    ("prompt", "negative"),
    [
        ("um gato:1.4 vermelho", "feio"),
        ("um gato:0.3 vermelho:2.5", "feio:1.7"),
        ("um gato:0 vermelho", "feio:0"),
        ("um gato:-1 vermelho:-0.4", "feio:-2"),
        ("um:0 gato:0 vermelho:0", "feio"),
        ("um gato:1000 vermelho", "feio"),
    ],
)
def test_unet_output_matches_the_weighted_softmax(pipe, tiny, prompt, negative):
    encoded = tiny.encode(prompt, "uma casa:1.2", negative=negative, weighting="attention")
    weights = torch.tensor([table.weights for table in (*encoded.negative, *encoded.positive)])
    actual, _ = one_call(pipe, encoded)
    assert torch.allclose(actual, one_call(pipe, encoded, weights), atol=2e-5)
    assert not torch.allclose(actual, one_call(pipe, encoded, torch.ones_like(weights)), atol=2e-5)


def test_weight_zero_masks_a_word_and_larger_weights_raise_its_mass(pipe, tiny):
    maps = {}
    for weight in (0, 0.5, 1, 2, -2):
        _, session = one_call(pipe, tiny.encode(f"um gato:{weight} vermelho", weighting="attention"))
        maps[weight] = session.maps.word("gato").mass
    assert maps[0] == 0
    assert maps[0.5] < maps[1] < maps[2]
    assert maps[0.5] < maps[-2]


@pytest.mark.parametrize(("at", "near"), [(0, 1e-9), (0, -1e-9), (1, 1 + 1e-7), (1, 1 - 1e-7)])
def test_output_is_continuous_in_the_weight(pipe, tiny, at, near):
    exact, _ = one_call(pipe, tiny.encode(f"um gato:{at:.12f} vermelho", weighting="attention"))
    close, _ = one_call(pipe, tiny.encode(f"um gato:{near:.12f} vermelho", weighting="attention"))
    assert torch.allclose(exact, close, atol=1e-5)


def test_weights_act_in_half_precision(tiny):
    pipe = tiny.pipeline(torch.bfloat16)
    encoded = tiny.encode("um gato:0 vermelho:1.5", dtype=torch.bfloat16, weighting="attention")
    with attach(pipe, encoded) as session:
        tiny.run(pipe, session.inputs)
    assert session.maps.word("gato").mass == 0
    assert session.maps.word("vermelho").mass > 0


def test_set_weight_before_the_run_equals_a_weight_in_the_prompt(pipe, tiny):
    with_weights, without = (
        tiny.encode("um gato:1.7 vermelho", negative="feio:0.5", weighting="attention"),
        tiny.encode("um gato vermelho", weighting="attention"),
    )
    with attach(pipe, with_weights) as session:
        expected = tiny.run(pipe, session.inputs)
    with attach(pipe, without) as session:
        session.set_weight("gato", 1.7)
        session.set_weight("feio", 0.5, role="negative")
        assert torch.equal(tiny.run(pipe, session.inputs), expected)
        session.set_weight("gato", 1)
        session.set_weight("feio", 1, role="negative")
        assert torch.equal(tiny.run(pipe, session.inputs), tiny.run(pipe, without.inputs))


def test_set_weight_during_the_run_acts_from_the_next_step(pipe, tiny):
    encoded = tiny.encode("um gato vermelho", weighting="attention")
    latents = {}

    def watch(session, at):
        def callback(_pipe, step, _timestep, tensors):
            latents[at, step] = tensors["latents"].clone()
            if step == at:
                session.set_weight("gato vermelho", 3)
            return tensors

        return callback

    for at in (-1, 0):
        with attach(pipe, encoded) as session:
            tiny.run(pipe, session.inputs, callback_on_step_end=watch(session, at))
    assert torch.equal(latents[0, 0], latents[-1, 0])
    assert not torch.allclose(latents[0, 1], latents[-1, 1], atol=1e-5)
