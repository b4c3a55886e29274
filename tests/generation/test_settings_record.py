"""Settings record of an image, and warnings about settings without effect."""

import json

import pytest
import torch

from promptweight.generation import GenerateOptions, generate
from promptweight.weighting import Weighting

FAST = {"num_inference_steps": 1, "seed": 1, "record": False}


def test_record_has_every_setting_as_json(tiny_pipe):
    options = GenerateOptions(
        negative_prompt="feio",
        weighting=Weighting("attention", layers="up_blocks", steps=(0, 0.5)),
        clip_skip=1,
        guidance_scale=3,
        height=16,
        targets={"gato": 0.5},
        pipeline_kwargs={"eta": 0.5},
        **FAST,
    )
    settings = generate(tiny_pipe, "um gato", options=options).settings
    expected = {
        "prompt": "um gato",
        "negative_prompt": "feio",
        "dialect": "pw",
        "pipeline": "StableDiffusionPipeline",
        "model": "tiny-random",
        "weighting": "attention layers=up_blocks steps=0-0.5",
        "weighting_by_encoder": {"clip": "none"},
        "clip_skip": 1,
        "num_inference_steps": 1,
        "guidance_scale": 3,
        "height": 16,
        "targets": {"gato": 0.5},
        "pipeline_kwargs": {"eta": 0.5},
    }
    assert {name: settings[name] for name in expected} == expected
    assert json.loads(json.dumps(dict(settings))) == settings
    assert Weighting.parse(settings["weighting"]) == options.weighting


def test_value_that_json_has_not_is_recorded_by_its_type(tiny_pipe):
    latents = torch.zeros(1, 4, 16, 16)
    settings = generate(tiny_pipe, "um gato", latents=latents, **FAST).settings
    assert settings["pipeline_kwargs"] == {"latents": "<Tensor>"}


@pytest.mark.parametrize(
    ("weighting", "dialect", "method"),
    [
        (None, "pw", "presence"),
        (None, "comfy", "comfy"),
        (None, "a1111", "a1111"),
        ("scale", "comfy", "scale"),
        ("attention-p2p", "pw", "none"),
        ("clip-attention", "pw", "clip-attention"),
    ],
)
def test_record_has_the_weighting_of_each_encoder(tiny_pipe, weighting, dialect, method):
    settings = generate(tiny_pipe, "gato", weighting=weighting, dialect=dialect, **FAST).settings
    assert settings["weighting"] == (weighting or "default")
    assert settings["weighting_by_encoder"] == {"clip": method}


@pytest.mark.parametrize(
    ("prompt", "keywords", "codes"),
    [
        ("gato", {}, []),
        ("gato", {"weighting": "attention normalizer=mean"}, ["normalizer-unused"]),
        ("gato", {"weighting": "clip-attention normalizer=mean"}, []),
        ("gato", {"weighting": "scale normalizer=mean"}, []),
        ("(gato:2)", {"weighting": "scale layers=up_blocks"}, ["attention-fields-unused"]),
        ("(gato:2)", {"weighting": "scale steps=0-0.5"}, ["attention-fields-unused"]),
        ("(gato:2)", {"weighting": "steps=0-0.5", "dialect": "comfy"}, ["attention-fields-unused"]),
        ("(gato:2)", {"weighting": "steps=0-0.5"}, []),
        ("(gato:2)", {"weighting": "attention layers=up_blocks steps=0-0.5"}, []),
        ("(gato:2{weighting=attention})", {"weighting": "scale layers=up_blocks"}, []),
        ("gato", {"negative_prompt": "(rato:2{weighting=attention})", "weighting": "scale steps=0-1"}, []),
        ("gato", {"negative_prompt": "feio", "guidance_scale": 1}, ["negative-without-guidance"]),
        ("gato", {"negative_prompt": "feio", "guidance_scale": 1.5}, []),
        ("gato", {"guidance_scale": 1}, []),
    ],
)
def test_setting_without_effect_is_a_warning(tiny_pipe, prompt, keywords, codes):
    result = generate(tiny_pipe, prompt, **keywords, **FAST)
    assert [warning.code for warning in result.warnings] == codes


def test_layers_of_a_weighting_act_on_targets_without_a_warning(tiny_pipe):
    settings = {"weighting": "scale layers=up_blocks", "targets": {"gato": 0.5}}
    result = generate(tiny_pipe, "gato e rato", **settings, **FAST)
    assert "attention-fields-unused" not in [warning.code for warning in result.warnings]
