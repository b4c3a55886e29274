"""Painted regions in a picture's settings: kept whole, small, and never trusted."""

import base64
import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from promptweight_ui.regions.masks import FINEST, owners_of
from promptweight_ui.regions.metadata import MOST_LETTERS, Painted, painted_in


@pytest.fixture
def painted():
    owners = np.zeros((FINEST, 96), np.uint8)
    owners[10:60, 20:50], owners[40:90, 40:80], owners[-1, -1] = 1, 2, 3
    return Painted(("gato", "rato azul", ""), owners, 10.0, 0.05)


def png(image, **settings):
    file = io.BytesIO()
    image.save(file, "PNG", **settings)
    return base64.b64encode(file.getvalue()).decode()


def of_color(number):
    image = Image.fromarray(np.full((8, 8), number, np.uint8), "P")
    image.putpalette([value for value in range(256) for _ in "rgb"])
    return image


def test_what_was_painted_comes_back(painted):
    kept = json.loads(json.dumps({"regions": painted.record()}))
    again = painted_in(kept)
    assert (again.words, again.inside, again.outside) == (painted.words, 10.0, 0.05)
    assert (again.owners == painted.owners).all()
    assert len(kept["regions"]["map"]) < 1000


def test_noise_is_kept_too():
    owners = np.random.default_rng(1).integers(0, 4, (FINEST, FINEST)).astype(np.uint8)
    record = Painted(("a", "b", "c"), owners, 1.0, 0.0).record()
    assert (painted_in({"regions": record}).owners == owners).all()


def test_the_canvas_shows_it_and_is_read_as_the_same(painted):
    square = Painted(painted.words, painted.owners[:96, :96], 10.0, 0.05)
    assert square.layer(512).shape == (512, 512, 4)
    small = owners_of([square.layer(96 * 4)])
    assert (small == np.asarray(Image.fromarray(square.owners).resize(small.shape, 0))).mean() > 0.97


@pytest.mark.parametrize(
    "changes",
    [
        {"words": None}, {"words": ["a"]}, {"words": ["a", "b", 3]}, {"words": ["a", "b", "\ud800"]},
        {"words": ["a", "b", "x" * 1000]}, {"inside": 0}, {"inside": float("nan")}, {"inside": "10"},
        {"inside": True}, {"outside": -1}, {"outside": 1e9}, {"outside": None}, {"map": None}, {"map": ""},
        {"map": "not base64!"}, {"map": "é"}, {"map": "aGFsbG8="}, {"map": "A" * (MOST_LETTERS + 4)},
        {"map": png(Image.new("RGB", (8, 8)))}, {"map": png(Image.new("P", (FINEST + 1, 8)))},
        {"map": png(of_color(9))}, {"map": png(Image.new("P", (8, 8)))[:60]},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_left_alone(painted, changes):
    assert painted_in({"regions": painted.record()}) is not None
    assert painted_in({"regions": painted.record() | changes}) is None


@pytest.mark.parametrize("regions", [None, 3, "gato", [], {}, {"words": {}}])
def test_other_things_are_no_regions(regions):
    assert painted_in({"regions": regions}) is None
    assert painted_in({}) is None


def test_a_map_that_claims_to_be_huge_is_not_unpacked(painted):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 2, 3, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    bomb = base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()
    assert len(bomb) < MOST_LETTERS
    assert painted_in({"regions": painted.record() | {"map": bomb}}) is None
