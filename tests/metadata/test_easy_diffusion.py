"""Metadata of Easy Diffusion in images, and in the files that it writes beside them."""

import json

import pytest
from PIL import Image

from promptweight.errors import FileFormatError
from promptweight.metadata import LoraUse, read_metadata

TEXTS = {
    "prompt": "a (red fox:1.2)",
    "negative_prompt": "blurry",
    "seed": "4028746890",
    "num_inference_steps": "25",
    "guidance_scale": "7.5",
    "width": "512",
    "height": "768",
    "sampler_name": "euler_a",
    "use_stable_diffusion_model": "sd-v1-4",
    "use_lora_model": "add_detail",
    "lora_alpha": "0.5",
    "clip_skip": "True",
    "num_outputs": "1",
    "used_random_seed": "True",
    "tiling": "None",
    "use_upscale": "None",
}
LABELS = {
    "prompt": "Prompt",
    "negative_prompt": "Negative Prompt",
    "seed": "Seed",
    "num_inference_steps": "Steps",
    "guidance_scale": "Guidance Scale",
    "width": "Width",
    "height": "Height",
    "sampler_name": "Sampler",
    "use_stable_diffusion_model": "Stable Diffusion model",
    "use_lora_model": "LoRA model",
    "lora_alpha": "LoRA Strength",
    "clip_skip": "Clip Skip",
}
LABELED = {label: TEXTS[name] for name, label in LABELS.items()}
NUMBERS = {name: float(value) if value.replace(".", "").isdigit() else value for name, value in TEXTS.items()}
LINES = "\n".join(f"{label}: {value}" for label, value in LABELED.items())


def check(info):
    assert (info.tool, info.prompt, info.negative_prompt) == ("Easy Diffusion", "a (red fox:1.2)", "blurry")
    assert info.options == {
        "num_inference_steps": 25,
        "seed": 4028746890,
        "width": 512,
        "height": 768,
        "guidance_scale": 7.5,
        "clip_skip": 1,
        "scheduler": "Euler a",
    }
    assert info.loras == (LoraUse("add_detail", 0.5, 0.5),)
    assert info.warnings == ()


@pytest.mark.parametrize("texts", [TEXTS, LABELED])
def test_text_chunks_are_read(read_png, texts):
    check(read_png(texts))


@pytest.mark.parametrize("record", [TEXTS, LABELED, NUMBERS])
def test_json_in_exif_data_is_read(save_exif, record):
    path = save_exif(".jpg", b"UNICODE\0" + json.dumps(record).encode("utf-16-be"))
    check(read_metadata(path).generation_info())


@pytest.mark.parametrize(("suffix", "text"), [(".json", json.dumps(NUMBERS)), (".txt", LINES)])
def test_file_beside_an_image_is_read_by_itself_and_for_the_image(tmp_path, suffix, text):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    (tmp_path / f"a{suffix}").write_text(text, encoding="utf-8")
    check(read_metadata(tmp_path / f"a{suffix}").generation_info())
    check(read_metadata(tmp_path / "a.jpg").generation_info())


def test_text_file_with_an_unlabeled_prompt_of_several_lines(tmp_path):
    text = (
        "a red fox\nin snow\nWidth: 512\nHeight: 512\nSeed: 5\nSteps: 20\nGuidance Scale: 7\nSampler: ddim\n"
    )
    (tmp_path / "a.txt").write_text(text + "Stable Diffusion model: m", encoding="utf-8")
    info = read_metadata(tmp_path / "a.txt").generation_info()
    assert (info.prompt, info.options["scheduler"]) == ("a red fox\nin snow", "DDIM")


def test_several_loras_and_guidance_of_flux(read_texts):
    lists = {"use_lora_model": "['a', 'b']", "lora_alpha": "[0.5, 1.0]"}
    guided = {"guidance_scale": "1", "distilled_guidance_scale": "3.5", "scheduler_name": "simple"}
    info = read_texts(**{**TEXTS, **lists, **guided, "sampler_name": "euler"})
    assert info.loras == (LoraUse("a", 0.5, 0.5), LoraUse("b", 1, 1))
    assert (info.options["guidance_scale"], info.options["scheduler"]) == (3.5, "Euler Simple")


@pytest.mark.parametrize("text", ["a caption of a photo for training", "", "{", "[1]", '{"a": 1}'])
def test_other_text_files_beside_an_image_are_not_settings(tmp_path, text):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    assert read_metadata(tmp_path / "a.png").generation_info() is None


def test_infotext_beside_an_image_is_read(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text("a fox\nSteps: 20, Sampler: Euler, Seed: 3", encoding="utf-8")
    info = read_metadata(tmp_path / "a.jpg").generation_info()
    assert (info.tool, info.prompt, info.options["seed"]) == ("AUTOMATIC1111", "a fox", 3)


def test_json_file_of_an_unknown_form_is_an_error(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}', encoding="utf-8")
    with pytest.raises(FileFormatError, match="JSON of an unknown form"):
        read_metadata(tmp_path / "a.json").generation_info()
