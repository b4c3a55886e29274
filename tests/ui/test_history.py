"""Pictures of sessions, and settings read out of files of several tools."""

import json

import pytest
from PIL import Image, PngImagePlugin

from promptweight import generate
from promptweight.errors import PromptweightError
from promptweight_ui.history import MOST_PICTURES, MOST_SESSIONS, History, number, read_file, whole


def png(path, **texts):
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_itxt(name, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return str(path)


def test_own_pictures_give_everything_back(tiny_pipe, tmp_path):
    result = generate("um (gato:1.3)", tiny_pipe, negative_prompt="gato", seed=9, num_inference_steps=2,
                      guidance_scale=3.5, space="attention", mode="p2p")  # fmt: skip
    reading = read_file(str(result.save(tmp_path)[0]))
    assert (reading.tool, reading.prompt, reading.negative) == ("promptweight", "um (gato:1.3)", "gato")
    wanted = {"steps": 2, "guidance": 3.5, "seed": 9, "method": "attention-p2p", "sampler": "DDIM"}
    assert wanted.items() <= dict(reading.values).items()


def test_pictures_of_automatic1111(tmp_path):
    text = (
        "a (cat:1.2)\nNegative prompt: dog\nSteps: 20, Sampler: DPM++ 2M, "
        "Schedule type: Karras, CFG scale: 7.5, Seed: 42, Size: 512x768, Model: x"
    )
    reading = read_file(png(tmp_path / "a.png", parameters=text))
    assert (reading.tool, reading.prompt, reading.negative) == ("AUTOMATIC1111", "a (cat:1.2)", "dog")
    values = dict(reading.values)
    assert values == {
        "steps": "20", "guidance": "7.5", "seed": "42", "width": "512", "height": "768",
        "sampler": "DPM++ 2M Karras",
    }  # fmt: skip
    assert ("Model", "x") in reading.settings


def test_pictures_of_comfyui(tmp_path):
    sampler = {"seed": 7, "steps": 12, "cfg": 5, "positive": ["2", 0], "negative": ["3", 0]}
    graph = {
        "1": {"class_type": "KSampler", "inputs": sampler},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "um gato"}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "feio"}},
    }
    reading = read_file(png(tmp_path / "c.png", prompt=json.dumps(graph)))
    assert (reading.tool, reading.prompt, reading.negative) == ("ComfyUI", "um gato", "feio")
    assert {"seed": 7, "steps": 12}.items() <= dict(reading.values).items()


def test_files_that_say_nothing_or_are_none(tmp_path):
    assert read_file(png(tmp_path / "plain.png")) is None
    (tmp_path / "no.png").write_bytes(b"not a picture")
    with pytest.raises(PromptweightError):
        read_file(str(tmp_path / "no.png"))


@pytest.mark.parametrize("value", [None, "nan", "x", [], {}, "1e999", float("nan"), 10**400])
def test_values_that_are_no_numbers_are_left_alone(value):
    assert number(value, 0, 100) is None
    assert whole(value, 0, 100) is None


def test_numbers_from_files():
    assert whole(" 12", 0, 100) == 12
    assert whole(12.0, 0, 100) == 12
    assert whole(12.5, 0, 100) is None
    assert whole("²", 0, 100) is None
    assert whole(True, 0, 100) is None
    assert number("7.5", 0, 100) == 7.5


def test_sessions_are_apart_and_bounded(tmp_path):
    history = History()
    path = png(tmp_path / "one.png")
    history.add("a", path, "first")
    history.add("a", path, "again")
    assert history.of("a") == [(path, "first")]
    assert history.of("b") == []
    history.add("a", str(tmp_path / "gone.png"), "gone")
    assert history.of("a") == [(path, "first")]
    for count in range(MOST_PICTURES + 5):
        history.add("many", f"{path}#{count}", "")
    assert len(history._files["many"]) == MOST_PICTURES
    for count in range(MOST_SESSIONS + 5):
        history.add(f"session {count}", path, "")
    assert len(history._files) == MOST_SESSIONS
