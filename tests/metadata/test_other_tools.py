"""Metadata of ComfyUI, InvokeAI, SwarmUI and AUTOMATIC1111 in every file format, hostile files included."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.ExifTags import IFD
from PIL.PngImagePlugin import PngInfo

from promptweight.errors import SettingError
from promptweight.metadata import DIGITAL_SOURCE_TYPE, METADATA_PARTS, encode_image, read_metadata
from promptweight.metadata.other_tools import read_generation_info

GRAPH = {
    # ComfyUI's own default workflow, as "Save (API Format)" gives it, with a ControlNet between.
    "3": {"class_type": "KSampler", "inputs": {
        "seed": 156680208700286, "steps": 20, "cfg": 8, "sampler_name": "euler", "scheduler": "normal",
        "denoise": 1, "model": ["4", 0], "positive": ["10", 0], "negative": ["10", 1],
        "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "beautiful (cat:1.2)", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": ["8", 0], "clip": ["4", 1]}},
    "8": {"class_type": "PrimitiveString", "inputs": {"value": "watermark"}},
    "10": {"class_type": "ControlNetApplyAdvanced", "inputs": {
        "positive": ["6", 0], "negative": ["7", 0], "strength": 1.0}},
}  # fmt: skip


def save_and_read(path, texts):
    """Save an image with these text chunks and return the generation settings read from it."""
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return read_metadata(path).generation_info()


def test_comfyui_default_workflow_gives_prompts_and_sampler_settings(tmp_path):
    info = save_and_read(tmp_path / "a.png", {"prompt": json.dumps(GRAPH), "workflow": "{}"})
    assert (info.tool, info.prompt, info.negative_prompt) == (
        "ComfyUI", "beautiful (cat:1.2)", "watermark",
    )  # fmt: skip
    assert info.settings == {
        "seed": 156680208700286, "steps": 20, "cfg_scale": 8, "sampler": "euler", "scheduler": "normal",
        "denoise": 1, "width": 512, "height": 768, "model": "v1-5.safetensors",
    }  # fmt: skip


def test_comfyui_zeroed_negative_prompt_and_guiders(tmp_path):
    text = {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox"}}
    emptied = {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["1", 0]}}
    sampler = {"class_type": "KSampler", "inputs": {"seed": 1, "positive": ["1", 0], "negative": ["2", 0]}}
    info = save_and_read(tmp_path / "a.png", {"prompt": json.dumps({"1": text, "2": emptied, "3": sampler})})
    assert (info.prompt, info.negative_prompt) == ("a fox", "")
    bad = {"class_type": "CLIPTextEncode", "inputs": {"text": "ugly"}}
    run = {"class_type": "SamplerCustomAdvanced", "inputs": {"noise": ["7", 0], "guider": ["5", 0]}}
    for guider, negative in (
        ({"class_type": "CFGGuider", "inputs": {"positive": ["1", 0], "negative": ["4", 0]}}, "ugly"),
        ({"class_type": "BasicGuider", "inputs": {"conditioning": ["1", 0]}}, ""),
        ({"class_type": "DualCFGGuider", "inputs": {
            "cond1": ["1", 0], "cond2": ["1", 0], "negative": ["4", 0]}}, "ugly"),
    ):  # fmt: skip
        graph = {"1": text, "4": bad, "5": guider, "6": run}
        info = save_and_read(tmp_path / "b.png", {"prompt": json.dumps(graph)})
        assert (info.prompt, info.negative_prompt) == ("a fox", negative)


def test_comfyui_nodes_with_both_prompts_as_texts(tmp_path):
    loader = {"class_type": "Efficient Loader", "inputs": {"positive": "a fox", "negative": "ugly"}}
    sampler = {"class_type": "KSampler", "inputs": {"seed": 1, "positive": ["1", 1], "negative": ["1", 2]}}
    info = save_and_read(tmp_path / "a.png", {"prompt": json.dumps({"1": loader, "2": sampler})})
    assert (info.prompt, info.negative_prompt) == ("a fox", "ugly")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_text_chunk_in_utf_8_or_latin_1_is_decoded(tmp_path, encoding):
    """Many programs write UTF-8 in a tEXt chunk, although the standard says Latin-1."""
    info = PngInfo()
    text = "um gato à meia-noite\nSteps: 20, Seed: 1, Size: 8x8"
    info.add(b"tEXt", b"parameters\0" + text.encode(encoding))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    assert read_metadata(tmp_path / "a.png").infotext == text


def test_comfyui_webp_has_the_graph_in_exif(tmp_path):
    exif = Image.Exif()
    exif[0x0110] = f"prompt:{json.dumps(GRAPH)}"
    exif[0x010F] = "workflow:{}"
    Image.new("RGB", (8, 8)).save(tmp_path / "a.webp", exif=exif)
    assert read_metadata(tmp_path / "a.webp").generation_info().prompt == "beautiful (cat:1.2)"


def test_invokeai_records_of_new_and_old_versions(tmp_path):
    new = {
        "app_version": "5.6.0", "generation_mode": "txt2img", "positive_prompt": "a cat++", "seed": 7,
        "negative_prompt": "ugly", "width": 512, "height": 512, "cfg_scale": 7.5, "steps": 30,
        "scheduler": "euler", "model": {"key": "1", "hash": "blake3:0", "name": "SD 1.5", "base": "sd-1"},
        "loras": [],
    }  # fmt: skip
    info = save_and_read(tmp_path / "a.png", {"invokeai_metadata": json.dumps(new)})
    assert (info.tool, info.prompt, info.negative_prompt) == ("InvokeAI", "a cat++", "ugly")
    assert info.settings["model"] == "SD 1.5"
    assert info.settings["cfg_scale"] == 7.5
    old = {"model_weights": "sd-1.4", "image": {"prompt": [{"prompt": "a cat", "weight": 1}], "steps": 50}}
    info = save_and_read(tmp_path / "b.png", {"sd-metadata": json.dumps(old), "Dream": '"a cat" -s 50'})
    assert (info.prompt, info.settings) == ("a cat", {"steps": 50, "model": "sd-1.4"})


def test_swarmui_parameters_give_prompts_and_settings(tmp_path):
    record = {"sui_image_params": {"prompt": "a cat", "negativeprompt": "ugly", "seed": 7, "cfgscale": 7}}
    info = save_and_read(tmp_path / "a.png", {"parameters": json.dumps(record)})
    assert (info.tool, info.prompt, info.negative_prompt) == ("SwarmUI", "a cat", "ugly")
    assert info.settings == {"seed": 7, "cfgscale": 7}


def test_automatic1111_infotext_gives_prompts_and_settings(tmp_path):
    text = "a (cat:1.2)\nNegative prompt: ugly\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 8x8"
    info = save_and_read(tmp_path / "a.png", {"parameters": text})
    assert (info.tool, info.prompt, info.negative_prompt) == ("AUTOMATIC1111", "a (cat:1.2)", "ugly")
    assert info.settings["Sampler"] == "Euler a"


@pytest.mark.parametrize("order", ["utf-16-be", "utf-16-le"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
def test_user_comment_in_either_byte_order_is_decoded(tmp_path, order, mark, suffix):
    exif = Image.Exif()
    exif.get_ifd(IFD.Exif)[0x9286] = b"UNICODE\0" + (mark + "um coração\nSteps: 1").encode(order)
    Image.new("RGB", (16, 16)).save(tmp_path / f"a{suffix}", exif=exif.tobytes())
    assert read_metadata(tmp_path / f"a{suffix}").infotext == "um coração\nSteps: 1"


@pytest.mark.parametrize(
    "texts",
    [
        {"prompt": "{" * 100_000},
        {"prompt": json.dumps({"1": {"inputs": {"positive": ["1", 0], "negative": ["1", 0], "seed": 1}}})},
        {"prompt": json.dumps({"1": [], "2": {"inputs": 3}})},
        {"prompt": "a cat"},
        {"invokeai_metadata": "[1]"},
        {"sd-metadata": json.dumps({"image": 3})},
        {"parameters": '{"sui_image_params": 3}'},
        {"prompt": '{"1": {"inputs": {"seed": ' + "9" * 5000 + "}}}"},
    ],
)
def test_content_of_another_shape_is_ignored(tmp_path, texts):
    save_and_read(tmp_path / "a.png", texts)


@given(
    st.dictionaries(st.sampled_from("123"), st.recursive(
        st.none() | st.integers() | st.text() | st.just("1"),
        lambda inside: st.lists(inside) | st.dictionaries(
            st.sampled_from(["inputs", "positive", "negative", "seed", "text", "clip"]), inside
        ),
    ))
)  # fmt: skip
def test_any_graph_is_read_without_error(graph):
    read_generation_info({"prompt": json.dumps(graph)}, None)


def test_long_chain_of_nodes_is_followed_once():
    size = 5_000
    graph = {str(n): {"inputs": {"a": [str(n + 1), 0], "b": [str(n + 1), 0]}} for n in range(size)}
    graph[str(size)] = {"inputs": {"text": "a cat"}}
    graph["s"] = {"inputs": {"seed": 1, "positive": ["0", 0]}}
    assert read_generation_info({"prompt": json.dumps(graph)}, None).prompt == "a cat"


@pytest.mark.parametrize("suffix", ["png", "jpeg", "webp", "avif"])
@pytest.mark.parametrize("parts", [(), ("parameters",), ("promptweight",), ("iptc",), METADATA_PARTS])
def test_encode_image_writes_only_the_given_parts(tmp_path, suffix, parts):
    record = {"prompt": "um <gato> & 🐱 à", "seed": 1}
    content, warnings = encode_image(
        Image.new("RGB", (16, 16)), suffix, record, "um gato 🐱\nSteps: 1", parts
    )
    (tmp_path / "a").write_bytes(content)
    found = read_metadata(tmp_path / "a")
    assert warnings == ()
    assert found.record == (record if "promptweight" in parts else None)
    assert found.infotext == ("um gato 🐱\nSteps: 1" if "parameters" in parts else None)
    assert (found.digital_source_type is not None) == ("iptc" in parts)


def test_encode_image_of_long_settings_as_jpeg_warns_and_leaves_them_out(tmp_path):
    text = "á" * 100_000
    content, warnings = encode_image(Image.new("RGB", (8, 8)), "jpeg", {"prompt": text}, text)
    (tmp_path / "a.jpeg").write_bytes(content)
    found = read_metadata(tmp_path / "a.jpeg")
    assert len(warnings) == 2
    assert (found.record, found.infotext) == (None, None)
    assert found.digital_source_type == DIGITAL_SOURCE_TYPE
    content, warnings = encode_image(Image.new("RGB", (8, 8)), "webp", {"prompt": text}, text)
    (tmp_path / "a.webp").write_bytes(content)
    assert warnings == ()
    assert read_metadata(tmp_path / "a.webp").record == {"prompt": text}


@pytest.mark.parametrize(("format", "parts"), [("gif", ()), ("png", ("exif",))])
def test_encode_image_with_an_unknown_format_or_part_raises(format, parts):  # noqa: A002
    with pytest.raises(SettingError, match="must be one of: "):
        encode_image(Image.new("RGB", (8, 8)), format, {}, "", parts)
