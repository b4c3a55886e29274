"""Regions of the image in which a weight acts: named halves, boxes in fractions of the image, or masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from promptweight.errors import SettingError
from promptweight.messages import message


class Region(Protocol):
    """A region of the image, independent of the image's size."""

    def rasterize(self, height: int, width: int) -> Tensor:
        """Return the covered fraction of each cell of a grid: (height, width) float32, 0..1."""


@dataclass(frozen=True)
class Box:
    """Rectangle with edges in fractions of the image, from its left and top."""

    left: float
    top: float
    right: float
    bottom: float

    def rasterize(self, height: int, width: int) -> Tensor:
        """Return the covered fraction of each cell of a grid: (height, width) float32, 0..1."""
        return torch.outer(
            _rasterize_interval(self.top, self.bottom, height),
            _rasterize_interval(self.left, self.right, width),
        )


@dataclass(frozen=True, eq=False)
class Mask:
    """Map (rows, columns) from 0 outside to 1 inside, stretched over the image."""

    values: Tensor

    def rasterize(self, height: int, width: int) -> Tensor:
        """Return the covered fraction of each cell of a grid: (height, width) float32, 0..1."""
        return F.adaptive_avg_pool2d(self.values[None], (height, width))[0]


NAMED_REGIONS = {
    "left": Box(0, 0, 0.5, 1),
    "right": Box(0.5, 0, 1, 1),
    "top": Box(0, 0, 1, 0.5),
    "bottom": Box(0, 0.5, 1, 1),
    "center": Box(0.25, 0.25, 0.75, 0.75),
}


def make_region(region: Any) -> Region:
    """Make a region from its name, its box (left, top, right, bottom), a PIL image, an array or a tensor.

    Arrays hold 0..1 or booleans, rows first. Images are converted to gray; white is inside.

    Raises:
        SettingError: an unknown name, a box outside the image, or an array that is not a mask.
    """
    if isinstance(region, (Box, Mask)):
        return region
    if isinstance(region, str):
        if region not in NAMED_REGIONS:
            raise SettingError(message("region-unknown", known=", ".join(NAMED_REGIONS), region=repr(region)))
        return NAMED_REGIONS[region]
    if isinstance(region, (tuple, list)) and len(region) == 4 and all(np.isscalar(edge) for edge in region):
        left, top, right, bottom = (float(edge) for edge in region)
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise SettingError(message("region-box", box=tuple(region)))
        return Box(left, top, right, bottom)
    if hasattr(region, "convert"):
        region = np.asarray(region.convert("L"), dtype=np.float32) / 255
    try:
        values = torch.as_tensor(region).detach().float().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise SettingError(
            message("region-unknown", known=", ".join(NAMED_REGIONS), region=str(region)[:80])
        ) from error
    if values.ndim != 2 or values.numel() == 0 or not bool(((values >= 0) & (values <= 1)).all()):
        raise SettingError(message("region-mask", shape=tuple(values.shape)))
    return Mask(values)


def _rasterize_interval(start: float, end: float, cells: int) -> Tensor:
    """Return the fraction of each of `cells` equal parts of 0..1 that lies between `start` and `end`."""
    edges = torch.arange(cells + 1, dtype=torch.float64) / cells
    inside = edges[1:].clamp_max(end) - edges[:-1].clamp_min(start)
    return (inside.clamp_min(0) * cells).float()
