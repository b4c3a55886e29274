"""Maps of a layer's cells, enlarged to the picture's pixels by quadratic B-splines.

Every pixel is a mean of the cells around it, so probabilities stay probabilities and the words' shares still
sum to 1, and there are no kinks where cells meet. A bilinear map is always highest in the middle of a cell;
this one between the cells that a word looked at: it points at small things more often, and covers them a
little better. Source: M. Unser, Splines: a perfect fit for signal and image processing, 1999; here the cells'
values are the coefficients themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


def upsample_maps(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps (..., height, width) in `size` = (height, width); as they are where they have it already.

    Where `size` is the coarser one, a pixel is a mean of all cells that it covers.
    """
    height, width = (_weights(*each).to(maps) for each in zip(maps.shape[-2:], size, strict=True))
    return height @ maps @ width.T


@lru_cache(maxsize=64)
def _weights(cells: int, pixels: int) -> Tensor:
    """How much every pixel along a side takes of every cell: (pixels, cells), rows of sum 1."""
    if pixels == cells:
        return torch.eye(cells)
    wide = max(1.0, cells / pixels)
    reach = math.ceil(1.5 * wide)
    places = (torch.arange(pixels, dtype=torch.float64) + 0.5) * cells / pixels - 0.5
    around = torch.arange(-reach, cells + reach)
    far = (places[:, None] - around).abs() / wide
    weights = torch.where(far < 0.5, 0.75 - far.square(), (1.5 - far).clamp_min(0).square() / 2)
    # the outermost cells go on beyond the picture's edges
    on_cells = weights.new_zeros(pixels, cells).index_add(1, around.clamp(0, cells - 1), weights)
    return on_cells / on_cells.sum(1, keepdim=True)
