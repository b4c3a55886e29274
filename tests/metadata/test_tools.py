"""Choice of the reader by the content of a file, tools whose files hold no settings, and hostile texts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from promptweight.errors import FileFormatError
from promptweight.metadata import read_metadata
from promptweight.metadata.image_texts import ImageTexts
from promptweight.metadata.tools import read_generation_info, read_text_file
from tests.metadata.graphs import graph

FOOOCUS = {"metadata_scheme": "fooocus", "prompt": "a fox", "steps": 30, "seed": "1"}


@pytest.mark.parametrize(
    ("texts", "tool"),
    [
        ({"parameters": json.dumps(FOOOCUS)}, "Fooocus"),
        ({"parameters": json.dumps({"sui_image_params": {"prompt": "a fox"}})}, "SwarmUI"),
        ({"parameters": json.dumps(graph("a fox"))}, "ComfyUI"),
        ({"prompt": json.dumps(graph("a fox")), "parameters": "a dog\nSteps: 2"}, "ComfyUI"),
        ({"Comment": json.dumps(FOOOCUS)}, "Fooocus"),
        ({"Comment": "a fox\nSteps: 20, Sampler: Euler, Seed: 1"}, "AUTOMATIC1111"),
        ({"parameters": "a fox"}, "AUTOMATIC1111"),
        ({"parameters": "{red|blue} fox"}, "AUTOMATIC1111"),
        ({"parameters": "[fox]"}, "AUTOMATIC1111"),
    ],
)
def test_tool_is_known_by_the_content(read_texts, texts, tool):
    info = read_texts(**texts)
    assert (info.tool, info.error) == (tool, None)
    assert "fox" in info.prompt


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        "{",
        '{"prompt": ',
        '{"prompt": "a fox", "steps": ',
        "{}",
        '{"uc": 1}',
        '  {"sui_image_params": 3}',
    ],
)
def test_json_that_is_not_understood_is_an_error_and_no_empty_prompt(tmp_path, text):
    info = PngInfo()
    info.add_text("parameters", text)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    metadata = read_metadata(tmp_path / "a.png")
    if text == "{":
        assert metadata.generation_info().prompt == "{"
        return
    assert metadata.infotext == text
    with pytest.raises(FileFormatError, match="JSON of an unknown form without a prompt"):
        metadata.generation_info()


@pytest.mark.parametrize(
    ("texts", "tool"),
    [
        ({"Software": "NovelAI"}, "NovelAI"),
        ({"exif:Software": "Adobe Firefly"}, "Adobe Firefly"),
        ({"exif:Make": "OpenAI"}, "OpenAI"),
        ({"Software": "Midjourney v6"}, "Midjourney"),
    ],
)
def test_tool_without_settings_is_named(read_texts, texts, tool):
    info = read_texts(**texts)
    assert (info.tool, info.prompt, info.error.code) == (tool, "", "settings-missing")
    assert tool in info.error


@pytest.mark.parametrize(
    ("name", "value"), [("xmp:CreatorTool", "Draw Things"), ("photoshop:Credit", "Made with Google AI")]
)
def test_tool_named_in_an_xmp_packet(name, value):
    info = read_generation_info(
        ImageTexts(xmp=f"<rdf:Description><{name}>{value}</{name}></rdf:Description>")
    )
    assert info.error.code == "settings-missing"
    assert info.tool in value


def test_tool_named_in_content_credentials(tmp_path):
    info = PngInfo()
    info.add(b"caBX", b"\0\0\0\x10jumb...c2pa...claim_generator_info dname gChatGPT ...")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    metadata = read_metadata(tmp_path / "a.png")
    assert (metadata.other_tool.tool, metadata.other_tool.error.code) == ("ChatGPT", "settings-missing")


@pytest.mark.parametrize(
    "texts", [{"Software": "Canvas 12"}, {"exif:Make": "Canon"}, {"Software": "GIMP 2.10"}]
)
def test_other_programs_are_not_tools(read_texts, texts):
    assert read_texts(**texts) is None


def test_prompt_of_midjourney(read_texts):
    info = read_texts(Description="a red fox in snow --ar 3:2 --v 6.1 Job ID: 0a1b", Author="someone")
    assert (info.tool, info.prompt, info.dialect) == ("Midjourney", "a red fox in snow", "plain")
    assert info.warnings[0].fields["names"] == "--ar 3:2 --v 6.1"
    assert read_texts(Description="a photo -- taken in 1999") is None


@pytest.mark.parametrize(
    "texts",
    [
        {"prompt": "{" * 100_000},
        {"prompt": json.dumps({"1": {"inputs": {"positive": ["1", 0], "negative": ["1", 0], "seed": 1}}})},
        {"prompt": json.dumps({"1": [], "2": {"inputs": 3}})},
        {"prompt": "a cat"},
        {"workflow": json.dumps({"nodes": [None, 3, {}], "links": [[], 1, {}]})},
        {"invokeai_metadata": "[1]"},
        {"sd-metadata": json.dumps({"image": 3})},
        {"parameters": '{"sui_image_params": 3}'},
        {"parameters": "[" * 100_000},
        {"Comment": json.dumps({"v4_prompt": {"caption": {"char_captions": [1, {}]}}})},
        {"prompt": '{"1": {"inputs": {"seed": ' + "9" * 5000 + "}}}"},
        {"prompt": '{"1": {"inputs": {"seed": NaN, "steps": Infinity, "positive": "a"}}}'},
    ],
)
def test_content_of_another_shape_is_an_error_or_nothing(read_texts, texts):
    info = read_texts(**texts)
    assert info is None or info.error is not None or info.prompt


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "parameters",
                "prompt",
                "workflow",
                "Comment",
                "Dream",
                "sd-metadata",
                "invokeai_metadata",
                "Software",
                "Description",
                "negative_prompt",
                "num_inference_steps",
                "sampler_name",
            ]
        ),
        st.text()
        | st.recursive(
            st.none() | st.integers() | st.text(),
            lambda inside: (
                st.lists(inside)
                | st.dictionaries(
                    st.sampled_from(
                        ["prompt", "uc", "steps", "inputs", "image", "sui_image_params", "caption", "loras"]
                    ),
                    inside,
                )
            ),
        ).map(json.dumps),
    ),
    st.text(),
    st.text(),
)
def test_any_texts_are_read_without_error(texts, comment, xmp):
    read_generation_info(ImageTexts(texts, (comment,), xmp, comment, size=(8, 8)))
    read_text_file(comment)
