"""Metadata of SwarmUI in every place that it writes."""

import json

import pytest

from promptweight.metadata import LoraUse, read_metadata
from promptweight.prompt import parse

PARAMETERS = {
    "prompt": "a ((fox:1.3)), [blurry]",
    "negativeprompt": "bad",
    "model": "m",
    "seed": 3,
    "steps": 20,
    "cfgscale": 6.5,
    "aspectratio": "1:1",
    "width": 512,
    "height": 512,
    "sampler": "dpmpp_2m",
    "scheduler": "karras",
    "clipstopatlayer": -2,
    "swarm_version": "0.9.6",
}
OPTIONS = {
    "num_inference_steps": 20,
    "seed": 3,
    "width": 512,
    "height": 512,
    "guidance_scale": 6.5,
    "clip_skip": 1,
    "scheduler": "DPM++ 2M Karras",
}


def made(**more):
    return json.dumps(
        {"sui_image_params": {**PARAMETERS, **more}, "sui_extra_data": {"original_prompt": "x"}}
    )


def test_prompts_options_and_the_weights_of_comfyui(read_texts):
    info = read_texts(parameters=made())
    assert (info.tool, info.prompt, info.negative_prompt) == ("SwarmUI", "a ((fox:1.3)), [blurry]", "bad")
    assert (info.options, info.warnings) == (OPTIONS, ())
    # In ComfyUI, as in SwarmUI, an explicit weight replaces that of the brackets around it.
    spans = parse(info.prompt, info.dialect).at().spans
    assert [span.weight for span in spans if "fox" in span.text] == [1.3]


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
@pytest.mark.parametrize("order", ["utf-16-be", "utf-16-le"])
def test_user_comment_and_the_old_place_are_read(save_exif, suffix, order):
    info = read_metadata(save_exif(suffix, b"UNICODE\0" + made().encode(order))).generation_info()
    assert info.options == OPTIONS
    assert read_metadata(save_exif(suffix, None, {0x0110: made()})).generation_info().options == OPTIONS


@pytest.mark.parametrize(
    ("listed", "weights", "encoder_weights"),
    [
        (["style/foo", "bar"], ["0.8", "1"], ["0.5", "1"]),
        ("style/foo,bar", "0.8,1", "0.5,1"),
        (["style/foo.safetensors", "bar"], [0.8, 1], [0.5, 1]),
    ],
)
def test_listed_loras_have_both_weights(read_texts, listed, weights, encoder_weights):
    info = read_texts(parameters=made(loras=listed, loraweights=weights, loratencweights=encoder_weights))
    assert info.loras == (LoraUse("foo", 0.8, 0.5), LoraUse("bar", 1, 1))


def test_tags_of_loras_are_taken_out_and_added_where_no_list_has_them(read_texts):
    info = read_texts(parameters=made(prompt="a fox <lora:foo:0.5:0.7> <lora:bar>"))
    assert (info.prompt, info.loras) == ("a fox", (LoraUse("foo", 0.5, 0.7), LoraUse("bar", 1, 1)))
    info = read_texts(parameters=made(prompt="a fox <lora:foo:0.5>", loras=["foo"], loraweights=["0.5"]))
    assert (info.loras, info.warnings) == ((LoraUse("foo", 0.5, 0.5),), ())
    info = read_texts(parameters=made(prompt="a fox <lora:foo:0.5>", loras=["foo"], loraweights=["0.8"]))
    assert (info.loras, info.warnings[0].code) == ((LoraUse("foo", 0.8, 0.8),), "prompt-parts-unused")


def test_text_of_later_passes_is_not_in_the_prompt(read_texts):
    info = read_texts(parameters=made(prompt="a fox in snow <segment:face> a face <object:0,0,1,1> a hat"))
    assert info.prompt == "a fox in snow"
    assert "<segment:face> a face" in info.warnings[0]


@pytest.mark.parametrize(("cfg", "guidance"), [(1, 3.5), ("1.0", 3.5), (4, 4)])
def test_guidance_of_flux(read_texts, cfg, guidance):
    info = read_texts(parameters=made(cfgscale=cfg, fluxguidancescale=3.5))
    assert info.options["guidance_scale"] == guidance
    assert bool(info.warnings) == (cfg == 4)


def test_settings_that_act_are_named(read_texts):
    info = read_texts(parameters=made(refinermethod="PostApply", initimagecreativity=0.5, vae="x"))
    assert info.warnings[-1].fields["names"] == "refinermethod, initimagecreativity, vae"
