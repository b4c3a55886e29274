"""Maps of a word in all layers, heads and steps, compared with the recorded maps of the image."""

from base64 import b64decode

import pytest
import torch

from promptweight import generate
from promptweight.attention import Record
from promptweight_ui.explore import word_maps
from promptweight_ui.explore.attention import capture_layers

PROMPT = "um (gato:1.6) um"
GATO = 1


@pytest.fixture(scope="module")
def result(tiny_pipe):
    return generate(
        tiny_pipe, PROMPT, seed=3, num_inference_steps=4, record=Record(steps="keep", heads="keep")
    )


@pytest.fixture(scope="module")
def capture(tiny_pipe, result):
    return capture_layers(tiny_pipe, result).attention


def recorded(result, layer, step, head):
    slot = next(slot for slot in result.maps.recording.slots if slot.layers == (layer.name,))
    column = result.maps.recording.columns(("positive", 0))[GATO + 1]  # after the start token
    return slot.sums[step, 0, 0, head, :, column]


def assert_equal(shown, expected):
    values = torch.tensor(list(b64decode(shown["values"]))) / 255 * shown["top"]
    torch.testing.assert_close(values, expected, atol=shown["top"] / 200, rtol=0)
    assert shown["mean"] == pytest.approx(float(expected.mean()), rel=1e-2)


def test_wall_has_the_recorded_map_of_each_layer_and_head(capture, result):
    wall = word_maps.word_wall(capture, 2, GATO)
    assert [row["layer"] for row in wall] == list(range(len(capture.layers)))
    for row in wall:
        layer = capture.layers[row["layer"]]
        assert len(row["heads"]) == layer.heads
        for head, shown in enumerate(row["heads"]):
            assert_equal(shown, recorded(result, layer, 2, head))


def test_wall_of_many_layers_has_some_and_the_last(capture, monkeypatch):
    monkeypatch.setattr(word_maps, "MAX_LAYERS", 2)
    shown = [row["layer"] for row in word_maps.word_wall(capture, 0, GATO)]
    assert len(shown) <= 2
    assert shown[-1] == len(capture.layers) - 1


def test_film_has_the_recorded_map_of_each_step(capture, result):
    frames = word_maps.word_film(capture, 1, 0, 3, GATO)
    assert len(frames) == 4
    for step, shown in enumerate(frames):
        assert_equal(shown, recorded(result, capture.layers[1], step, 0))


def test_film_of_a_scheduled_prompt_follows_the_word(tiny_pipe):
    made = generate(tiny_pipe, "um [gato:um gato:0.5]", seed=3, num_inference_steps=4)
    capture = capture_layers(tiny_pipe, made).attention
    assert word_maps.word_film(capture, 0, 0, 0, 1)[2] == word_maps.word_film(capture, 0, 0, 2, 2)[2]
    assert [frame is None for frame in word_maps.word_film(capture, 0, 0, 2, 1)] == [True, True, False, False]


@pytest.mark.parametrize("place", [(9, 0, 0, 0), (0, 9, 0, 0), (0, 0, 9, 0), (0, 0, 0, 3), (0, 0, 0, -1)])
def test_missing_place_raises(capture, place):
    with pytest.raises(IndexError):
        word_maps.word_film(capture, *place)
    if place[2:] != (0, 0):
        with pytest.raises(IndexError):
            word_maps.word_wall(capture, *place[2:])
