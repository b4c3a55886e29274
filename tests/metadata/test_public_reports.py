"""Inputs that users of metadata readers reported publicly, rebuilt; the sources are in tests/README.md."""

import json

import pytest
from PIL import Image

from promptweight.metadata import LoraUse, read_metadata
from promptweight.metadata.draw_things import read_draw_things
from tests.metadata.graphs import graph, node
from tests.metadata.test_alpha_channel import hide
from tests.metadata.test_draw_things import packet

INFOTEXT = "a fox, 狐\nNegative prompt: bad\nSteps: 28, Sampler: Euler a, CFG scale: 7, Seed: 3313626210"


def codes(info):
    return [warning.code for warning in info.warnings]


def exif_block(order: str, comment: bytes) -> bytes:
    """Return EXIF data of that byte order, II or MM, with a UserComment in its first directory."""
    big = "big" if order == "MM" else "little"
    entry = b"".join(
        number.to_bytes(size, big) for number, size in ((0x9286, 2), (7, 2), (len(comment), 4), (26, 4))
    )
    header = order.encode() + (42).to_bytes(2, big) + (8).to_bytes(4, big) + (1).to_bytes(2, big)
    return b"Exif\0\0" + header + entry + bytes(4) + comment


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + INFOTEXT.encode("utf-16-be"),
        b"UNICODE\0" + INFOTEXT.encode("utf-16-le"),
        b"UNICODE\0" + INFOTEXT.encode(),
        b"Unicode\0" + INFOTEXT.encode("utf-16-le") + b"\x20",
    ],
    ids=["big endian", "little endian", "UTF-8", "odd number of bytes"],
)
@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_comment_whose_encoding_differs_from_the_byte_order_of_the_file(tmp_path, order, comment, suffix):
    Image.new("RGB", (8, 8)).save(tmp_path / f"a{suffix}", exif=exif_block(order, comment))
    info = read_metadata(tmp_path / f"a{suffix}").generation_info()
    assert (info.prompt, info.options["seed"]) == ("a fox, 狐", 3313626210)


def test_loras_and_clip_skip_of_fooocus_mre(read_texts):
    record = {
        "prompt": "a witch",
        "negative_prompt": "",
        "style": "sai-comic book",
        "seed": 8834915829939807712,
        "width": 1152,
        "height": 896,
        "p_txt": "comic a witch . graphic",
        "n_txt": "photograph",
        "sampler": "dpmpp_2m_sde_gpu",
        "scheduler": "karras",
        "performance": "Speed",
        "steps": 30,
        "cfg": 7,
        "base_clip_skip": -2,
        "refiner_clip_skip": -2,
        "base_model": "m.safetensors",
        "refiner_model": "None",
        "l1": "offset.safetensors",
        "w1": 0.5,
        "l2": "add-detail-xl.safetensors",
        "w2": 0.3,
        "l3": "None",
        "w3": 0.5,
        "img2img": False,
        "software": "Fooocus 1.0.43 MRE",
    }
    info = read_texts(Comment=json.dumps(record))
    assert (info.prompt, info.options["seed"], info.options["guidance_scale"]) == (
        "a witch",
        8834915829939807712,
        7,
    )
    assert info.loras == (LoraUse("offset", 0.5, 0.5), LoraUse("add-detail-xl", 0.3, 0.3))
    assert info.options["clip_skip"] == 0
    assert info.warnings[0].fields["styles"] == "sai-comic book"


def test_json_of_fooocus_mre_that_another_program_moved(save_exif):
    record = {
        "prompt": "redhead",
        "negative_prompt": "[deformed | disfigured], [bad : wrong] anatomy",
        "styles": [],
        "real_prompt": ["redhead"],
        "seed": 5,
        "width": 512,
        "height": 768,
        "sampler": "dpmpp_2m_sde_gpu",
        "scheduler": "karras",
        "performance": "Speed",
        "steps": 30,
        "cfg": 7,
        "base_model": "m.safetensors",
    }
    path = save_exif(".jpg", None, {0x010E: json.dumps(record)})
    assert read_metadata(path).generation_info().negative_prompt == record["negative_prompt"]


def test_sampler_of_an_extension_and_zeroed_negative_prompt(read_texts):
    made = graph(
        "a fox",
        **{
            "3": node(
                "ClownsharKSampler_Beta",
                eta=0.5,
                sampler_name="multistep/res_2m",
                scheduler="beta57",
                steps=30,
                steps_to_run=-1,
                denoise=1.0,
                cfg=5.5,
                seed=9,
                sampler_mode="standard",
                model=["4", 0],
                positive=["6", 0],
                negative=["20", 0],
                latent_image=["5", 0],
            ),
            "20": node("ConditioningZeroOut", conditioning=["6", 0]),
        },
    )
    info = read_texts(prompt=json.dumps(made))
    assert (info.prompt, info.negative_prompt, info.options["seed"]) == ("a fox", "", 9)
    assert "sampler-not-followed" in codes(info)


def test_text_through_multiline_and_debug_nodes(read_texts):
    made = graph(
        ["10", 0],
        **{
            "10": node(
                "ttN textDebug", print_to_console=False, console_title="", execute="Always", text=["11", 0]
            ),
            "11": node("Text Multiline", text="a fox\nin snow"),
            "6": node("CLIPTextEncodeSDXL", text_g=["10", 0], text_l=["10", 0], clip=["4", 1]),
        },
    )
    info = read_texts(prompt=json.dumps(made))
    assert (info.prompt, info.error) == ("a fox\nin snow", None)


def test_several_loras_of_one_loader(read_texts):
    made = graph(
        "a fox",
        sampler={"model": ["10", 0]},
        **{
            "10": node(
                "Power Lora Loader (rgthree)",
                PowerLoraLoaderHeaderWidget={"type": "PowerLoraLoaderHeaderWidget"},
                lora_1={"on": True, "lora": "x.safetensors", "strength": 0.5},
                lora_2={"on": True, "lora": "y.safetensors", "strength": 0.25},
                lora_3={"on": False, "lora": "z.safetensors", "strength": 1},
                model=["4", 0],
                clip=["4", 1],
            ),
            "6": node("CLIPTextEncode", text="a fox", clip=["10", 1]),
        },
    )
    assert read_texts(prompt=json.dumps(made)).loras == (LoraUse("x", 0.5, 0.5), LoraUse("y", 0.25, 0.25))


def test_template_after_the_settings(read_texts):
    info = read_texts(
        parameters="epic (fox:1.2)\nNegative prompt: bad\nSteps: 20, Sampler: Euler a, Seed: 1\n"
        "Template: epic (__animal__:1.2)\nNegative Template: bad"
    )
    assert (info.prompt, info.negative_prompt, info.options["seed"]) == ("epic (fox:1.2)", "bad", 1)


def test_resources_with_brackets_and_commas_in_their_names(read_texts):
    resources = [
        {"type": "checkpoint", "modelName": "Pony V6 XL", "modelVersionName": "V6 (start with this one)"},
        {"type": "lora", "weight": 0.65, "modelName": "dark (dramatic lighting) - sliders, [x]"},
    ]
    info = read_texts(
        parameters="score_9, a dog\nNegative prompt: Score_6,\nSteps: 28, Sampler: Euler a, Seed: 5, "
        "Clip skip: 2, Created Date: 2024-10-25T10:37:03.0788580Z, "
        f"Civitai resources: {json.dumps(resources)}, "
        'Civitai metadata: {"remixOfId":34798101}'
    )
    assert (info.prompt, info.options["clip_skip"]) == ("score_9, a dog", 1)
    assert [warning.fields.get("weight") for warning in info.warnings] == [0.65]


def test_weights_of_loras_in_a_text_converted_from_swarmui(read_texts):
    info = read_texts(
        parameters="a fox\nSteps: 20, Sampler: Euler, Seed: 5, Model: m, "
        'Lora hashes: "748cmSDXL: a4f81ec6c80b, GBF_Illustrious: e7450d76b275", aspectratio: 3:4, '
        'loraweights: "0.33,0.3"'
    )
    assert info.loras == (LoraUse("748cmSDXL", 0.33, 0.33), LoraUse("GBF_Illustrious", 0.3, 0.3))


def test_sampler_and_schedule_joined_by_an_underscore(read_texts):
    text = "a <lora:x:1.2>\nSteps: 30, CFG scale: 3, Sampler: {}, Seed: 124263196777517, Size: 1024x1024"
    assert read_texts(parameters=text.format("DPM++ 2M_karras")).options["scheduler"] == "DPM++ 2M Karras"
    assert read_texts(parameters=text.format("Euler_ddim_uniform")).options["scheduler"] == "Euler DDIM"
    info = read_texts(parameters=text.format("DPM++ 2S a_ddim_uniform"))
    assert codes(info) == ["sampler-not-followed"]


def test_style_prompts_of_sdxl_in_invokeai_are_told(read_texts):
    record = {
        "app_version": "3.1.1",
        "generation_mode": "sdxl_txt2img",
        "positive_prompt": "a hero flying",
        "seed": 5,
        "negative_prompt": "bad hands",
        "width": 1024,
        "height": 1024,
        "cfg_scale": 7.5,
        "steps": 25,
        "scheduler": "ddpm",
        "clip_skip": 0,
        "model": {"model_name": "m", "base_model": "sdxl"},
        "controlnets": [],
        "loras": [],
        "positive_style_prompt": "Comic",
        "negative_style_prompt": "Realistic",
    }
    info = read_texts(invokeai_metadata=json.dumps(record))
    assert info.options["scheduler"] == "DDPMScheduler"
    assert codes(info) == ["second-prompt-unused", "second-prompt-unused"]


def test_regions_of_invokeai_are_told(read_texts):
    record = {
        "positive_prompt": "a fox",
        "negative_prompt": "",
        "seed": 5,
        "steps": 20,
        "canvas_v2_metadata": {
            "referenceImages": [],
            "controlLayers": [],
            "inpaintMasks": [],
            "regionalGuidance": [{"positivePrompt": "a hat", "isEnabled": True}],
        },
    }
    info = read_texts(invokeai_metadata=json.dumps(record))
    assert info.warnings[0].fields["names"] == "canvas_v2_metadata"
    record["canvas_v2_metadata"]["regionalGuidance"] = []
    assert read_texts(invokeai_metadata=json.dumps(record)).warnings == ()


def test_image_whose_settings_an_upscaler_replaced_is_no_prompt(read_texts):
    info = read_texts(parameters="Postprocess upscale by: 4, Postprocess upscaler: R-ESRGAN 4x+")
    assert (info.prompt, info.error.code) == ("", "settings-missing")
    info = read_texts(parameters=INFOTEXT, postprocessing="Postprocess upscale by: 4")
    assert (info.prompt, info.error) == ("a fox, 狐", None)


def test_first_image_of_novelai_with_image_to_image_settings(read_texts):
    comment = {
        "steps": 23,
        "sampler": "ddim",
        "seed": 4028746890,
        "strength": 0.69,
        "noise": 0.667,
        "scale": 12.0,
        "uc": "text, lowres",
    }
    info = read_texts(
        Software="NovelAI",
        Description="{{+++++}}, //four ponytail,",
        Comment=json.dumps(comment),
        Source="Stable Diffusion 81274D13",
    )
    assert (info.prompt, info.options["scheduler"]) == ("(+++++:1.1025), //four ponytail,", "DDIM")
    assert info.warnings[0].fields["names"] == "strength, noise"


def test_hidden_text_in_a_webp(tmp_path):
    hide(INFOTEXT, "stealth_pngcomp").save(tmp_path / "a.webp", lossless=True, exact=True)
    assert read_metadata(tmp_path / "a.webp").generation_info().prompt == "a fox, 狐"


def test_infotext_in_the_description_of_an_xmp_packet(tmp_path):
    xmp = f"<rdf:RDF><rdf:Description><dc:description>{INFOTEXT}</dc:description></rdf:Description></rdf:RDF>"
    Image.new("RGB", (8, 8)).save(tmp_path / "a.webp", xmp=xmp.encode())
    assert read_metadata(tmp_path / "a.webp").generation_info().prompt == "a fox, 狐"


def test_hires_pass_of_draw_things_is_told():
    record = {
        "c": "a guitar (floating on a lake) [near the beach]",
        "uc": "ocean, (sunny), [sad], <bad_prompt>",
        "model": "sd_v1.4_f16.ckpt",
        "sampler": "DDIM",
        "scale": 10,
        "seed": 1177739245,
        "size": "1152x768",
        "steps": 10,
        "strength": 1,
        "hires_fix": True,
        "first_stage_size": "768x512",
        "second_stage_strength": 0.7,
    }
    info = read_draw_things(packet(record))
    assert (info.prompt, info.options["width"]) == (record["c"], 1152)
    assert info.warnings[0].fields["names"] == "hires_fix, first_stage_size, second_stage_strength"


def test_line_breaks_in_both_prompts(read_texts):
    info = read_texts(
        parameters="a fox,\n\nin snow\nNegative prompt: bad,\nugly\nSteps: 20, Seed: 1, Sampler: Euler"
    )
    assert (info.prompt, info.negative_prompt) == ("a fox,\n\nin snow", "bad,\nugly")
