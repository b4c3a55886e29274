"""Painted masks, and the bias that they give to attention."""

import math

import numpy as np
import pytest
import torch

from promptweight.attention import Record, attach
from promptweight.attention.inspection import capture_attention
from promptweight.errors import SettingError, WordNotFoundError
from promptweight.prompt import parse
from promptweight_ui.regions.masks import COLORS, apply_regions, color_indices, color_masks


def layer(*strokes, size=(40, 60)):
    """A painted layer: (color number, rows, columns, opacity) for each stroke."""
    image = np.zeros((*size, 4), np.uint8)
    colors = list(COLORS.values())
    for number, rows, columns, opacity in strokes:
        color = [int(colors[number][start : start + 2], 16) for start in (1, 3, 5)]
        image[rows, columns] = [*color, opacity]
    return image


def test_colors_become_masks():
    left, right = slice(0, 30), slice(30, 60)
    masks = color_masks(color_indices([layer((0, slice(None), left, 255), (1, slice(0, 20), right, 255))]))
    assert masks[0].shape == (40, 60)
    assert masks[0][:, left].all()
    assert not masks[0][:, right].any()
    assert masks[1][:20, right].all()
    assert masks[1].mean() == pytest.approx(0.25)
    assert masks[2] is None


def test_later_layers_cover_and_faint_paint_is_ignored():
    everything = slice(None)
    layers = [layer((0, everything, everything, 255)), layer((2, everything, slice(0, 15), 200))]
    masks = color_masks(color_indices(layers))
    assert masks[0].mean() == pytest.approx(0.75)
    assert masks[2].mean() == pytest.approx(0.25)
    assert color_indices([layer((0, everything, everything, 20))]) is None
    assert color_indices([]) is None
    assert color_indices([np.zeros((4, 4), np.uint8), None, "x"]) is None


def test_large_masks_are_downsampled():
    masks = color_masks(color_indices([layer((0, slice(0, 256), slice(None), 255), size=(512, 1024))]))
    assert masks[0].shape == (64, 128)
    assert masks[0][:32].all()
    assert not masks[0][32:].any()


def test_only_painted_words_get_a_region():
    prompt = apply_regions("um (gato azul:1.4) e um gato", {"gato": np.ones((2, 2), np.float32)}, 5, 0.5)
    before = parse("um (gato azul:1.4) e um gato").at()
    assert prompt.text == before.text == "".join(span.text for span in prompt.spans)
    assert [(span.text, span.weight, span.options.region is not None) for span in prompt.spans] == [
        ("um ", 1.0, False),
        ("gato", math.e, True),
        (" azul", 1.4, False),
        (" e um ", 1.0, False),
        ("gato", math.e, True),
    ]
    assert prompt.source == before.source


def test_bias_is_the_logarithm_of_the_weight_at_every_position(tiny_pipe):
    mask = np.zeros((4, 4), np.float32)
    mask[:, :2] = 1
    for inside, outside in ((5.0, 0.5), (3.0, 1.0), (2.0, 0.0)):
        prompt = apply_regions("um gato um", {"gato": mask}, inside, outside)
        record = Record(patches=((0.5, 0.5),))
        with attach(tiny_pipe, prompt, record=record) as session, capture_attention(session, [0]) as capture:
            tiny_pipe(**session.inputs, num_inference_steps=1, generator=torch.Generator().manual_seed(0))
        for layer_capture in capture.text.values():
            side = math.isqrt(layer_capture.query.shape[1])
            bias = layer_capture.bias[0, :, 2].unflatten(0, (side, side))  # "gato" is the second token
            low = math.log(outside) if outside else -1e4
            torch.testing.assert_close(bias[:, : side // 2], torch.full((side, side // 2), math.log(inside)))
            torch.testing.assert_close(bias[:, side // 2 :], torch.full((side, side // 2), low))
            others = [column for column in range(layer_capture.bias.shape[2]) if column != 2]
            assert not layer_capture.bias[..., others].any()


def test_invalid_regions_raise():
    mask = np.ones((2, 2), np.float32)
    with pytest.raises(WordNotFoundError):
        apply_regions("um gato", {"rato": mask}, 5, 0)
    with pytest.raises(SettingError, match="paint a region"):
        apply_regions("um gato", {}, 5, 0)
    for inside, outside in ((0, 0), (math.nan, 1), (5, -1), (5, math.inf)):
        with pytest.raises(SettingError, match="weights"):
            apply_regions("um gato", {"gato": mask}, inside, outside)
