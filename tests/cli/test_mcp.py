"""The tools of `promptweight mcp`, called by the client of the protocol's own library."""

import base64
import io
import json
import sys

import anyio
import pytest
from mcp import Client, StdioServerParameters
from PIL import Image

import promptweight
from promptweight.cli.mcp_tools import PromptTools


@pytest.fixture(scope="module")
def tools():
    return PromptTools("mini")


def call(server, name, **arguments):
    """Return a tool's images, its data, and whether it failed; the data of a failure is its text."""

    async def ask():
        async with Client(server) as client:
            return await client.call_tool(name, arguments)

    answer = anyio.run(ask)
    images = [
        Image.open(io.BytesIO(base64.b64decode(part.data))) for part in answer.content if part.type == "image"
    ]
    (text,) = [part.text for part in answer.content if part.type == "text"]
    return images, text if answer.is_error else json.loads(text), answer.is_error


def test_every_tool_is_listed_with_a_description_and_its_arguments(tools):
    async def ask():
        async with Client(tools.make_server()) as client:
            return (await client.list_tools()).tools

    listed = {tool.name: tool for tool in anyio.run(ask)}
    assert set(listed) == {"generate", "compare", "explain", "parse", "convert"}
    assert all(tool.description for tool in listed.values())
    assert listed["generate"].input_schema["required"] == ["prompt"]


def test_generate_returns_images_overlays_and_settings(tools, tmp_path):
    tools = PromptTools("mini", tmp_path)
    arguments = {"prompt": "a (red cat:1.4)", "overlays": ["red cat"], "seed": 3, "num_images": 2}
    images, data, failed = call(tools.make_server(), "generate", **arguments, num_inference_steps=2)
    assert not failed
    assert len(images) == 4
    assert data["seeds"] == [3, 4]
    assert data["settings"]["num_inference_steps"] == 2
    alone = promptweight.generate("mini", "a (red cat:1.4)", seed=3, num_inference_steps=2, record=False)
    assert images[0].tobytes() == alone.images[0].tobytes()
    assert sorted(data["files"]) == sorted(str(path) for path in tmp_path.glob("*.png"))


def test_compare_returns_one_sheet_and_a_row_for_each_weight(tools):
    arguments = {"prompt": "a red cat and a mouse", "phrase": "red cat", "weights": [0, 1, 2]}
    images, data, failed = call(tools.make_server(), "compare", **arguments, num_inference_steps=2)
    assert not failed
    assert len(images) == 1
    assert images[0].width > 3 * 128
    assert [row["weight"] for row in data["weights"]] == [0, 1, 2]
    assert data["weights"][0]["prompt"] == "a (red cat:0) and a mouse"
    assert data["weights"][1]["share"] < data["weights"][2]["share"]


def test_explain_measures_the_weighted_phrase(tools):
    _, data, failed = call(tools.make_server(), "explain", prompt="a (red cat:0.5) and a mouse")
    assert not failed
    (phrase,) = data["phrases"]
    assert phrase["phrase"] == "red cat"
    assert phrase["residual"] == pytest.approx(0, abs=0.01)
    assert "red cat" in phrase["sentence"]


def test_parse_and_convert_need_no_model():
    tools = PromptTools("no-such-model")
    _, data, failed = call(tools.make_server(), "parse", prompt="a (cat:1.4)")
    assert not failed
    assert data["fragments"] == [{"text": "a ", "weight": 1.0}, {"text": "cat", "weight": 1.4}]
    _, data, failed = call(tools.make_server(), "convert", prompt="a [cat]", source="a1111", target="comfy")
    assert not failed
    assert data == {"prompt": "a (cat:0.909091)", "losses": []}


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("generate", {"prompt": "a cat", "num_images": 5}, "num_images"),
        ("generate", {"prompt": "a cat", "weighting": "strong"}, "strong"),
        ("generate", {"prompt": "a cat", "overlays": ["dog"]}, "dog"),
        ("compare", {"prompt": "a cat", "phrase": "dog"}, "dog"),
        ("compare", {"prompt": "a cat", "phrase": "cat", "weights": []}, "weights"),
        ("explain", {"prompt": "a cat", "phrases": ["dog"]}, "dog"),
        ("parse", {"prompt": "a cat", "dialect": "latin"}, "latin"),
        ("convert", {"prompt": "a cat", "source": "pw", "target": "latin"}, "latin"),
    ],
)
def test_an_invalid_argument_is_named_in_the_error(tools, name, arguments, named):
    _, text, failed = call(tools.make_server(), name, **arguments)
    assert failed
    assert named in text


@pytest.mark.launch
def test_the_command_serves_over_stdin_and_stdout():
    command = StdioServerParameters(command=sys.executable, args=["-m", "promptweight", "mcp"])
    images, data, failed = call(command, "generate", prompt="a red cat", seed=1, num_inference_steps=2)
    assert not failed
    assert [image.size for image in images] == [(128, 128)]
    assert data["seeds"] == [1]
