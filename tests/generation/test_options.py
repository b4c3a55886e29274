"""`GenerateOptions` and `PromptEdit`: checks, keywords, and seeds."""

import dataclasses
import subprocess
import sys

import pytest

from promptweight.errors import SettingError
from promptweight.generation import MAX_PROMPT_LENGTH, MAX_SEED, GenerateOptions, PromptEdit
from promptweight.prompt import parse
from promptweight.weighting import Weighting


def test_text_of_a_weighting_and_of_an_edit_become_values():
    options = GenerateOptions(weighting="attention steps=0-0.5", edit="um rato")
    assert options.weighting == Weighting("attention", steps=(0, 0.5))
    assert options.edit == PromptEdit("um rato")
    assert GenerateOptions().weighting == Weighting()


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"negative_prompt": 3}, "negative_prompt must be text or a Prompt; got int"),
        ({"negative_prompt": "x" * (MAX_PROMPT_LENGTH + 1)}, "at most 1000000 characters"),
        ({"weighting": "magic"}, "weighting must be one of"),
        ({"dialect": "klingon"}, "dialect must be one of"),
        ({"clip_skip": 101}, "clip_skip must be between 0 and 100; got 101"),
        ({"num_inference_steps": 1001}, "num_inference_steps must be between 1 and 1000; got 1001"),
        ({"guidance_scale": 101}, "guidance_scale must be between 0 and 100; got 101"),
        ({"seed": 1.5}, "seed must be an integer; got 1.5"),
        ({"seed": MAX_SEED, "num_images_per_prompt": 2}, f"got {MAX_SEED}"),
        ({"num_images_per_prompt": 1001}, "num_images_per_prompt must be between 1 and 1000; got 1001"),
        ({"height": 0}, "height must be between 1 and 16384; got 0"),
        ({"width": 20_000}, "width must be between 1 and 16384; got 20000"),
        ({"edit": 3}, "edit must be text or a Prompt; got int"),
        ({"edit": "um rato", "targets": {"gato": 0.5}}, "its words cannot have target shares"),
    ],
)
def test_invalid_option_is_refused(keywords, expected):
    with pytest.raises(SettingError, match=expected):
        GenerateOptions(**keywords)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"prompt": None}, "edit must be text or a Prompt; got NoneType"),
        ({"kind": "swap"}, "kind must be one of: replace, refine; got 'swap'"),
        ({"cross_replace_steps": 2}, "cross_replace_steps must be between 0 and 1; got 2"),
        ({"self_replace_steps": -1}, "self_replace_steps must be between 0 and 1; got -1"),
    ],
)
def test_invalid_edit_is_refused(fields, expected):
    with pytest.raises(SettingError, match=expected):
        PromptEdit(**{"prompt": "um rato", **fields})


def test_parsed_prompts_are_prompts():
    prompt = parse("um rato")
    assert GenerateOptions(negative_prompt=prompt, edit=prompt).edit.prompt is prompt


def test_keywords_replace_fields_and_others_go_to_the_pipeline():
    base = GenerateOptions(seed=1, pipeline_kwargs={"eta": 0.5})
    options = GenerateOptions.from_keywords(base, {"seed": 2, "true_cfg_scale": 4})
    assert (options.seed, options.pipeline_kwargs) == (2, {"eta": 0.5, "true_cfg_scale": 4})
    assert (base.seed, base.pipeline_kwargs) == (1, {"eta": 0.5})
    assert GenerateOptions.from_keywords(base, {}) is base
    assert GenerateOptions.from_keywords(None, {}) == GenerateOptions()
    with pytest.raises(SettingError, match="seed must be between"):
        GenerateOptions.from_keywords(base, {"seed": -1})


def test_options_are_keywords_and_cannot_be_changed():
    with pytest.raises(TypeError):
        GenerateOptions("feio")
    with pytest.raises(dataclasses.FrozenInstanceError):
        GenerateOptions().seed = 1


def test_seeds_are_consecutive_and_random_without_a_seed():
    assert GenerateOptions(seed=7, num_images_per_prompt=3).choose_seeds() == (7, 8, 9)
    assert GenerateOptions(seed=MAX_SEED).choose_seeds() == (MAX_SEED,)
    first, second = (GenerateOptions(num_images_per_prompt=2).choose_seeds() for _ in range(2))
    assert first != second
    assert first[1] == first[0] + 1


def test_options_import_without_torch():
    code = "import sys; from promptweight import GenerateOptions; GenerateOptions(weighting='attention');"
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
