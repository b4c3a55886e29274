"""Maps of cells as maps of pixels: the splines of scipy, and nothing gained or lost."""

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from promptweight.render.interpolation import upsample_maps


@pytest.mark.parametrize("size", [(64, 64), (24, 40), (9, 11), (100, 37)])
@pytest.mark.parametrize("cells", [(8, 8), (3, 5), (1, 4)])
def test_it_is_the_quadratic_spline_of_scipy(cells: tuple[int, int], size: tuple[int, int]) -> None:
    maps = torch.rand(2, *cells, generator=torch.Generator().manual_seed(1))
    spline = {"order": 2, "prefilter": False, "mode": "nearest", "grid_mode": True}
    expected = [zoom(each.double().numpy(), np.divide(size, cells), **spline) for each in maps]
    assert np.allclose(upsample_maps(maps, size).numpy(), expected, atol=1e-6)


def test_probabilities_stay_probabilities_and_shares_sum_to_1() -> None:
    maps = torch.rand(5, 4, 6, generator=torch.Generator().manual_seed(2)) ** 8
    maps /= maps.sum(0)
    large = upsample_maps(maps, (50, 41))
    assert large.min() >= 0
    assert large.max() <= 1
    assert torch.allclose(large.sum(0), torch.ones(50, 41))


def test_a_map_is_highest_between_the_cells_that_share_the_attention() -> None:
    cells = torch.zeros(4, 4)
    cells[1, 1], cells[1, 2] = 0.5, 0.49
    row, column = divmod(int(upsample_maps(cells, (64, 64)).argmax()), 64)
    assert abs(row - 23.5) <= 1  # the middle of the second row of cells
    assert abs(column - 31.5) <= 2  # the border of the second and third column


def test_a_map_of_the_pictures_size_is_left_as_it_was_recorded() -> None:
    cells = torch.rand(6, 9, generator=torch.Generator().manual_seed(3))
    assert torch.equal(upsample_maps(cells, (6, 9)), cells)


def test_on_fewer_pixels_every_cell_counts() -> None:
    cells = torch.zeros(32, 32)
    cells[10, 21] = 1
    small = upsample_maps(cells, (4, 4))
    assert small.argmax() == 1 * 4 + 2
    assert float(small.sum()) == pytest.approx(16 / 32**2, rel=0.01)
