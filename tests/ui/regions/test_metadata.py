"""Painted regions in the settings of an image: complete, small, and validated."""

import base64
import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from promptweight_ui.regions.masks import MAX_CELLS, color_indices
from promptweight_ui.regions.metadata import MAX_MAP_LENGTH, PaintedRegions, parse_regions


@pytest.fixture
def painted():
    indices = np.zeros((MAX_CELLS, 96), np.uint8)
    indices[10:60, 20:50], indices[40:90, 40:80], indices[-1, -1] = 1, 2, 3
    return PaintedRegions(("gato", "rato azul", ""), indices, 10.0, 0.05)


def png(image, **settings):
    file = io.BytesIO()
    image.save(file, "PNG", **settings)
    return base64.b64encode(file.getvalue()).decode()


def of_color(number):
    image = Image.fromarray(np.full((8, 8), number, np.uint8), "P")
    image.putpalette([value for value in range(256) for _ in "rgb"])
    return image


def test_regions_are_restored_from_their_record(painted):
    settings = json.loads(json.dumps({"regions": painted.record()}))
    restored = parse_regions(settings)
    assert (restored.words, restored.inside, restored.outside) == (painted.words, 10.0, 0.05)
    assert (restored.indices == painted.indices).all()
    assert len(settings["regions"]["map"]) < 1000


def test_noise_is_restored():
    indices = np.random.default_rng(1).integers(0, 4, (MAX_CELLS, MAX_CELLS)).astype(np.uint8)
    record = PaintedRegions(("a", "b", "c"), indices, 1.0, 0.0).record()
    assert (parse_regions({"regions": record}).indices == indices).all()


def test_canvas_layer_has_the_same_regions(painted):
    square = PaintedRegions(painted.words, painted.indices[:96, :96], 10.0, 0.05)
    assert square.layer(512).shape == (512, 512, 4)
    small = color_indices([square.layer(96 * 4)])
    assert (small == np.asarray(Image.fromarray(square.indices).resize(small.shape, 0))).mean() > 0.97


@pytest.mark.parametrize(
    "changes",
    [
        {"words": None}, {"words": ["a"]}, {"words": ["a", "b", 3]}, {"words": ["a", "b", "\ud800"]},
        {"words": ["a", "b", "x" * 1000]}, {"inside": 0}, {"inside": float("nan")}, {"inside": "10"},
        {"inside": True}, {"outside": -1}, {"outside": 1e9}, {"outside": None}, {"map": None}, {"map": ""},
        {"map": "not base64!"}, {"map": "é"}, {"map": "aGFsbG8="}, {"map": "A" * (MAX_MAP_LENGTH + 4)},
        {"map": png(Image.new("RGB", (8, 8)))}, {"map": png(Image.new("P", (MAX_CELLS + 1, 8)))},
        {"map": png(of_color(9))}, {"map": png(Image.new("P", (8, 8)))[:60]},
    ],
)  # fmt: skip
def test_invalid_record_is_ignored(painted, changes):
    assert parse_regions({"regions": painted.record()}) is not None
    assert parse_regions({"regions": painted.record() | changes}) is None


@pytest.mark.parametrize("regions", [None, 3, "gato", [], {}, {"words": {}}])
def test_other_values_are_ignored(regions):
    assert parse_regions({"regions": regions}) is None
    assert parse_regions({}) is None


def test_map_with_a_huge_header_is_not_decompressed(painted):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 2, 3, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    bomb = base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()
    assert len(bomb) < MAX_MAP_LENGTH
    assert parse_regions({"regions": painted.record() | {"map": bomb}}) is None
