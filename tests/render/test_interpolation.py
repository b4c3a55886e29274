"""Upsampling of attention maps, against scipy's quadratic splines; sums and ranges are preserved."""

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from promptweight.render.interpolation import upsample_maps


@pytest.mark.parametrize("size", [(64, 64), (24, 40), (9, 11), (100, 37)])
@pytest.mark.parametrize("cells", [(8, 8), (3, 5), (1, 4)])
def test_upsample_maps_equals_scipy_quadratic_spline(cells: tuple[int, int], size: tuple[int, int]) -> None:
    maps = torch.rand(2, *cells, generator=torch.Generator().manual_seed(1))
    spline = {"order": 2, "prefilter": False, "mode": "nearest", "grid_mode": True}
    expected = [zoom(each.double().numpy(), np.divide(size, cells), **spline) for each in maps]
    assert np.allclose(upsample_maps(maps, size).numpy(), expected, atol=1e-6)


def test_upsample_maps_keeps_range_and_sum() -> None:
    maps = torch.rand(5, 4, 6, generator=torch.Generator().manual_seed(2)) ** 8
    maps /= maps.sum(0)
    large = upsample_maps(maps, (50, 41))
    assert large.min() >= 0
    assert large.max() <= 1
    assert torch.allclose(large.sum(0), torch.ones(50, 41))


def test_upsample_maps_peak_lies_between_equal_cells() -> None:
    cells = torch.zeros(4, 4)
    cells[1, 1], cells[1, 2] = 0.5, 0.49
    row, column = divmod(int(upsample_maps(cells, (64, 64)).argmax()), 64)
    assert abs(row - 23.5) <= 1  # the middle of the second row of cells
    assert abs(column - 31.5) <= 2  # the border of the second and third column


def test_upsample_maps_same_size_is_identity() -> None:
    cells = torch.rand(6, 9, generator=torch.Generator().manual_seed(3))
    assert torch.equal(upsample_maps(cells, (6, 9)), cells)


def test_upsample_maps_downsampling_averages_all_cells() -> None:
    cells = torch.zeros(32, 32)
    cells[10, 21] = 1
    small = upsample_maps(cells, (4, 4))
    assert small.argmax() == 1 * 4 + 2
    assert float(small.sum()) == pytest.approx(16 / 32**2, rel=0.01)
