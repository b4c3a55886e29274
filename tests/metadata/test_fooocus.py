"""Metadata of Fooocus in both schemes, of its old versions, and of RuinedFooocus and Fooocus-MRE."""

import json

import pytest

from promptweight.metadata import LoraUse, read_metadata

RECORD = {
    "adaptive_cfg": 7,
    "adm_guidance": "(1.5, 0.8, 0.3)",
    "base_model": "juggernautXL_v8",
    "clip_skip": 2,
    "base_model_hash": "aeb7e9e689",
    "full_negative_prompt": ["blurry", "cartoon"],
    "guidance_scale": 4,
    "full_prompt": ["cinematic still a red fox", "a red fox, sharp"],
    "metadata_scheme": "fooocus",
    "loras": [["sd_xl_offset", 0.1, "4852686128"], ["None", 1.0, ""]],
    "negative_prompt": "blurry",
    "performance": "Speed",
    "prompt": "a (red fox:1.2)",
    "prompt_expansion": "a red fox, sharp",
    "refiner_model": "None",
    "refiner_switch": 0.5,
    "resolution": "(1152, 896)",
    "sampler": "dpmpp_2m_sde_gpu",
    "scheduler": "karras",
    "seed": "123456789",
    "sharpness": 2,
    "steps": 30,
    "vae": "Default (model)",
    "styles": "['Fooocus V2', 'SAI Anime']",
    "version": "Fooocus v2.5.5",
}
OPTIONS = {
    "num_inference_steps": 30,
    "seed": 123456789,
    "width": 1152,
    "height": 896,
    "guidance_scale": 4,
    "clip_skip": 0,
    "scheduler": "DPM++ 2M SDE Karras",
}


def check(info):
    assert (info.tool, info.prompt, info.negative_prompt) == ("Fooocus", "a (red fox:1.2)", "blurry")
    assert info.options == OPTIONS
    assert info.loras == (LoraUse("sd_xl_offset", 0.1, 0.1),)
    assert [warning.code for warning in info.warnings] == ["styles-not-applied", "settings-not-followed"]
    assert info.warnings[0].fields["styles"] == "Fooocus V2, SAI Anime"
    assert info.warnings[1].fields["names"] == "adm_guidance, sharpness"


def test_json_in_a_png(read_texts):
    check(read_texts(parameters=json.dumps(RECORD), fooocus_scheme="fooocus"))


def test_json_in_exif_data(save_exif):
    # Fooocus writes these fields into the first directory, as text.
    fields = {0x0131: "Fooocus v2.5.5", 0x927C: "fooocus", 0x9286: json.dumps(RECORD)}
    check(read_metadata(save_exif(".jpg", None, fields)).generation_info())
    check(read_metadata(save_exif(".webp", None, fields)).generation_info())


def test_old_labels_and_combined_loras(read_texts):
    old = {
        "Prompt": "a fox",
        "Negative Prompt": "bad",
        "Styles": "[]",
        "Performance": "Speed",
        "Steps": 30,
        "Resolution": "(1152, 896)",
        "Guidance Scale": 4,
        "Seed": "5",
        "Sampler": "euler",
        "Scheduler": "normal",
        "LoRA 1": "x.safetensors : 0.5",
        "LoRA 2": "None : 1.0",
        "Version": "v2.1.0",
    }
    info = read_texts(parameters=json.dumps(old))
    assert (info.prompt, info.negative_prompt, info.options["scheduler"]) == ("a fox", "bad", "Euler Normal")
    assert info.loras == (LoraUse("x", 0.5, 0.5),)
    combined = {**RECORD, "lora_combined_1": "True : x.safetensors : 0.5", "lora_combined_2": "False : y : 1"}
    del combined["loras"]
    assert read_texts(parameters=json.dumps(combined)).loras == (LoraUse("x", 0.5, 0.5),)


def test_scheme_a1111_has_styles_applied_and_loras_of_their_own(read_texts):
    info = read_texts(
        parameters="a red fox, cinematic\nNegative prompt: blurry\nSteps: 30, Sampler: DPM++ 2M SDE Karras, "
        'Seed: 5, Size: 1152x896, CFG scale: 4, ADM Guidance: "(1.5, 0.8, 0.3)", Model: m, '
        'Scheduler: karras, Raw prompt: a red fox, Lora hashes: "sd_xl_offset: 4852686128", '
        'Lora weights: "sd_xl_offset: 0.1", Version: Fooocus v2.5.5',
        fooocus_scheme="a1111",
    )
    assert (info.tool, info.prompt, info.negative_prompt) == ("Fooocus", "a red fox, cinematic", "blurry")
    assert info.options["scheduler"] == "DPM++ 2M SDE Karras"
    assert info.loras == (LoraUse("sd_xl_offset", 0.1, 0.1),)
    assert [warning.fields.get("names") for warning in info.warnings] == ["ADM Guidance"]


def test_ruined_fooocus(read_texts):
    record = {
        "Prompt": "a fox",
        "Negative": "bad",
        "steps": 30,
        "cfg": 8.0,
        "width": 1152,
        "height": 896,
        "seed": 5,
        "sampler_name": "dpmpp_2m",
        "scheduler": "karras",
        "base_model_name": "m.safetensors",
        "denoise": None,
        "base_model_hash": "abc",
        "loras": [["hash", "0.5 - x.safetensors"]],
        "clip_skip": 1,
        "software": "RuinedFooocus",
    }
    info = read_texts(parameters=json.dumps(record))
    assert (info.tool, info.prompt, info.negative_prompt) == ("RuinedFooocus", "a fox", "bad")
    assert (info.options["guidance_scale"], info.options["scheduler"]) == (8.0, "DPM++ 2M Karras")
    assert (info.loras, info.warnings) == ((LoraUse("x", 0.5, 0.5),), ())


@pytest.mark.parametrize("name", ["Comment", "comment"])
def test_fooocus_mre_in_a_comment(read_texts, name):
    record = {
        "prompt": "a fox",
        "negative_prompt": "bad",
        "real_prompt": ["a fox, sharp"],
        "steps": 30,
        "cfg": 7.0,
        "width": 1152,
        "height": 896,
        "seed": 5,
        "sampler": "dpmpp_2m_sde_gpu",
        "scheduler": "karras",
        "base_model": "m.safetensors",
    }
    info = read_texts(**{name: json.dumps(record)})
    assert (info.tool, info.prompt, info.options["guidance_scale"]) == ("Fooocus", "a fox", 7.0)
