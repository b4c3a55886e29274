"""Heat maps as arrays: conversion, normalization, resizing and blur."""

import numpy as np
import pytest
import torch

from promptweight.errors import SettingError
from promptweight.render.heat import as_heat, gaussian_blur, normalize, resize


class Map:
    def __init__(self, tensor):
        self.tensor = tensor


@pytest.mark.parametrize(
    "values",
    [
        [[0.0, 1.0], [2.0, 3.0]],
        np.array([[0, 1], [2, 3]], dtype=np.int64),
        torch.tensor([[0.0, 1.0], [2.0, 3.0]], requires_grad=True),
        torch.tensor([[0.0, 1.0], [2.0, 3.0]], dtype=torch.bfloat16),
        Map(torch.tensor([[0.0, 1.0], [2.0, 3.0]])),
    ],
    ids=["lists", "integers", "tensor", "bfloat16", "heat map"],
)
def test_as_heat_converts_every_array_type(values):
    heat = as_heat(values)
    assert heat.dtype == np.float32
    assert heat.tolist() == [[0.0, 1.0], [2.0, 3.0]]


def test_as_heat_replaces_nonfinite_values_with_zero():
    assert as_heat([[float("nan"), float("inf"), -float("inf"), 0.5]]).tolist() == [[0.0, 0.0, 0.0, 0.5]]


@pytest.mark.parametrize("shape", [(4,), (1, 2, 2), (0, 4)])
def test_as_heat_other_shapes_raise(shape):
    with pytest.raises(SettingError, match=r"\(height, width\)"):
        as_heat(np.zeros(shape))


def test_normalize_maps_extremes_to_0_and_1():
    heat = normalize(as_heat([[0.02, 0.07], [0.12, 0.03]]))
    assert heat.min() == 0
    assert heat.max() == 1
    assert heat[0, 1] == pytest.approx(0.5)


def test_normalize_constant_map_is_zero():
    assert not normalize(np.full((8, 8), 0.3, dtype=np.float32)).any()
    assert not normalize(np.zeros((8, 8), dtype=np.float32)).any()


def test_normalize_with_scale_clips():
    heat = normalize(as_heat([[0.0, 0.1, 0.2, 0.9]]), scale=(0.1, 0.3))
    assert heat == pytest.approx(np.array([[0.0, 0.0, 0.5, 1.0]]), abs=1e-6)


def test_resize_keeps_peak_position():
    heat = np.zeros((16, 16), dtype=np.float32)
    heat[4, 11] = 1
    large = resize(heat, (512, 512))
    peak = np.unravel_index(large.argmax(), large.shape)
    assert large.shape == (512, 512)
    assert abs(peak[0] - (4 + 0.5) * 32) <= 1
    assert abs(peak[1] - (11 + 0.5) * 32) <= 1


def test_resize_is_smooth_and_bounded():
    checkers = (np.indices((8, 8)).sum(axis=0) % 2).astype(np.float32)
    large = resize(checkers, (256, 256))
    assert np.abs(np.diff(large, axis=0)).max() < 0.05
    assert large.min() >= 0
    assert large.max() <= 1


def test_resize_takes_size_as_width_and_height():
    assert resize(np.zeros((4, 8), dtype=np.float32), (100, 50)).shape == (50, 100)


def test_gaussian_blur_equals_its_formula():
    point = np.zeros((41, 41), dtype=np.float32)
    point[20, 20] = 1
    y, x = np.mgrid[-20:21, -20:21]
    expected = np.exp(-(x**2 + y**2) / (2 * 3.0**2))
    assert gaussian_blur(point, 3.0) == pytest.approx(expected / expected.sum(), abs=1e-4)
    assert gaussian_blur(np.full((9, 9), 0.7, dtype=np.float32), 3.0) == pytest.approx(0.7, abs=1e-5)
