"""Weights that are limited to layers or follow a curve over the steps, against attention in float64."""

import numpy as np
import pytest
import torch

from promptweight.attention import Record, attach
from promptweight.errors import SettingError

GATO, VERMELHO = 2, (3, 4)  # positions of the words in "um gato vermelho"; the last one has two tokens


class Eager:
    """Cross-attention in float64; `weights` multiply the exponentials of the positive row's logits."""

    def __init__(self, weights):
        self.weights = weights

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        split = lambda tensor: tensor.double().unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # noqa: E731
        query, key = split(attn.to_q(hidden_states)), split(attn.to_k(encoder_hidden_states))
        value = split(attn.to_v(encoder_hidden_states))
        exponentials = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).exp()
        for position, weight in self.weights.items():
            exponentials[1, ..., position] *= weight
        output = exponentials @ value / exponentials.sum(-1, keepdim=True)
        return attn.to_out[0](output.to(hidden_states.dtype).transpose(1, 2).flatten(2))


def run_eager(tiny, inputs, weights_at, steps):
    """Return the latents of a run whose weights are `weights_at(layer name, step)`."""
    pipe, step = tiny.pipeline(), 0
    eager = {name: Eager({}) for name, module in pipe.unet.named_modules() if name.endswith("attn2")}
    for name, processor in eager.items():
        pipe.unet.get_submodule(name).processor = processor

    def next_step(*_):
        nonlocal step
        for name, processor in eager.items():
            processor.weights = weights_at(name, step)
        step += 1

    pipe.unet.register_forward_pre_hook(next_step)
    return tiny.run(pipe, inputs, num_inference_steps=steps)


def run_session(tiny, encoded, steps, change=None, **options):
    pipe = tiny.pipeline()
    with attach(pipe, encoded, **options) as session:
        if change is not None:
            change(session)
        image = tiny.run(pipe, session.inputs, num_inference_steps=steps)
    return image, session


@pytest.mark.parametrize("record", [True, False])
def test_layers_of_a_word_match_float64(tiny, record):
    prompt = "um gato:3{layers=up_blocks+mid} vermelho:0{layers=down_blocks.0}"
    encoded = tiny.encode(prompt, weighting="attention")
    image, session = run_session(tiny, encoded, 2, record=record)

    def weights_at(layer, _step):
        in_gato = "up_blocks" in layer or "mid" in layer
        in_vermelho = "down_blocks.0" in layer
        return ({GATO: 3.0} if in_gato else {}) | (dict.fromkeys(VERMELHO, 0.0) if in_vermelho else {})

    expected = run_eager(tiny, session.inputs, weights_at, 2)
    plain = run_eager(tiny, session.inputs, lambda *_: {}, 2)
    error = (image - expected).abs().max()
    assert error < 2e-6 * expected.abs().max()
    assert error < 1e-3 * (plain - expected).abs().max()


@pytest.mark.parametrize("steps", [1, 4, 5])
def test_curve_of_a_word_matches_float64(tiny, steps):
    encoded = tiny.encode("um gato:2{steps=0:1.5 0.5:1 1:0.2} vermelho", weighting="attention")
    image, session = run_session(tiny, encoded, steps)

    def weights_at(_layer, step):
        position = step / (steps - 1) if steps > 1 else 0
        return {GATO: 2 * np.interp(position, [0, 0.5, 1], [1.5, 1, 0.2])}

    expected = run_eager(tiny, session.inputs, weights_at, steps)
    plain = run_eager(tiny, session.inputs, lambda *_: {}, steps)
    error = (image - expected).abs().max()
    assert error < 2e-6 * expected.abs().max()
    assert error < 1e-3 * (plain - expected).abs().max()


def test_word_with_layers_or_a_curve_acts_in_attention_by_itself(tiny_pipe):
    plain = attach(tiny_pipe, "um gato e um rato").inputs["prompt_embeds"]
    for options in ("layers=up_blocks", "steps=0:1 1:0.2"):
        session = attach(tiny_pipe, f"um (gato:0.5{{{options}}}) e um rato")
        assert torch.equal(session.inputs["prompt_embeds"], plain)
        assert any(session.config.rules.keys)
        assert session.warnings == []


def test_set_weight_takes_layers_and_curves(tiny):
    in_prompt = tiny.encode("um gato:2{steps=0:1.5 1:0.2,layers=up_blocks} vermelho", weighting="attention")
    plain = tiny.encode("um gato vermelho", weighting="attention")

    def change(session):
        session.set_weight("gato", 2, steps=((0, 1.5), (1, 0.2)), layers="up_blocks")

    assert torch.equal(run_session(tiny, plain, 3, change)[0], run_session(tiny, in_prompt, 3)[0])


def test_layers_set_during_a_run_act_from_the_next_call_on(tiny):
    encoded = tiny.encode("um gato vermelho", weighting="attention")

    def mask(_pipe, step, _timestep, _tensors):
        if step == 0:
            session.set_weight("gato", 0, layers="up_blocks")
        return {}

    pipe = tiny.pipeline()
    with attach(pipe, encoded, record=Record(steps="keep")) as session:
        tiny.run(pipe, session.inputs, num_inference_steps=3, callback_on_step_end=mask)
    masses = {
        part: [session.maps.layers(part).steps(step, step + 1).word("gato").mass for step in range(3)]
        for part in ("up_blocks", "down_blocks")
    }
    assert masses["up_blocks"][0] > 0
    assert masses["up_blocks"][1:] == [0, 0]
    assert min(masses["down_blocks"]) > 0


def test_set_weight_keeps_the_layers_and_steps_of_the_weighting(tiny):
    encoded = tiny.encode("um gato vermelho", weighting="attention layers=up_blocks steps=0.5-1")
    _, session = run_session(
        tiny, encoded, 2, lambda session: session.set_weight("gato", 0), record=Record(steps="keep")
    )
    maps = session.maps
    assert maps.steps(1, 2).layers("up_blocks").word("gato").mass == 0
    assert maps.steps(0, 1).layers("up_blocks").word("gato").mass > 0
    assert maps.layers("down_blocks").word("gato").mass > 0


def test_options_of_a_word_have_precedence_over_the_weighting(tiny):
    encoded = tiny.encode("um gato:0{layers=down_blocks} vermelho:0", weighting="attention layers=up_blocks")
    _, session = run_session(tiny, encoded, 1)
    mass = {
        (part, word): session.maps.layers(part).word(word).mass
        for part in ("up_blocks", "down_blocks")
        for word in ("gato", "vermelho")
    }
    assert mass["down_blocks", "gato"] == mass["up_blocks", "vermelho"] == 0
    assert mass["up_blocks", "gato"] > 0
    assert mass["down_blocks", "vermelho"] > 0


def test_word_with_layers_does_not_change_where_targets_are_measured(tiny):
    encoded = tiny.encode("um gato vermelho:2{layers=down_blocks}", weighting="attention layers=up_blocks")
    _, session = run_session(tiny, encoded, 4, targets={"gato": 0.5})
    shares = session.share_results[0][0].shares
    assert abs(shares[-1] - 0.5) < abs(shares[0] - 0.5)
    plain = run_session(tiny, encoded, 4)[1]
    for session_maps in (session.maps, plain.maps):
        assert session_maps.layers("down_blocks").word("vermelho").mass > 0


def test_layers_that_match_no_layer_are_refused(tiny):
    pipe, plain = tiny.pipeline(), tiny.encode("um gato")
    with pytest.raises(SettingError, match=r"got \('sideways',\), of which none matches"):
        attach(pipe, tiny.encode("um gato:2{layers=sideways}", weighting="attention"))
    for layers, message in (("sideways", "of which none matches"), ("a b", "without spaces"), (3, "got 3")):
        with pytest.raises(SettingError, match=message):
            attach(pipe, plain).set_weight("gato", 2, layers=layers)


def test_invalid_curve_is_refused_and_changes_nothing(tiny):
    session = attach(tiny.pipeline(), tiny.encode("um gato", weighting="attention"))
    before = [dict(rules) for rules in session.config.rules.keys]
    with pytest.raises(SettingError, match="steps must be two increasing fractions"):
        session.set_weight("gato", 2, steps=((0, 1), (0, 2)))
    assert session.config.rules.keys == before


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_layers_of_a_word_act_in_joint_attention(tiny, family):
    pipe = tiny.sd3_pipeline() if family == "sd3" else tiny.flux_pipeline()
    settings = tiny.pooled(1) if family == "sd3" else {"pooled_prompt_embeds": torch.ones(1, 32)}
    part = "blocks.1." if family == "sd3" else "single_transformer_blocks"
    negative = None if family == "flux" else "feio"
    encoded = tiny.encode(f"um gato:0{{layers={part}}} vermelho", negative=negative, weighting="attention")
    with attach(pipe, encoded) as session:
        tiny.run(pipe, session.inputs | settings)
    for slot in session.maps.recording.slots:
        mass = session.maps.layers(slot.layers[0]).word("gato").mass
        assert (mass == 0) == (part in slot.layers[0])
