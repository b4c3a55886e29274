"""Settings of infotexts of AUTOMATIC1111, Forge, SD.Next, Civitai and ComfyUI's nodes that write them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight.generation import GenerateOptions
from promptweight.metadata import LoraUse
from promptweight.metadata.infotext_settings import read_infotext, read_plain_infotext


def read(settings, prompt="a fox"):
    return read_infotext(f"{prompt}\nNegative prompt: bad\nSteps: 20, {settings}")


def codes(info):
    return [warning.code for warning in info.warnings]


def test_all_settings_that_are_followed():
    info = read(
        "Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 42, Size: 512x768, Clip skip: 2, "
        "Model: m"
    )
    assert (info.tool, info.dialect, info.prompt, info.negative_prompt) == (
        "AUTOMATIC1111",
        "a1111",
        "a fox",
        "bad",
    )
    assert info.options == {
        "num_inference_steps": 20,
        "seed": 42,
        "width": 512,
        "height": 768,
        "guidance_scale": 7,
        "clip_skip": 1,
        "scheduler": "DPM++ 2M Karras",
    }
    assert info.warnings == ()


@pytest.mark.parametrize("value", ["-1", "x", "1e400", "1.5", "18446744073709551616", ""])
def test_seed_that_is_not_one_is_named(value):
    info = read(f"Seed: {value}")
    assert "seed" not in info.options
    assert codes(info) == ["settings-not-followed"]


@pytest.mark.parametrize(
    ("settings", "guidance", "named"),
    [
        ("CFG scale: 1, Distilled CFG Scale: 3.5", 3.5, ""),
        ("CFG scale: 4.5, Distilled CFG Scale: 3.5", 3.5, "CFG scale"),
        ("Distilled CFG Scale: 3.5", 3.5, ""),
        ("CFG scale: 4.5", 4.5, ""),
        ("Guidance scale: 4.5", 4.5, ""),
    ],
)
def test_distilled_guidance_takes_the_place_of_cfg_1(settings, guidance, named):
    info = read(settings)
    assert info.options["guidance_scale"] == guidance
    assert [warning.fields.get("names") for warning in info.warnings] == ([named] if named else [])


@pytest.mark.parametrize(
    ("settings", "tool", "dialect"),
    [
        ("Version: v1.10.1", "AUTOMATIC1111", "a1111"),
        ("Version: f2.0.1v1.10.1-previous-636-gb835f24a", "Forge", "a1111"),
        ("Version: neo", "Forge", "a1111"),
        ("App: SD.Next, Version: 7cc1e4d", "SD.Next", "a1111"),
        ("App: SD.Next, Parser: compel", "SD.Next", "compel"),
        ("App: SD.Next, Parser: fixed", "SD.Next", "plain"),
        ("Version: ComfyUI", "ComfyUI", "comfy"),
    ],
)
def test_tool_and_its_dialect_are_known_by_the_settings(settings, tool, dialect):
    info = read(settings)
    assert (info.tool, info.dialect, info.warnings) == (tool, dialect, ())


@pytest.mark.parametrize(
    ("emphasis", "weighting", "dialect"),
    [
        ("No norm", "scale", "a1111"),
        ("Ignore", "none", "a1111"),
        ("Original", "a1111", "a1111"),
        ("None", None, "plain"),
    ],
)
def test_emphasis_is_the_weighting(emphasis, weighting, dialect):
    info = read(f"Emphasis: {emphasis}")
    assert (info.options.get("weighting"), info.dialect, info.warnings) == (weighting, dialect, ())
    GenerateOptions(**info.options)


def test_loras_of_additional_networks_and_hashes_without_weights():
    info = read(
        "AddNet Enabled: True, AddNet Module 1: LoRA, AddNet Model 1: add_detail(7c6bad76eb54), "
        "AddNet Weight A 1: 0.8, AddNet Weight B 1: 0.5"
    )
    assert (info.loras, info.warnings) == ((LoraUse("add_detail", 0.8, 0.5),), ())
    hashes = 'Lora hashes: "add_detail: 7c6bad76eb54, other: 7c6bad76eb55"'
    info = read(hashes, "a fox <lora:add_detail:0.8>")
    assert (info.prompt, info.loras) == ("a fox <lora:add_detail:0.8>", ())
    assert [(warning.code, warning.fields["name"]) for warning in info.warnings] == [
        ("lora-weight-unknown", "other")
    ]


def test_resources_of_civitai_are_one_value_and_told():
    resources = [
        {"type": "checkpoint", "modelVersionId": 691639, "modelName": "FLUX"},
        {"type": "lora", "weight": 0.8, "modelVersionId": 735980, "modelName": "Detail, Tweaker"},
        {"air": "urn:air:sdxl:lora:civitai:1@2", "weight": 0.5},
        {"type": "embed", "modelName": "x"},
        {"type": "embedding", "modelName": "EasyNegative"},
    ]
    info = read(f"Civitai resources: {json.dumps(resources)}, Civitai metadata: {{}}, Clip skip: 2")
    assert info.options["clip_skip"] == 1
    assert [(warning.code, warning.fields["name"]) for warning in info.warnings] == [
        ("lora-file-unknown", "Detail, Tweaker"),
        ("lora-file-unknown", "urn:air:sdxl:lora:civitai:1@2"),
        ("embedding-file-unknown", "EasyNegative"),
    ]
    assert info.warnings[0].fields["weight"] == 0.8


def test_everything_else_is_named():
    info = read("Denoising strength: 0.5, Hires upscale: 2, ENSD: 31337, VAE: x\nWildcard prompt: {a|b}")
    assert (
        info.warnings[0].fields["names"]
        == "Denoising strength, Hires upscale, ENSD, VAE, Text after the settings"
    )


def test_text_without_settings_is_a_prompt_only_by_its_place():
    assert read_infotext("a fox") is None
    assert read_plain_infotext("(masterpiece:1.2), (fox:1.1)").prompt == "(masterpiece:1.2), (fox:1.1)"
    assert read_infotext("a fox\nNegative prompt: bad").negative_prompt == "bad"


@given(
    st.text(),
    st.dictionaries(
        st.sampled_from(
            [
                "Steps",
                "Seed",
                "Size",
                "Sampler",
                "Civitai resources",
                "CFG scale",
                "Lora hashes",
                "AddNet Enabled",
                "AddNet Model 1",
            ]
        ),
        st.text(),
    ),
)
def test_any_infotext_is_read_without_error(prompt, settings):
    line = ", ".join(f"{name}: {value}" for name, value in settings.items())
    info = read_plain_infotext(f"{prompt}\n{line}")
    GenerateOptions(
        **{name: value for name, value in info.options.items() if name in ("clip_skip", "weighting")}
    )
