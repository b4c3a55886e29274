"""Upsampling of attention maps from a layer's cells to image pixels with quadratic B-splines.

Every pixel is a weighted mean of the cells around it, so probabilities stay in 0..1, the shares of the words
still sum to 1, and the result has no kinks at cell borders. A bilinear map always peaks at the center of a
cell; a spline map can peak between cells, so its maximum lies on small objects more often and it covers them
slightly better. Source: M. Unser, Splines: a perfect fit for signal and image processing, 1999; the cell
values serve directly as spline coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


def upsample_maps(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps (..., height, width) resampled to `size` = (height, width); unchanged if the size is equal.

    When `size` is coarser than the maps, a pixel is a mean of all cells that it covers.
    """
    height, width = (_weights(*each).to(maps) for each in zip(maps.shape[-2:], size, strict=True))
    with torch.autocast(maps.device.type, enabled=False):
        return height @ maps @ width.T


@lru_cache(maxsize=64)
def _weights(cells: int, pixels: int) -> Tensor:
    """Return the weight of every cell in every pixel along one side, (pixels, cells); rows sum to 1."""
    if pixels == cells:
        return torch.eye(cells, dtype=torch.float32)
    scale = max(1.0, cells / pixels)
    radius = math.ceil(1.5 * scale)
    centers = (torch.arange(pixels, dtype=torch.float64) + 0.5) * cells / pixels - 0.5
    neighbors = torch.arange(-radius, cells + radius)
    distance = (centers[:, None] - neighbors).abs() / scale
    weights = torch.where(
        distance < 0.5, 0.75 - distance.square(), (1.5 - distance).clamp_min(0).square() / 2
    )
    # the outermost cells extend beyond the edges of the image
    on_cells = weights.new_zeros(pixels, cells).index_add(1, neighbors.clamp(0, cells - 1), weights)
    return on_cells / on_cells.sum(1, keepdim=True)
