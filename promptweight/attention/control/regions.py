"""Parts of the picture in which a weight acts: named halves, boxes in fractions, or any mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from promptweight.errors import SettingError


class Region(Protocol):
    """A part of the picture, whatever the picture's size."""

    def on(self, height: int, width: int) -> Tensor:
        """How much of each cell of a grid lies inside: (height, width) float32, 0..1."""


@dataclass(frozen=True)
class Box:
    """A rectangle; edges as fractions of the picture, from its left and top."""

    left: float
    top: float
    right: float
    bottom: float

    def on(self, height: int, width: int) -> Tensor:
        """How much of each cell of a grid lies inside: (height, width) float32, 0..1."""
        return torch.outer(covered(self.top, self.bottom, height), covered(self.left, self.right, width))


@dataclass(frozen=True, eq=False)
class Mask:
    """Any shape, as a map (rows, columns) of 0 outside to 1 inside, stretched over the picture."""

    values: Tensor

    def on(self, height: int, width: int) -> Tensor:
        """How much of each cell of a grid lies inside: (height, width) float32, 0..1."""
        return F.adaptive_avg_pool2d(self.values[None], (height, width))[0]


NAMED_REGIONS = {
    "left": Box(0, 0, 0.5, 1),
    "right": Box(0.5, 0, 1, 1),
    "top": Box(0, 0, 1, 0.5),
    "bottom": Box(0, 0.5, 1, 1),
    "center": Box(0.25, 0.25, 0.75, 0.75),
}


def read_region(region: Any) -> Region:
    """A region from its name, its box (left, top, right, bottom), a PIL image, an array or a tensor.

    Arrays hold 0..1 or booleans, rows first; images are read as gray, white inside.

    Raises:
        SettingError: an unknown name, a box outside the picture, an array that is no mask.
    """
    if isinstance(region, (Box, Mask)):
        return region
    if isinstance(region, str):
        if region not in NAMED_REGIONS:
            raise SettingError(
                f"region {region!r}; it must be one of {', '.join(NAMED_REGIONS)}, a box or a mask"
            )
        return NAMED_REGIONS[region]
    if isinstance(region, (tuple, list)) and len(region) == 4 and all(np.isscalar(edge) for edge in region):
        left, top, right, bottom = (float(edge) for edge in region)
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise SettingError(
                f"box {tuple(region)}; left, top, right, bottom must be rising fractions, 0 to 1"
            )
        return Box(left, top, right, bottom)
    if hasattr(region, "convert"):
        region = np.asarray(region.convert("L"), dtype=np.float32) / 255
    try:
        values = torch.as_tensor(region).detach().float().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise SettingError(
            f"region {str(region)[:80]}; it must be one of {', '.join(NAMED_REGIONS)}, a box or a mask"
        ) from error
    if values.ndim != 2 or values.numel() == 0 or not bool(((values >= 0) & (values <= 1)).all()):
        raise SettingError(
            f"a mask of shape {tuple(values.shape)}; it must be (rows, columns) of values 0 to 1"
        )
    return Mask(values)


def covered(start: float, end: float, cells: int) -> Tensor:
    """How much of each of `cells` equal parts of 0..1 lies between start and end."""
    edges = torch.arange(cells + 1, dtype=torch.float64) / cells
    inside = torch.minimum(edges[1:], torch.tensor(end)) - torch.maximum(edges[:-1], torch.tensor(start))
    return (inside.clamp_min(0) * cells).float()
