"""Layers from which a model's authors advise to read maps, in a file in the model's folder."""

import json

import pytest
import torch
from diffusers import SD3Transformer2DModel

from promptweight.attention import Record, attach
from promptweight.errors import ModelError
from promptweight.maps import AttentionMaps

ADVISED = ("transformer_blocks.0.", "transformer_blocks.2.")


@pytest.fixture
def pipeline(tiny, tmp_path):
    """A function that builds a Stable Diffusion 3 pipeline of three blocks with advice in its folder."""

    def build(layers=ADVISED):
        pipe = tiny.sd3_pipeline()
        pipe.transformer.save_pretrained(tmp_path / "transformer")
        advice = {"guidance_scale": 4, "attention_layers": layers}
        (tmp_path / "promptweight.json").write_text(json.dumps(advice))
        pipe.register_modules(transformer=SD3Transformer2DModel.from_pretrained(tmp_path / "transformer"))
        return pipe

    return build


@pytest.fixture
def record(tiny):
    """A function that runs a pipeline and returns its maps, recorded with these settings."""

    def run(pipe, **settings):
        encoded = tiny.encode("um gato vermelho")
        with attach(pipe, encoded, record=Record(**settings)) as session:
            tiny.run(pipe, encoded.inputs | tiny.pooled(1))
        return session.maps

    return run


def test_maps_use_the_advised_layers_unless_layers_are_chosen(pipeline, record):
    maps = record(pipeline())
    assert len(maps.recording.slots) == 3
    shown = maps.word("gato").tensor
    assert torch.equal(shown, maps.layers(*ADVISED).word("gato").tensor)
    each = [maps.layers(f"transformer_blocks.{block}.").word("gato").tensor for block in range(3)]
    assert torch.allclose(shown, (each[0] + each[2]) / 2, atol=1e-7)
    assert torch.allclose(maps.layers().word("gato").tensor, sum(each) / 3, atol=1e-7)
    assert not torch.allclose(shown, sum(each) / 3, atol=1e-7)


def test_refined_maps_average_the_advised_layers_only(pipeline, record):
    pipe = pipeline()
    maps = record(pipe, refine=True)
    apart = record(pipe, refine=True, layers=ADVISED)
    other = record(pipe, refine=True, layers=("transformer_blocks.1.",))
    assert torch.equal(maps.refined().word("gato").tensor, apart.refined().word("gato").tensor)
    left_out = maps.layers("transformer_blocks.1.").refined().word("gato").tensor
    assert torch.equal(left_out, other.refined().word("gato").tensor)
    assert torch.equal(left_out, other.layers().refined().word("gato").tensor)


def test_advised_layers_are_added_separately_from_others(pipeline, record):
    pipe = pipeline()
    roomy = record(pipe, steps="keep", refine=True)
    words = sum(slot.sums.numel() for slot in roomy.recording.slots if slot.kind == "words") * 4 / 2**20
    of_step = 3 * words / 3  # words, refined, and the pools of these; three steps
    tight = record(pipe, refine=True, max_mb=0.7 * of_step)  # two groups of three layers take two thirds
    assert [slot.layers for slot in tight.recording.slots if slot.kind == "words"] == [
        ("transformer_blocks.0.attn", "transformer_blocks.2.attn"),
        ("transformer_blocks.1.attn",),
    ]
    for rough, fine in ((tight, roomy), (tight.refined(), roomy.refined())):
        assert torch.allclose(rough.word("gato").tensor, fine.word("gato").tensor, atol=1e-6)


def test_map_file_keeps_the_advice(pipeline, record, tmp_path):
    maps = record(pipeline())
    maps.save(tmp_path / "maps.safetensors")
    loaded = AttentionMaps.load(tmp_path / "maps.safetensors")
    assert torch.equal(loaded.word("gato").tensor, maps.word("gato").tensor)


@pytest.mark.parametrize("layers", [[], ["up_blocks"]])
def test_advice_without_a_layer_of_the_model_keeps_all(pipeline, record, layers):
    maps = record(pipeline(layers))
    assert torch.equal(maps.word("gato").tensor, maps.layers().word("gato").tensor)


def test_maps_use_other_layers_when_no_advised_layer_is_recorded(pipeline, record):
    maps = record(pipeline(), layers=("transformer_blocks.1.",))
    assert maps.word("gato").mass > 0


@pytest.mark.parametrize("layers", ["transformer_blocks.0.", [0], [""], None])
def test_advice_that_is_not_a_list_of_names_is_a_model_error(pipeline, record, layers):
    with pytest.raises(ModelError, match=r"attention_layers in .*promptweight\.json must be a list"):
        record(pipeline(layers))
