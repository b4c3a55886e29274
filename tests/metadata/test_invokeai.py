"""Metadata of InvokeAI 1 to 6."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight.metadata import LoraUse
from promptweight.metadata.invokeai import read_dream, split_negative

NEW = {
    "app_version": "5.6.0",
    "generation_mode": "txt2img",
    "positive_prompt": "a cat++",
    "seed": 7,
    "negative_prompt": "ugly",
    "width": 512,
    "height": 640,
    "cfg_scale": 7.5,
    "steps": 30,
    "rand_device": "cpu",
    "scheduler": "dpmpp_2m_k",
    "clip_skip": 1,
    "cfg_rescale_multiplier": 0,
    "model": {"key": "1", "hash": "blake3:0", "name": "SD 1.5", "base": "sd-1"},
    "loras": [{"model": {"name": "add_detail", "base": "sd-1"}, "weight": 0.75}],
}


def test_record_of_new_versions(read_texts):
    info = read_texts(invokeai_metadata=json.dumps(NEW))
    assert (info.tool, info.prompt, info.negative_prompt, info.dialect) == (
        "InvokeAI",
        "a cat++",
        "ugly",
        "compel",
    )
    assert (info.settings["model"], info.settings["cfg_scale"]) == ("SD 1.5", 7.5)
    assert info.options == {
        "num_inference_steps": 30,
        "seed": 7,
        "width": 512,
        "height": 640,
        "guidance_scale": 7.5,
        "clip_skip": 1,
        "scheduler": "DPM++ 2M Karras",
    }
    assert info.loras == (LoraUse("add_detail", 0.75, 0.75),)
    assert info.warnings == ()


def test_loras_of_version_3_and_unfollowed_settings(read_texts):
    record = {
        **NEW,
        "loras": [{"lora": {"model_name": "x", "base_model": "sd-1"}, "weight": 0.5}],
        "controlnets": [{"control_model": {}}],
        "positive_style_prompt": "oil painting",
        "scheduler": "dpmpp_2s",
    }
    info = read_texts(invokeai_metadata=json.dumps(record))
    assert info.loras == (LoraUse("x", 0.5, 0.5),)
    assert [warning.code for warning in info.warnings] == ["second-prompt-unused", "settings-not-followed"]
    assert "controlnets" in info.warnings[1]
    assert info.options["scheduler"] == "DPM++ 2S"


def test_guidance_of_flux(read_texts):
    record = {name: value for name, value in NEW.items() if name != "cfg_scale"}
    record |= {"generation_mode": "flux_txt2img", "guidance": 3.5}
    assert read_texts(invokeai_metadata=json.dumps(record)).options["guidance_scale"] == 3.5


@pytest.mark.parametrize(
    "prompt",
    ["a cat [ugly]", [{"prompt": "a cat [ugly]", "weight": 1}]],
)
def test_record_of_version_2_has_the_negative_prompt_in_brackets(read_texts, prompt):
    image = {"prompt": prompt, "steps": 50, "seed": 3, "sampler": "k_euler_a", "cfg_scale": 7}
    old = {"model_weights": "sd-1.4", "image": image}
    info = read_texts(**{"sd-metadata": json.dumps(old), "Dream": '"other" -s 5'})
    assert (info.prompt, info.negative_prompt, info.settings["model"]) == ("a cat", "ugly", "sd-1.4")
    assert info.options["scheduler"] == "Euler a"


def test_blend_of_version_2_gives_a_warning(read_texts):
    parts = [{"prompt": "a cat", "weight": 1}, {"prompt": "a dog", "weight": 1}]
    info = read_texts(**{"sd-metadata": json.dumps({"image": {"prompt": parts, "steps": 5}})})
    assert (info.prompt, info.warnings[0].code) == ("a cat, a dog", "prompts-combined")


DREAMS = {
    "spaces": '"a cat [ugly, blurry]" -s 50 -S 4028746890 -W 512 -H 768 -C 7.5 -A k_lms',
    "no spaces": '"a cat [ugly, blurry]" -s50 -S4028746890 -W512 -H768 -C7.5 -Ak_lms',
    "more options": '"a cat [ugly, blurry]" -s 50 -S 4028746890 -W 512 -H 768 -C 7.5 -A k_lms '
    "-G 0.9 -cf 0.75 -U 4 0.95 --hires_fix",
}


@pytest.mark.parametrize("name", DREAMS)
def test_command_line_of_version_1(read_texts, name):
    info = read_texts(Dream=DREAMS[name])
    assert (info.prompt, info.negative_prompt) == ("a cat", "ugly, blurry")
    assert info.options == {
        "num_inference_steps": 50,
        "seed": 4028746890,
        "width": 512,
        "height": 768,
        "guidance_scale": 7.5,
        "scheduler": "LMS",
    }
    assert [warning.code for warning in info.warnings] == (
        ["settings-not-followed"] if "--" in DREAMS[name] else []
    )


def test_command_line_with_quotes_in_the_prompt():
    assert read_dream(r'"a sign \"open\" -s 3" -s 20').prompt == 'a sign "open" -s 3'
    assert read_dream("a cat -s 20") is None
    assert read_dream('"a cat') is None


@pytest.mark.parametrize(
    ("prompt", "split"),
    [
        ("a cat", ("a cat", "")),
        ("a cat [ugly]", ("a cat", "ugly")),
        ("[ugly] a cat [blurry], sea", ("a cat , sea", "ugly blurry")),
        ("a cat [ugly", ("a cat [ugly", "")),
        ("a ] cat [ugly] ", ("a ] cat", "ugly")),
    ],
)
def test_square_brackets_are_the_negative_prompt(prompt, split):
    assert split_negative(prompt) == split


@pytest.mark.parametrize(
    "texts", [{"invokeai_graph": "{}"}, {"invokeai_workflow": '{"nodes": []}'}, {"Dream": "x"}]
)
def test_image_without_settings_names_the_tool(read_texts, texts):
    info = read_texts(**texts)
    assert (info.tool, info.error.code) == ("InvokeAI", "settings-missing")


@given(st.text(), st.text())
def test_any_command_line_is_read(prompt, options):
    read_dream(f'"{prompt}" {options}')
    read_dream(prompt)
