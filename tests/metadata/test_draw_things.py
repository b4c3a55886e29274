"""Metadata of Draw Things in XMP packets."""

import html
import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from promptweight.metadata import LoraUse, read_metadata
from promptweight.metadata.draw_things import find_xmp_text, read_draw_things

RECORD = {
    "c": 'a red "fox" in snow',
    "uc": "blurry",
    "model": "sd_v1.5_f16.ckpt",
    "sampler": "DPM++ 2M Karras",
    "scale": 7.5,
    "seed": 1177739245,
    "size": "512x768",
    "steps": 30,
    "strength": 1,
}


def packet(record, form="element"):
    text = html.escape(json.dumps(record))
    item = f'<rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt>'
    element = f"<exif:UserComment>{item}</exif:UserComment>"
    attribute = f' exif:UserComment="{text}"'
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description rdf:about=""'
        f"{attribute if form == 'attribute' else ''}>{element if form == 'element' else ''}"
        "<xmp:CreatorTool>Draw Things</xmp:CreatorTool></rdf:Description></rdf:RDF></x:xmpmeta>"
    )


@pytest.mark.parametrize("form", ["element", "attribute"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_settings_are_read(tmp_path, form, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".png":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet(RECORD, form))
        Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    else:
        Image.new("RGB", (8, 8)).save(path, xmp=packet(RECORD, form).encode())
    found = read_metadata(path).generation_info()
    assert (found.tool, found.prompt, found.negative_prompt) == (
        "Draw Things",
        'a red "fox" in snow',
        "blurry",
    )
    assert found.options == {
        "num_inference_steps": 30,
        "seed": 1177739245,
        "width": 512,
        "height": 768,
        "guidance_scale": 7.5,
        "scheduler": "DPM++ 2M Karras",
    }
    assert found.warnings == ()


def test_loras_clip_skip_and_later_passes():
    record = {
        **RECORD,
        "lora": [{"model": "add_detail_lora_f16.ckpt", "weight": 0.6}],
        "v2": {"clipSkip": 2, "hiresFix": True, "refinerModel": "x", "controls": []},
    }
    info = read_draw_things(packet(record))
    assert info.loras == (LoraUse("add_detail_lora_f16", 0.6, 0.6),)
    assert info.options["clip_skip"] == 1
    assert info.warnings[0].fields["names"] == "refinerModel, hiresFix"
    record = {**RECORD, "v2": {"loras": [{"file": "x.ckpt", "weight": 0.3}]}}
    assert read_draw_things(packet(record)).loras == (LoraUse("x", 0.3, 0.3),)


@pytest.mark.parametrize(
    ("sampler", "scheduler", "code"),
    [
        ("Euler A", "Euler a", None),
        ("Euler A Trailing", "Euler a SGM Uniform", None),
        ("DPM++ 2M AYS", "DPM++ 2M", "schedule-not-followed"),
        ("DPM++ SDE Substep", None, "sampler-not-followed"),
        ("DDIM Trailing", "DDIM SGM Uniform", None),
        ("LCM", "LCM", None),
        ("TCD", "TCDScheduler", None),
    ],
)
def test_samplers(sampler, scheduler, code):
    info = read_draw_things(packet({**RECORD, "sampler": sampler}))
    assert info.options.get("scheduler") == scheduler
    assert [warning.code for warning in info.warnings] == ([code] if code else [])


@pytest.mark.parametrize(
    "xmp", ["", "<exif:UserComment>", "<exif:UserComment>{</exif:UserComment>", packet([]), packet({"a": 1})]
)
def test_other_packets_are_not_read(xmp):
    assert read_draw_things(xmp) is None


def test_packet_of_another_tool_is_searched_in_linear_time():
    assert find_xmp_text("<a:B>" * 100_000 + "<rdf:li" * 100_000, "a:B") == ""
