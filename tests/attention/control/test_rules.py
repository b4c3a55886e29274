"""Rules by step and region, and model outputs under them, against attention in float64."""

import math

import pytest
import torch

from promptweight.attention import Record, attach
from promptweight.attention.control.rules import KeyRule, KeyRules
from promptweight.errors import SettingError
from promptweight.weighting import MASK_BIAS

CPU = torch.device("cpu")


class Eager:
    """Cross-attention in float64 with any weights (batch, heads, queries, keys) on the probabilities."""

    def __init__(self, weights, *, renormalize):
        self.weights, self.renormalize = weights.double(), renormalize

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        split = lambda tensor: tensor.double().unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # noqa: E731
        query, key = split(attn.to_q(hidden_states)), split(attn.to_k(encoder_hidden_states))
        value = split(attn.to_v(encoder_hidden_states))
        scores = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
        weighted = scores * self.weights.abs() if self.renormalize else scores * self.weights
        if self.renormalize:
            weighted = weighted / weighted.sum(-1, keepdim=True) * self.weights.sign()
        return attn.to_out[0]((weighted @ value).to(hidden_states.dtype).transpose(1, 2).flatten(2))


def test_key_rule_weight_at_each_step():
    def over(count, **settings):
        return [KeyRule(**settings).weight_at(step, count) for step in range(count)]

    assert over(3, weight=2) == [2, 2, 2]
    assert over(4, weight=2, steps=(0, 0.5)) == [2, 2, 1, 1]
    assert over(4, weight=2, steps=(0.5, 1)) == [1, 1, 2, 2]
    assert over(10, weight=2, steps=(0.2, 0.8)) == [1, 1, 2, 2, 2, 2, 2, 2, 1, 1]
    assert over(5, weight=2, steps=((0, 1), (1, 0))) == [2, 1.5, 1, 0.5, 0]
    assert over(5, weight=2, steps=((0, 1), (0.5, 3), (0.8, 0))) == pytest.approx([2, 62 / 15, 16 / 3, 0, 1])
    assert over(1, weight=2, steps=((0, 1), (1, 0))) == [2]


def test_key_rule_refuses_invalid_values():
    for settings, message in [
        ({"weight": math.inf}, "weight must be a finite number; got inf"),
        ({"layers": "a b"}, "layers must be parts of layer names without spaces"),
        ({"weighting": "scale"}, "weighting must be one of: attention, attention-p2p, kjnodes; got 'scale'"),
        ({"steps": (0.5, 0.5)}, r"steps must be two increasing .*; got \(0.5, 0.5\)"),
    ]:
        with pytest.raises(SettingError, match=message):
            KeyRule(**settings)


def test_terms_are_none_without_active_rules():
    rules = KeyRules([{1: KeyRule(2, steps=(0.5, 1))}, {2: KeyRule(1)}], 4)
    assert rules.terms_at([0, 1], 0, 2, (2, 2), CPU).bias is None
    assert rules.terms_at([None, 1], 1, 2, (2, 2), CPU).bias is None
    bias = rules.terms_at([0, None], 1, 2, (2, 2), CPU).bias
    assert bias.shape == (2, 1, 1, 4)
    assert bias.dtype == torch.float32
    assert bias[:, 0, 0].tolist() == [pytest.approx([0, math.log(2), 0, 0]), [0, 0, 0, 0]]


def test_terms_are_cached_until_a_rule_changes():
    rules = KeyRules([{1: KeyRule(2)}], 4)
    first = rules.terms_at([0], 0, 2, (2, 2), CPU)
    assert rules.terms_at([0], 1, 2, (2, 2), CPU) is first
    rules.set(0, {1, 2}, weight=0)
    assert rules.terms_at([0], 1, 2, (2, 2), CPU).bias.flatten().tolist() == [0, MASK_BIAS, MASK_BIAS, 0]
    rules.set(0, {2}, weight=-3, region="left")
    changed = rules.terms_at([0], 1, 2, (1, 2), CPU)
    assert changed.bias[0, 0, :, 2].tolist() == pytest.approx([math.log(3), 0])
    assert changed.local_columns.tolist() == [[2]]
    assert changed.local_excess.flatten().tolist() == [-2, 0]


@pytest.fixture
def one_grid(tiny):
    """A pipeline whose cross-attention layers all have the grid of the latents."""
    return tiny.pipeline(
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        mid_block_type=None,
    )


def both_outputs(pipe, encoded, weights, *, renormalize, change=None, **options):
    """Return the UNet's output in a session, and with these weights in float64 attention."""
    embeds = torch.cat([encoded.inputs["negative_prompt_embeds"], encoded.inputs["prompt_embeds"]])
    sample = torch.randn(len(embeds), 4, 12, 20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        with attach(pipe, encoded, **options) as session:
            if change:
                change(session)
            actual = pipe.unet(sample, 300, encoder_hidden_states=embeds).sample
        plain = pipe.unet(sample, 300, encoder_hidden_states=embeds).sample
        for name, module in pipe.unet.named_modules():
            if name.endswith("attn2"):
                module.processor = Eager(weights, renormalize=renormalize)
        expected = pipe.unet(sample, 300, encoder_hidden_states=embeds).sample
    assert not torch.allclose(actual, plain, atol=1e-4)
    return actual, expected


@pytest.mark.parametrize("weight", [2.5, 0, -1])
def test_p2p_weights_match_float64(one_grid, tiny, weight):
    encoded = tiny.encode(f"um gato:{weight} vermelho", weighting="attention-p2p")
    weights = torch.ones(2, 1, 1, tiny.rows)
    weights[1, ..., 2] = weight
    actual, expected = both_outputs(one_grid, encoded, weights, renormalize=False)
    assert torch.allclose(actual, expected, atol=2e-5)


@pytest.mark.parametrize("weight", [3, 1.25, 0.5, 0, -1])
@pytest.mark.parametrize("region", [None, "left"])
def test_kjnodes_weights_match_float64(one_grid, tiny, weight, region):
    encoded = tiny.encode("um gato vermelho", weighting="kjnodes")
    weights = torch.ones(2, 1, 12, 20, tiny.rows)
    cells = slice(None) if region is None else slice(10)
    weights[1, :, :, cells, 2] = math.exp(2 * (weight - 1)) if weight > 1 else weight
    actual, expected = both_outputs(
        one_grid,
        encoded,
        weights.flatten(2, 3),
        renormalize=weight > 1,
        change=lambda session: session.set_weight("gato", weight, region=region),
    )
    assert torch.allclose(actual, expected, atol=2e-5)


def test_kjnodes_weight_is_bounded_as_those_of_attention(pipe, tiny):
    with attach(pipe, tiny.encode("um gato:1e9 vermelho", weighting="kjnodes")) as session:
        tiny.run(pipe, session.inputs)
    assert session.maps.word("gato").mass == pytest.approx(1)


@pytest.mark.parametrize("weighting", ["attention", "attention-p2p"])
@pytest.mark.parametrize("weight", [2.5, 0, -1])
@pytest.mark.parametrize("record", [True, False])
def test_weights_in_a_region_match_float64(one_grid, tiny, weighting, weight, record):
    encoded = tiny.encode("um gato vermelho", weighting=weighting)
    weights = torch.ones(2, 1, 12, 20, tiny.rows)
    weights[1, :, :, :10, 2] = weight  # gato
    weights[1, :, 3:, :, 3:5] = 1.5  # vermelho, in two pieces

    def change(session):
        session.set_weight("gato", weight, region="left", weighting=weighting)
        session.set_weight("vermelho", 1.5, region=(0, 0.25, 1, 1), weighting=weighting)

    actual, expected = both_outputs(
        one_grid,
        encoded,
        weights.flatten(2, 3),
        renormalize=weighting == "attention",
        change=change,
        record=record,
    )
    assert torch.allclose(actual, expected, atol=2e-5)


def test_recorded_probabilities_are_of_the_weighted_softmax(one_grid, tiny):
    encoded = tiny.encode("um gato vermelho")
    embeds = encoded.inputs["prompt_embeds"]
    with attach(one_grid, encoded) as session, torch.no_grad():
        session.set_weight("gato", 0, region="left")
        session.set_weight("vermelho", -2, region="top", weighting="attention")
        one_grid.unet(torch.ones(1, 4, 12, 20), 300, encoder_hidden_states=embeds)
    heat = session.maps.recording.slots[0].sums[0, 0, 0, 0].unflatten(0, (12, 20))
    gato = session.maps.recording.columns(("positive", 0))[2]
    assert heat[:, :10, gato].max() == 0
    assert heat[:, 10:, gato].min() > 0


def test_weights_act_only_in_chosen_layers(pipe, tiny):
    encoded = tiny.encode("um gato:0 vermelho", weighting="attention layers=up_blocks")
    with attach(pipe, encoded) as session:
        tiny.run(pipe, session.inputs)
    assert session.maps.layers("up_blocks").word("gato").mass == 0
    assert session.maps.layers("down_blocks").word("gato").mass > 0
    with pytest.raises(SettingError, match="of which none matches"):
        attach(pipe, tiny.encode("um gato", weighting="attention layers=sideways"))


def test_options_in_the_prompt_act(pipe, tiny):
    """Steps and region as options in the prompt; weight 0 in the first half of the run, or of the image."""
    encoded = tiny.encode("um gato:0{steps=0-0.5} vermelho", weighting="attention")
    with attach(pipe, encoded, record=Record(steps="keep")) as session:
        tiny.run(pipe, session.inputs, num_inference_steps=4)
    masses = [session.maps.steps(step, step + 1).word("gato").mass for step in range(4)]
    assert masses[:2] == [0, 0]
    assert min(masses[2:]) > 0

    encoded = tiny.encode("um gato:0{region=left} vermelho", weighting="attention")
    with attach(pipe, encoded) as session:
        tiny.run(pipe, session.inputs)
    gato = session.maps.recording.columns(("positive", 0))[2]
    slots = [slot for slot in session.maps.recording.slots if slot.grid == "16x16"]
    assert slots
    for slot in slots:
        cells = slot.sums[:, 0, 0, :, :, gato].unflatten(-1, (16, 16))
        assert cells[..., :8].max() == 0
        assert cells[..., 8:].min() > 0


def test_weighting_of_a_word_overrides_the_session(pipe, tiny):
    encoded = tiny.encode("um gato:0{weighting=attention} vermelho:0")
    with attach(pipe, encoded) as session:
        tiny.run(pipe, session.inputs)
    assert session.maps.word("gato").mass == 0
    assert session.maps.word("vermelho").mass > 0
    assert session.warnings == []
