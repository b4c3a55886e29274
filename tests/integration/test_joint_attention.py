"""Stable Diffusion 3's joint attention: unchanged images, and columns and weights against float64."""

import math

import pytest
import torch
from diffusers.models.attention_processor import JointAttnProcessor2_0

from promptweight.attention import Record, attach
from promptweight.errors import SettingError
from promptweight.weighting import KEY_WEIGHTINGS


@pytest.fixture(params=["sd3", "sd3.5 large", "sd3.5 medium"])
def pipe(request, tiny):
    norms = None if request.param == "sd3" else "rms_norm"
    dual = (0,) if request.param == "sd3.5 medium" else ()
    return tiny.sd3_pipeline(qk_norm=norms, dual_attention_layers=dual)


class Eager(JointAttnProcessor2_0):
    """Joint attention over a float64 softmax; keeps the probabilities of every call."""

    def __init__(self, weights=1.0, *, renormalize=True):
        super().__init__()
        self.weights, self.renormalize, self.calls = weights, renormalize, []

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, **kwargs):
        if encoder_hidden_states is None:
            return JointAttnProcessor2_0.__call__(self, attn, hidden_states)
        torch_attention = torch.nn.functional.scaled_dot_product_attention

        def attention(query, key, value, **_):
            scores = query.double() @ key.double().transpose(-1, -2) * query.shape[-1] ** -0.5
            weights = scores.softmax(-1) * self.weights
            if self.renormalize:
                weights = weights / weights.sum(-1, keepdim=True)
            self.calls.append(weights)
            return (weights @ value.double()).to(query.dtype)

        torch.nn.functional.scaled_dot_product_attention = attention
        try:
            return super().__call__(attn, hidden_states, encoder_hidden_states)
        finally:
            torch.nn.functional.scaled_dot_product_attention = torch_attention


SETTINGS = [
    {},
    {"guidance_scale": 1.0},
    {"height": 24, "width": 40},
    {"skip_guidance_layers": [1], "skip_layer_guidance_start": 0.0, "skip_layer_guidance_stop": 1.0},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_attached_without_weights_gives_the_pipelines_own_image(pipe, tiny, settings):
    prompts, pooled = ("um gato vermelho", "uma casa"), tiny.pooled(2)
    plain = tiny.run(pipe, tiny.encode(*prompts).inputs | pooled, **settings)
    before = pipe.transformer.attn_processors
    for weighting in ("scale", "attention"):
        with attach(pipe, tiny.encode(*prompts, weighting=weighting), record=Record(steps="keep")) as session:
            assert torch.equal(tiny.run(pipe, session.inputs | pooled, **settings), plain)
        assert all(pipe.transformer.attn_processors[name] is each for name, each in before.items())
    recording = session.maps.recording
    assert [slot.layers for slot in recording.slots] == [(f"transformer_blocks.{i}.attn",) for i in range(3)]
    assert all((slot.counts == 1).all() for slot in recording.slots)
    size = (settings.get("height", 32), settings.get("width", 32))
    assert session.maps.word("gato").tensor.shape == size
    assert len(recording.tables) == 2


def test_columns_of_every_layer_match_float64(pipe, tiny):
    encoded, pooled = tiny.encode("um gato vermelho"), tiny.pooled(1)
    record = Record(steps="keep", heads="keep", roles=("positive", "negative"))
    with attach(pipe, encoded, record=record) as session:
        tiny.run(pipe, session.inputs | pooled)
    recording = session.maps.recording
    truth = {}
    for number, block in enumerate(pipe.transformer.transformer_blocks):
        block.attn.processor = truth[f"transformer_blocks.{number}.attn"] = Eager()
    tiny.run(pipe, encoded.inputs | pooled)
    for slot in recording.slots:
        for step, probabilities in enumerate(truth[slot.layers[0]].calls):
            for row, role in enumerate(("negative", "positive")):
                columns = recording.columns((role, 0))
                actual = slot.sums[step, recording.roles.index(role), 0][..., list(columns.values())]
                image = slot.height * slot.width
                expected = probabilities[row, :, :image][..., [image + column for column in columns]]
                assert (actual - expected).abs().max() < 2e-5
    maps = session.maps
    masses = [maps.word(word.text).mass for word in maps.words]
    assert sum(masses) + maps.beginning().mass + maps.rest().mass == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("weighting", KEY_WEIGHTINGS)
@pytest.mark.parametrize("region", [None, "right"])
@pytest.mark.parametrize("weight", [3.0, 0.0])
def test_weights_match_float64(pipe, tiny, weighting, region, weight):
    encoded, pooled = tiny.encode("um gato vermelho"), tiny.pooled(1)["pooled_prompt_embeds"]
    sample = torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    arguments = (sample, encoded.inputs["prompt_embeds"], pooled, torch.tensor([300.0]))
    weights = torch.ones(1, 1, 24 + tiny.rows, 24 + tiny.rows)
    is_on_logits = weighting == "attention" or (weighting == "kjnodes" and weight > 1)
    factor = math.exp(2 * (weight - 1)) if is_on_logits and weighting == "kjnodes" else weight
    if region is None:
        weights[..., 24 + 2] = factor
    else:
        weights[:, :, :24, 24 + 2].unflatten(-1, (4, 6))[..., 3:] = factor
    with torch.no_grad():
        with attach(pipe, encoded) as session:
            plain = pipe.transformer(*arguments).sample
            session.set_weight("gato", weight, weighting=weighting, region=region)
            actual = pipe.transformer(*arguments).sample
        for block in pipe.transformer.transformer_blocks:
            block.attn.processor = Eager(weights, renormalize=is_on_logits)
        expected = pipe.transformer(*arguments).sample
    assert torch.allclose(actual, expected, atol=2e-5)
    assert not torch.allclose(actual, plain, atol=2e-5)


def test_fused_projections_keep_the_norms(tiny):
    """The fused processor of diffusers omits them; a session's image is that of the unfused model."""
    encoded, pooled = tiny.encode("um gato"), tiny.pooled(1)
    plain = tiny.run(tiny.sd3_pipeline(qk_norm="rms_norm"), encoded.inputs | pooled)
    pipe = tiny.sd3_pipeline(qk_norm="rms_norm")
    pipe.transformer.fuse_qkv_projections()
    with attach(pipe, encoded) as session:
        assert torch.allclose(tiny.run(pipe, session.inputs | pooled), plain, atol=1e-4)
    pipe = tiny.sd3_pipeline()
    pipe.transformer.fuse_qkv_projections()
    fused = tiny.run(pipe, encoded.inputs | pooled)
    with attach(pipe, encoded) as session:
        assert torch.equal(tiny.run(pipe, session.inputs | pooled), fused)


def test_map_of_two_text_encoders_is_their_sum(tiny):
    """A word has rows of both; its map is their sum, or that of one by name."""
    pipe, encoded = tiny.sd3_pipeline(), tiny.encode_twice("um gato:2 vermelho", "attention")
    with attach(pipe, encoded) as session:
        tiny.run(pipe, session.inputs | tiny.pooled(1))
    maps = session.maps
    clip, t5 = maps.word("gato", source="clip"), maps.word("gato", source="t5")
    assert torch.allclose(maps.word("gato").tensor, clip.tensor + t5.tensor, atol=1e-6)
    assert clip.mass > 0
    assert t5.mass > 0
    with attach(pipe, encoded) as session:
        session.set_weight("gato", 0)
        tiny.run(pipe, session.inputs | tiny.pooled(1))
    assert session.maps.word("gato").mass == 0
    with pytest.raises(SettingError, match="source must be one of: clip, t5; got 'bert'"):
        maps.word("gato", source="bert")
