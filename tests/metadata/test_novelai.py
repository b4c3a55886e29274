"""Metadata of NovelAI 1 to 4."""

import json

import pytest

COMMENT = {
    "prompt": "{{red fox}}, snow, [blurry]",
    "steps": 28,
    "height": 1216,
    "width": 832,
    "scale": 5.0,
    "uncond_scale": 1.0,
    "cfg_rescale": 0.0,
    "seed": 4028746890,
    "n_samples": 1,
    "noise_schedule": "native",
    "sampler": "k_euler",
    "uc": "lowres, bad anatomy",
    "request_type": "PromptGenerateRequest",
    "sm": False,
}

RED_FOX = "(red fox:1.1025), snow, (blurry:0.952381)"


def test_version_3(read_texts):
    info = read_texts(
        Software="NovelAI",
        Title="AI generated image",
        Source="Stable Diffusion XL C1E1DE52",
        Description=COMMENT["prompt"],
        Comment=json.dumps(COMMENT),
    )
    assert (info.tool, info.prompt, info.dialect) == ("NovelAI", RED_FOX, "comfy")
    assert info.negative_prompt == "lowres, bad anatomy"
    assert info.options == {
        "num_inference_steps": 28,
        "seed": 4028746890,
        "width": 832,
        "height": 1216,
        "guidance_scale": 5.0,
        "scheduler": "Euler",
        "weighting": "a1111",
    }
    assert info.warnings == ()
    assert info.settings["prompt"] == COMMENT["prompt"]
    assert info.settings["model"] == "Stable Diffusion XL C1E1DE52"


@pytest.mark.parametrize("characters", [[], ["girl, 1.2::red hair", "boy, {tall,"]])
def test_version_4_joins_the_captions_of_characters(read_texts, characters):
    captions = [{"char_caption": each, "centers": [{"x": 0.5, "y": 0.5}]} for each in characters]
    comment = {
        **COMMENT,
        "prompt": "2girls, forest",
        "uc": "old",
        "v4_prompt": {
            "caption": {"base_caption": "2girls, forest", "char_captions": captions},
            "use_order": True,
        },
        "v4_negative_prompt": {"caption": {"base_caption": "lowres", "char_captions": []}},
        "sampler": "k_dpmpp_2m_sde",
        "noise_schedule": "exponential",
    }
    info = read_texts(Software="NovelAI", Comment=json.dumps(comment))
    joined = "2girls, forest, girl, (red hair:1.2), boy, (tall:1.05)"
    assert info.prompt == (joined if characters else "2girls, forest")
    assert info.negative_prompt == "lowres"
    assert info.options["scheduler"] == "DPM++ 2M SDE Exponential"
    assert [warning.code for warning in info.warnings] == (["characters-joined"] if characters else [])


def test_version_1_takes_prompt_and_size_from_the_image(read_png):
    comment = {
        "steps": 50,
        "sampler": "k_euler_ancestral",
        "seed": 5,
        "scale": 10.0,
        "uc": "bad",
        "noise": 0.0,
    }
    info = read_png({"Software": "NovelAI", "Description": "cat, {space}", "Comment": json.dumps(comment)})
    assert (info.prompt, info.negative_prompt) == ("cat, (space:1.05)", "bad")
    assert (info.options["width"], info.options["height"], info.options["scheduler"]) == (16, 24, "Euler a")


def test_settings_that_act_are_named(read_texts):
    comment = {
        **COMMENT,
        "cfg_rescale": 0.4,
        "sm_dyn": True,
        "request_type": "Img2ImgRequest",
        "strength": 0.6,
    }
    info = read_texts(Software="NovelAI", Comment=json.dumps(comment))
    names = info.warnings[0].fields["names"].split(", ")
    assert sorted(names) == ["cfg_rescale", "sm_dyn", "strength"]


@pytest.mark.parametrize("sampler", ["k_dpmpp_2s_ancestral", "k_dpm_fast", "nai_smea"])
def test_sampler_that_diffusers_lacks_is_named(read_texts, sampler):
    info = read_texts(Software="NovelAI", Comment=json.dumps({**COMMENT, "sampler": sampler}))
    assert "scheduler" not in info.options
    assert (info.warnings[0].code, info.warnings[0].fields["sampler"]) == ("sampler-not-followed", sampler)


@pytest.mark.parametrize("comment", ["{", "[]", "", "text"])
def test_image_without_a_readable_comment(read_texts, comment):
    info = read_texts(Software="NovelAI", Comment=comment)
    assert (info.tool, info.error.code) == ("NovelAI", "settings-missing")
    info = read_texts(Software="NovelAI", Comment=comment, Description="a cat")
    assert (info.prompt, info.error) == ("a cat", None)
