"""Heat maps as arrays: conversion, normalization to 0..1, resizing to an image, and Gaussian blur."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.render.constants import CONSTANTS
from promptweight.render.interpolation import upsample_maps

Heat = NDArray[np.float32]


def as_heat(values: Any) -> Heat:
    """Return `values` as a float32 array of shape (height, width); NaN and infinities become 0.

    Args:
        values: a numpy array, a tensor on any device, nested lists, or an object whose `tensor` is one of
            these.

    Raises:
        SettingError: `values` is not two-dimensional, or is empty.
    """
    values = getattr(values, "tensor", values)
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    heat = np.asarray(values, dtype=np.float32)
    if heat.ndim != 2 or heat.size == 0:
        raise SettingError(message("heat-shape", shape=tuple(heat.shape)))
    return np.nan_to_num(heat, nan=0.0, posinf=0.0, neginf=0.0)


def heat_range(heat: Heat) -> tuple[float, float]:
    """Return the lowest and the highest value, the default ends of the color scale."""
    return float(heat.min()), float(heat.max())


def comparable_scales(ranges: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return a color scale (low, high) for each of several maps that are shown side by side.

    Each map has a scale of its own, at least half as wide as the widest range (`comparable_range`), so that a
    nearly constant map ("um") does not appear as distinct as others ("gato").

    Args:
        ranges: the lowest and the highest value of each map.

    >>> comparable_scales([(0.0, 1.0), (0.25, 0.5), (0.0, 0.75)])
    [(0.0, 1.0), (0.25, 0.75), (0.0, 0.75)]
    """
    widest = max((high - low for low, high in ranges), default=0.0)
    return [(low, max(high, low + widest * CONSTANTS["comparable_range"])) for low, high in ranges]


def normalize(heat: Heat, scale: tuple[float, float] | None = None) -> Heat:
    """Return `heat` scaled to 0..1; `scale` = (low, high) are the values that become 0 and 1.

    A constant map becomes 0: scaling it would only amplify rounding noise.
    """
    low, high = heat_range(heat) if scale is None else scale
    if not high - low > CONSTANTS["flat_range"] * max(abs(low), abs(high)):
        return np.zeros_like(heat)
    return np.clip((heat - low) / (high - low), 0, 1)


def resize(heat: Heat, size: tuple[int, int]) -> Heat:
    """Return `heat` resampled to `size` = (width, height) with `upsample_maps`."""
    return upsample_maps(torch.from_numpy(heat), size[::-1]).numpy()


def gaussian_blur(field: Heat, sigma: float) -> Heat:
    """Return `field` convolved with a Gaussian of `sigma` pixels; edge values extend outward."""
    radius = max(1, round(3 * sigma))
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for axis in (0, 1):
        padding = [(radius, radius) if side == axis else (0, 0) for side in (0, 1)]
        padded = np.pad(field, padding, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1, axis=axis)
        field = (windows @ kernel).astype(np.float32)
    return field
