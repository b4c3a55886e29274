"""History: images of sessions, and settings in files of several tools."""

import json

import pytest
from PIL import Image, PngImagePlugin

from promptweight import generate
from promptweight.errors import PromptweightError
from promptweight_ui.history import MAX_IMAGES, MAX_SESSIONS, History, integer, number, read_file


def png(path, **texts):
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_itxt(name, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return str(path)


def test_own_file_gives_all_settings(tiny_pipe, tmp_path):
    result = generate(tiny_pipe, "um (gato:1.3)", negative_prompt="gato", seed=9, num_inference_steps=2,
                      guidance_scale=3.5, weighting="attention-p2p steps=0-0.5")  # fmt: skip
    form = read_file(str(result.save(tmp_path)[0]))
    assert (form.tool, form.prompt, form.negative) == ("promptweight", "um (gato:1.3)", "gato")
    expected = {
        "steps": 2,
        "guidance": 3.5,
        "seed": 9,
        "weighting": "attention-p2p steps=0-0.5",
        "sampler": "DDIM",
    }
    assert expected.items() <= dict(form.values).items()


@pytest.mark.parametrize(("guidance", "left_out"), [(None, ()), ("nag", ("negative_guidance",))])
def test_own_file_leaves_out_only_what_differs_from_the_default(tiny_pipe, tmp_path, guidance, left_out):
    result = generate(
        tiny_pipe, "um gato", negative_prompt="aa", num_inference_steps=1, negative_guidance=guidance
    )
    form = read_file(str(result.save(tmp_path)[0]))
    assert dict(form.settings)["negative_guidance"].startswith(guidance or "cfg")
    assert form.left_out == left_out


def test_automatic1111_file_gives_its_settings(tmp_path):
    text = (
        "a (cat:1.2)\nNegative prompt: dog\nSteps: 20, Sampler: DPM++ 2M, "
        "Schedule type: Karras, CFG scale: 7.5, Seed: 42, Size: 512x768, Model: x"
    )
    form = read_file(png(tmp_path / "a.png", parameters=text))
    assert (form.tool, form.prompt, form.negative) == ("AUTOMATIC1111", "a (cat:1.2)", "dog")
    assert dict(form.values) == {
        "steps": 20, "guidance": 7.5, "seed": 42, "width": 512, "height": 768, "sampler": "DPM++ 2M Karras",
        "weighting": "a1111",
    }  # fmt: skip
    assert ("Model", "x") in form.settings


def test_comfyui_file_gives_its_settings(tmp_path):
    sampler = {"seed": 7, "steps": 12, "cfg": 5, "positive": ["2", 0], "negative": ["3", 0]}
    graph = {
        "1": {"class_type": "KSampler", "inputs": sampler},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "um gato"}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "feio"}},
    }
    form = read_file(png(tmp_path / "c.png", prompt=json.dumps(graph)))
    assert (form.tool, form.prompt, form.negative) == ("ComfyUI", "um gato", "feio")
    assert {"seed": 7, "steps": 12}.items() <= dict(form.values).items()


def test_file_without_settings_gives_nothing(tmp_path):
    assert read_file(png(tmp_path / "plain.png")) is None


def test_file_that_is_not_an_image_raises(tmp_path):
    (tmp_path / "no.png").write_bytes(b"not an image")
    with pytest.raises(PromptweightError):
        read_file(str(tmp_path / "no.png"))


@pytest.mark.parametrize("value", [None, "nan", "x", [], {}, "1e999", float("nan"), 10**400])
def test_value_that_is_not_a_number_is_ignored(value):
    assert number(value, 0, 100) is None
    assert integer(value, 0, 100) is None


def test_numbers_of_files_are_converted():
    assert integer(" 12", 0, 100) == 12
    assert integer(12.0, 0, 100) == 12
    assert integer(12.5, 0, 100) is None
    assert integer("²", 0, 100) is None
    assert integer(True, 0, 100) is None
    assert number("7.5", 0, 100) == 7.5


def test_sessions_have_separate_files(tmp_path):
    history = History()
    path = png(tmp_path / "one.png")
    history.add("a", path, "first")
    history.add("a", path, "again")
    assert history.files("a") == [(path, "first")]
    assert history.files("b") == []


def test_deleted_file_is_not_listed(tmp_path):
    history = History()
    history.add("a", str(tmp_path / "gone.png"), "gone")
    assert history.files("a") == []


def test_number_of_files_is_limited_to_the_newest(tmp_path):
    history = History()
    for count in range(MAX_IMAGES + 5):
        path = tmp_path / f"{count}.png"
        path.touch()
        history.add("a", str(path), "")
    paths = [path for path, _ in history.files("a")]
    assert len(paths) == MAX_IMAGES
    assert paths[0] == str(path)


def test_number_of_sessions_is_limited_to_the_newest(tmp_path):
    history = History()
    path = png(tmp_path / "one.png")
    for count in range(MAX_SESSIONS + 5):
        history.add(f"session {count}", path, "")
    listed = [count for count in range(MAX_SESSIONS + 5) if history.files(f"session {count}")]
    assert listed == list(range(5, MAX_SESSIONS + 5))
