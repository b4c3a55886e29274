"""Heat as numbers: from any array of raw attention to a smooth field of 0..1 in the size of a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from promptweight.errors import SettingError
from promptweight.render.interpolation import upsample_maps

Heat = NDArray[np.float32]


def as_heat(values: Any) -> Heat:
    """Return `values` as float32 of shape (height, width); what is not finite becomes 0.

    Takes a numpy array, a tensor on any device, nested lists, or an object whose `tensor` is one of these.

    Raises:
        SettingError: `values` is not two-dimensional, or is empty.
    """
    values = getattr(values, "tensor", values)
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    heat = np.asarray(values, dtype=np.float32)
    if heat.ndim != 2 or heat.size == 0:
        raise SettingError(f"a heat map has the shape (height, width), not {tuple(heat.shape)}")
    return np.nan_to_num(heat, nan=0.0, posinf=0.0, neginf=0.0)


def heat_range(heat: Heat) -> tuple[float, float]:
    """Return the lowest and the highest value: the ends of the color scale when none are given."""
    return float(heat.min()), float(heat.max())


def normalize(heat: Heat, scale: tuple[float, float] | None = None) -> Heat:
    """Return `heat` moved to 0..1, where `scale` = (low, high) are the values shown as 0 and 1.

    A map that is the same everywhere says nothing about any place: it becomes 0, not noise blown up.
    """
    low, high = heat_range(heat) if scale is None else scale
    if not high - low > 1e-6 * max(abs(low), abs(high)):
        return np.zeros_like(heat)
    return np.clip((heat - low) / (high - low), 0, 1)


def resize(heat: Heat, size: tuple[int, int]) -> Heat:
    """Return `heat` in `size` = (width, height), without steps or diamonds, as the maps of layers are."""
    return upsample_maps(torch.from_numpy(heat), size[::-1]).numpy()


def gaussian_blur(field: Heat, sigma: float) -> Heat:
    """Return `field` blurred by a Gaussian of `sigma` pixels, its edges continued outwards."""
    reach = max(1, round(3 * sigma))
    at = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (at / sigma) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for axis in (0, 1):
        padding = [(reach, reach) if this == axis else (0, 0) for this in (0, 1)]
        padded = np.pad(field, padding, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=axis)
        field = (windows @ kernel).astype(np.float32)
    return field
