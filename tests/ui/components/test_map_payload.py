"""Payload of the maps: the maps of the library, rounded to bytes."""

import base64
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from promptweight import generate
from promptweight.attention import Record
from promptweight.maps import AttentionMaps
from promptweight_ui.components import map_payload
from promptweight_ui.components.map_payload import MAX_GRID_SIDE, maps_payload

PROMPT = "um (gato:1.4) gato, aa"


@pytest.fixture(scope="module")
def result(tiny_pipe):
    return generate(
        tiny_pipe,
        PROMPT,
        num_inference_steps=4,
        num_images_per_prompt=2,
        seed=3,
        record=Record(steps="keep", refine=True),
    )


def composed(message, word, size, image=0, unit="probability", kind="words", parts=None):
    """A map as the page composes it, written independently in numpy and torch."""
    grids = {}
    for plane in message["planes"]:
        is_default = message["groups"][plane["group"]]["default"][kind]
        if (plane["image"], plane["kind"]) != (image, kind) or not is_default:
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
def test_payload_composes_to_the_maps_of_the_library(result, unit, kind, image):
    message = maps_payload(result.maps, 2)
    view = result.maps.refined() if kind == "refined" else result.maps
    view = view.share() if unit == "share" else view
    for number, word in enumerate(result.words):
        expected = view.word(word.text, word.occurrence, image=image).tensor
        shown = composed(message, number, expected.shape, image, unit, kind)
        assert torch.allclose(shown, expected, atol=1.5 / 255 * float(expected.max()))


@pytest.mark.parametrize("kind", ["words", "refined"])
def test_layers_outside_the_advice_are_others(result, kind):
    recording = result.maps.recording
    slots = [replace(slot, is_advised="up" in slot.layers[0]) for slot in recording.slots]
    maps = AttentionMaps.from_recording(replace(recording, slots=tuple(slots)))
    message = maps_payload(maps, 1)
    parts = [(group["part"], group["default"][kind]) for group in message["groups"]]
    assert ("others", False) in parts
    assert ("others", True) not in parts
    assert ("up", True) in parts
    view = maps.refined() if kind == "refined" else maps
    expected = view.word("gato").tensor
    every = result.maps.refined() if kind == "refined" else result.maps
    assert not torch.equal(expected, every.word("gato").tensor)
    shown = composed(message, 1, expected.shape, kind=kind)
    assert torch.allclose(shown, expected, atol=1.5 / 255 * float(expected.max()))


def test_parts_of_the_steps_are_separate(result):
    message = maps_payload(result.maps, 2)
    assert message["parts"] == [[0, 1], [1, 2], [2, 3], [3, 4]]
    expected = result.maps.steps(1, 3).word("gato").tensor
    shown = composed(message, 1, expected.shape, parts=(1, 2))
    assert torch.allclose(shown, expected, atol=1.5 / 255 * float(expected.max()))


def test_words_have_weights_and_occurrences(result):
    words = maps_payload(result.maps, 1)["words"]
    assert [(word["text"], word["weight"], word["occurrence"], word["punctuation"]) for word in words] == [
        ("um", 1.0, 0, False),
        ("gato", 1.4, 0, False),
        ("gato", 1.0, 1, False),
        (",", 1.0, 0, True),
        ("aa", 1.0, 0, False),
    ]


def test_payload_is_json(result):
    json.dumps(maps_payload(result.maps, 2), allow_nan=False)


def test_no_maps_are_an_empty_payload():
    assert maps_payload(None, 3)["planes"] == []


def test_large_recording_has_fewer_parts(result, monkeypatch):
    monkeypatch.setattr(map_payload, "MAX_BYTES", 12_000)
    message = maps_payload(result.maps, 2)
    numbers = sum(len(base64.b64decode(plane["maps"])) for plane in message["planes"])
    assert numbers <= 12_000
    assert len(message["parts"]) == 1
    expected = result.maps.word("um").tensor
    assert torch.allclose(composed(message, 0, expected.shape), expected, atol=0.05 * float(expected.max()))


def test_smaller_grids_keep_their_shape():
    assert map_payload.fit_grid(128, 64, MAX_GRID_SIDE) == (64, 32)
    assert map_payload.fit_grid(16, 24, MAX_GRID_SIDE) == (16, 24)
    assert map_payload.fit_grid(1000, 1, MAX_GRID_SIDE) == (64, 1)


def test_size_limit_ends_at_the_smallest_payload(monkeypatch):
    monkeypatch.setattr(map_payload, "MAX_BYTES", 1)
    assert map_payload.limit_size([map_payload.LayerGroup("up", 64, 64, True, True)], 20, 10) == (1, 8)


def test_unfinished_image_of_a_long_prompt_has_no_maps(result, monkeypatch):
    monkeypatch.setattr(map_payload, "MAX_LIVE_WORDS", len(result.maps.words))
    assert map_payload.live_payload(result.maps) == maps_payload(result.maps, 1, parts=1)
    monkeypatch.setattr(map_payload, "MAX_LIVE_WORDS", len(result.maps.words) - 1)
    assert map_payload.live_payload(result.maps) is None
    assert map_payload.live_payload(None) == maps_payload(None, 1)


def test_work_grows_linearly_with_the_words(tiny_pipe):
    lines = [count_lines(tiny_pipe, "um gato, " * number) for number in (60, 120)]
    assert lines[1] < 2.5 * lines[0]


def count_lines(pipe, prompt):
    """Return the number of lines of Python that the payload of a prompt runs."""
    maps = generate(pipe, prompt, num_inference_steps=1, seed=3, record=True).maps
    count = 0

    def trace(_frame, event, _value):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        maps_payload(maps, 1)
    finally:
        sys.settrace(before)
    return count
