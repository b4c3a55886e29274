"""Grids of attention layers."""

import pytest

from promptweight.attention.layers import grid_size


@pytest.mark.parametrize(
    ("size", "stride", "expected"), [((64, 96), 4, (16, 24)), ((13, 9), 2, (7, 5)), ((13, 9), 8, (2, 2))]
)
def test_grid_size_rounds_up(size, stride, expected):
    assert grid_size(*size, stride) == expected
