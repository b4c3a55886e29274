"""The message to the page: the same maps as the library's own, to the rounding of a byte."""

import base64
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from promptweight import generate
from promptweight.attention import Record
from promptweight.maps import AttentionMaps
from promptweight_ui.components import map_payload
from promptweight_ui.components.map_payload import LONGEST_GRID, maps_of

PROMPT = "um (gato:1.4) gato, aa"


@pytest.fixture(scope="module")
def result(tiny_pipe):
    return generate(
        PROMPT,
        tiny_pipe,
        num_inference_steps=4,
        num_images_per_prompt=2,
        seed=3,
        record=Record(steps="keep", refine=True),
    )


def composed(message, word, size, image=0, unit="probability", kind="words", parts=None):
    """What the page shows of a message: written a second time, in numpy and torch."""
    grids = {}
    for plane in message["planes"]:
        if (plane["image"], plane["kind"]) != (image, kind) or not message["groups"][plane["group"]]["usual"][
            kind
        ]:
            continue
        if parts is not None and plane["part"] not in parts:
            continue
        shape = plane["height"], plane["width"]
        maps = np.frombuffer(base64.b64decode(plane["maps"]), np.uint8).reshape(-1, *shape)
        total = np.frombuffer(base64.b64decode(plane["total"]), np.uint8).reshape(shape)
        weight = plane["layers"] * plane["steps"]
        sums, totals, count = grids.get(shape, (0, 0, 0))
        sums = sums + weight * plane["scales"][word] / 255 * maps[word]
        grids[shape] = sums, totals + weight * plane["top"] / 255 * total, count + weight
    fields = [sums / (totals if unit == "share" else count) for sums, totals, count in grids.values()]
    large = [
        zoom(f, np.divide(size, f.shape), order=2, prefilter=False, mode="nearest", grid_mode=True)
        for f in fields
    ]
    return torch.tensor(np.mean(large, axis=0)).float()


@pytest.mark.parametrize("unit", ["probability", "share"])
@pytest.mark.parametrize("kind", ["words", "refined"])
@pytest.mark.parametrize("image", [0, 1])
def test_the_page_can_put_every_map_together(result, unit, kind, image):
    message = maps_of(result.maps, 2)
    view = result.maps.refined() if kind == "refined" else result.maps
    view = view.share() if unit == "share" else view
    for number, word in enumerate(result.words):
        expected = view.word(word.text, word.occurrence, image=image).tensor
        shown = composed(message, number, expected.shape, image, unit, kind)
        assert torch.allclose(shown, expected, atol=1.5 / 255 * float(expected.max()))


@pytest.mark.parametrize("kind", ["words", "refined"])
def test_layers_that_are_not_advised_are_others(result, kind):
    recording = result.maps.recording
    slots = [replace(slot, is_advised="up" in slot.layers[0]) for slot in recording.slots]
    maps = AttentionMaps.of(replace(recording, slots=tuple(slots)))
    message = maps_of(maps, 1)
    parts = [(group["part"], group["usual"][kind]) for group in message["groups"]]
    assert ("others", False) in parts
    assert ("others", True) not in parts
    assert ("up", True) in parts
    view = maps.refined() if kind == "refined" else maps
    expected = view.word("gato").tensor
    every = result.maps.refined() if kind == "refined" else result.maps
    assert not torch.equal(expected, every.word("gato").tensor)
    shown = composed(message, 1, expected.shape, kind=kind)
    assert torch.allclose(shown, expected, atol=1.5 / 255 * float(expected.max()))


def test_steps_can_be_told_apart(result):
    message = maps_of(result.maps, 2)
    assert message["parts"] == [[0, 1], [1, 2], [2, 3], [3, 4]]
    expected = result.maps.steps(1, 3).word("gato").tensor
    shown = composed(message, 1, expected.shape, parts=(1, 2))
    assert torch.allclose(shown, expected, atol=1.5 / 255 * float(expected.max()))


def test_words_and_weights_are_told(result):
    words = maps_of(result.maps, 1)["words"]
    assert [(word["text"], word["weight"], word["occurrence"], word["punctuation"]) for word in words] == [
        ("um", 1.0, 0, False),
        ("gato", 1.4, 0, False),
        ("gato", 1.0, 1, False),
        (",", 1.0, 0, True),
        ("aa", 1.0, 0, False),
    ]


def test_it_is_plain_json(result):
    json.dumps(maps_of(result.maps, 2), allow_nan=False)


def test_no_maps_are_an_empty_message():
    assert maps_of(None, 3)["planes"] == []


def test_a_large_recording_is_told_in_fewer_parts(result, monkeypatch):
    monkeypatch.setattr(map_payload, "MOST_NUMBERS", 12_000)
    message = maps_of(result.maps, 2)
    numbers = sum(len(base64.b64decode(plane["maps"])) for plane in message["planes"])
    assert numbers <= 12_000
    assert len(message["parts"]) == 1
    expected = result.maps.word("um").tensor
    assert torch.allclose(composed(message, 0, expected.shape), expected, atol=0.05 * float(expected.max()))


def test_grids_keep_their_shape_when_they_are_made_smaller():
    assert map_payload._fitted(128, 64, LONGEST_GRID) == (64, 32)
    assert map_payload._fitted(16, 24, LONGEST_GRID) == (16, 24)
    assert map_payload._fitted(1000, 1, LONGEST_GRID) == (64, 1)


def test_however_large_a_recording_is_there_is_an_end_to_shrinking_it(monkeypatch):
    monkeypatch.setattr(map_payload, "MOST_NUMBERS", 1)
    assert map_payload._affordable([map_payload.Group("up", 64, 64, True, True)], 20, 10) == (1, 8)
