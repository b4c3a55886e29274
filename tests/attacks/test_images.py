"""Hostile image files: bombs in pixels and texts, loops in EXIF data and graphs, texts against patterns."""

import io
import json
import math
import os
import struct
import tracemalloc
import zlib

import pytest
from PIL import Image

from promptweight.errors import FileFormatError
from promptweight.metadata import read_metadata
from tests.attacks.conftest import check_one_sentence

pytestmark = pytest.mark.slow
BILLION = 10**9


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks, size=(8, 8), pixels=None):
    """Return a PNG of RGB pixels, black unless they are given, with chunks before them."""
    width, height = size
    content = zlib.compress(bytes((1 + 3 * width) * height)) if pixels is None else pixels
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", content), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def text_png(name, text):
    return png(chunk(b"tEXt", name.encode() + b"\0" + text.encode()))


def bomb(size=BILLION):
    """Return zeros compressed to a thousandth."""
    compressor = zlib.compressobj(9)
    return b"".join(compressor.compress(bytes(10**6)) for _ in range(size // 10**6)) + compressor.flush()


@pytest.fixture
def info(tmp_path):
    """Function that reads the settings in an image file of some bytes."""

    def info(content, name="a.png"):
        (tmp_path / name).write_bytes(content)
        return read_metadata(tmp_path / name).generation_info()

    return info


@pytest.mark.parametrize(
    "head", [b"zTXt" + b"parameters\0\0", b"iTXt" + b"parameters\0\1\0\0\0", b"iCCP" + b"x\0\0"]
)
def test_text_that_inflates_to_a_gigabyte_is_refused(info, head):
    content = png(chunk(head[:4], head[4:] + bomb()))
    tracemalloc.start()
    with pytest.raises(FileFormatError, match="too large"):
        info(content)
    assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    tracemalloc.stop()


def test_texts_that_inflate_together_are_refused(info):
    texts = [chunk(b"zTXt", b"p%d\0\0" % number + zlib.compress(bytes(10**6))) for number in range(300)]
    with pytest.raises(FileFormatError, match="Too much memory"):
        info(png(*texts))


@pytest.mark.parametrize("size", [(50_000, 50_000), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1)])
def test_huge_image_is_refused_by_its_header(info, size):
    with pytest.raises(FileFormatError, match="is not a readable image"):
        info(png(size=size, pixels=zlib.compress(bytes(100))))


def test_large_image_that_is_cut_off_is_refused_without_a_warning(info):
    with pytest.raises(FileFormatError, match="truncated"):
        info(png(size=(12_000, 12_000), pixels=zlib.compress(bytes(100))))


def test_large_image_is_read_by_the_command_in_bounded_memory(tmp_path, run_limited):
    side = 12_000
    compressor = zlib.compressobj(9)
    rows = b"".join(compressor.compress(bytes(1 + 3 * side)) for _ in range(side)) + compressor.flush()
    text = chunk(b"tEXt", b"parameters\0um gato\nSteps: 20, Seed: 1")
    (tmp_path / "a.png").write_bytes(png(text, size=(side, side), pixels=rows))
    status, out, err = run_limited("info", tmp_path / "a.png", limit=2_000)
    assert (status, "um gato" in out, "Warning" in err) == (0, True, False)


def test_picture_of_a_format_that_runs_programs_is_refused(tmp_path, run_limited):
    canary = tmp_path / "canary"
    script = (
        f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n({canary}) (w) file closefile\n"
    )
    (tmp_path / "a.png").write_text(script)
    answer = run_limited("generate", "a", "--image", tmp_path / "a.png", limit=16_000)
    check_one_sentence(answer, 2, "cannot be read as a picture")
    assert not canary.exists()


@pytest.mark.parametrize("command", ["info", "generate"])
def test_pipe_as_an_image_is_refused_at_once(tmp_path, run_limited, command):
    os.mkfifo(tmp_path / "a.png")
    if command == "info":
        check_one_sentence(run_limited("info", tmp_path / "a.png"), 1, "a pipe, socket or device")
    else:
        answer = run_limited("generate", "a", "--image", tmp_path / "a.png", limit=16_000)
        check_one_sentence(answer, 2, "a pipe, socket or device")


def test_pipes_and_devices_have_no_settings(tmp_path):
    os.mkfifo(tmp_path / "a.txt")
    for path in (tmp_path / "a.txt", "/dev/zero"):
        with pytest.raises(FileFormatError, match="a pipe, socket or device"):
            read_metadata(path)


def test_pipe_beside_an_image_is_not_opened(info, tmp_path):
    os.mkfifo(tmp_path / "a.txt")
    assert info(png()) is None


@pytest.mark.parametrize(
    "entries",
    [
        [(0x8769, 4, 1, 8)],
        [(0x9286, 7, 2**32 - 1, 8)],
        [(number, 2, 4_000, 26) for number in range(5_000)],
        [(0x8769, 4, 2**31, 2**31)],
    ],
    ids=["directory in itself", "length", "number", "offset"],
)
def test_lying_exif_data_has_no_settings(info, entries):
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *each) for each in entries)
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", 8)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    content = file.getvalue()
    exif = exif[:65_000]
    assert (
        info(content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:], "a.jpg")
        is None
    )


def test_entities_of_an_xmp_packet_are_not_expanded(info):
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    packet = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "x">{entities}]><x>&l9;</x>'
    head = b"XML:com.adobe.xmp\0\0\0\0\0"
    assert info(png(chunk(b"iTXt", head + packet.encode()))) is None


INFOTEXTS = {
    "settings": "Steps: 1, " * 100_000,
    "quotes": "a\nSteps: 20, " + 'A: "' * 200_000,
    "escapes": 'a\nSteps: 20, x: "' + '\\"' * 400_000,
    "brackets": "a\nSteps: 20, " + "A: {" * 200_000,
    "nested": "a\nSteps: 20, A: " + "[" * 800_000,
    "tags": "<lora:" * 150_000 + "\nSteps: 20, Seed: 1",
    "negatives": "Negative prompt:\n" * 50_000 + "Steps: 20, Seed: 1",
    "hashes": 'a\nSteps: 20, Lora hashes: "' + "a: b, " * 150_000 + '"',
    "colons": ":" * 900_000,
    "steps": "Steps: " * 130_000,
    "spaces": "a\nSteps: 20," + " " * 900_000 + "x",
    "lines": "a" + "\n" * 900_000,
}


@pytest.mark.parametrize("text", INFOTEXTS.values(), ids=INFOTEXTS)
def test_infotexts_against_patterns_are_read_in_linear_time(info, text):
    assert len(text) <= 1_000_000
    found = info(text_png("parameters", text))
    assert found is None or found.tool == "AUTOMATIC1111"


RECORDS = {
    "arrays": "[" * 200_000,
    "objects": '{"a":' * 200_000,
    "digits": '{"seed": ' + "9" * 200_000 + "}",
}


@pytest.mark.parametrize("text", RECORDS.values(), ids=RECORDS)
@pytest.mark.parametrize(
    "name", ["promptweight", "prompt", "workflow", "invokeai_metadata", "Comment", "Dream"]
)
def test_nested_and_endless_json_has_no_prompt(info, name, text):
    try:
        found = info(text_png(name, text))
    except FileFormatError:
        return
    assert found is None or not found.options


def test_numbers_that_are_not_finite_set_no_option(info, tmp_path, run_limited):
    record = '{"prompt": "a", "seed": NaN, "guidance_scale": Infinity, "num_inference_steps": 1e999}'
    settings = info(text_png("promptweight", record)).settings
    assert math.isnan(settings["seed"])
    answer = run_limited("generate", "--from", tmp_path / "a.png", limit=16_000)
    assert answer[0] in (1, 2)
    assert "Traceback" not in answer[2]


def sampler(**links):
    inputs = {"seed": 1, "steps": 2, "positive": ["0", 0], "negative": ["0", 0], "model": ["m", 0], **links}
    return {"class_type": "KSampler", "inputs": inputs}


def chain(kind, number, *names, **values):
    """Return nodes that each take the next one for all of these inputs."""
    return {
        str(i): {"class_type": kind, "inputs": {**{name: [str(i + 1), 0] for name in names}, **values}}
        for i in range(number)
    }


TEXT_NODE = {"class_type": "CLIPTextEncode", "inputs": {"text": "um gato"}}
GRAPHS = {
    "loop": {**chain("CLIPTextEncode", 3, "text"), "3": TEXT_NODE | {"inputs": {"text": ["0", 0]}}},
    "diamonds": {
        **chain("ConditioningCombine", 3_000, "conditioning_1", "conditioning_2"),
        "3000": TEXT_NODE,
    },
    "doubled text": {**chain("StringConcatenate", 60, "string_a", "string_b"), "60": TEXT_NODE},
    "chain": chain("ConditioningSetTimestepRange", 100_000, "conditioning"),
    "loras": chain("LoraLoader", 50_000, "model", lora_name="x", strength_model=1e308),
    "samplers": {
        str(i): sampler(positive=[str(i + 1), 0], latent_image=[str(i + 7), 0]) for i in range(5_000)
    },
}


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_endless_graphs_of_comfyui_are_read_in_bounded_time(info, graph):
    nodes = {**graph, "k": sampler(model=["0", 0], latent_image=["k", 0])}
    try:
        found = info(text_png("prompt", json.dumps(nodes)))
    except FileFormatError:
        return
    assert found.prompt == "um gato"
