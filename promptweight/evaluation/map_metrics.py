"""Metrics of heat maps against masks: IoU, average precision, pointing accuracy and mass inside a mask.

All functions take a batch of maps (maps, height, width) and return one value per map.
"""

from __future__ import annotations

import torch
from torch import Tensor

THRESHOLDS = torch.linspace(0, 1, 51)[1:-1]
FIXED_THRESHOLD = 0.4
"""Of a map scaled to 0..1; the threshold of DAAM (Tang et al., 2023)."""


def iou_at_threshold(heats: Tensor, mask: Tensor, threshold: float = FIXED_THRESHOLD) -> Tensor:
    """Return the intersection over union of the mask with the scaled map above `threshold`."""
    above = _rescale(heats) > threshold
    union = (above | mask).sum((1, 2))
    return (above & mask).sum((1, 2)) / union.clamp_min(1)


def best_iou(heats: Tensor, mask: Tensor) -> Tensor:
    """Return the intersection over union at the best of `THRESHOLDS` for each map: an upper bound."""
    passed = torch.bucketize(_rescale(heats), THRESHOLDS).flatten(1)  # number of thresholds below each pixel
    in_mask = mask.flatten().expand(passed.shape)
    pixels, hits = (
        torch.zeros(len(heats), len(THRESHOLDS) + 1).scatter_add_(1, passed, values.float())
        for values in (torch.ones_like(passed), in_mask)
    )
    above, inside = (counts.flip(1).cumsum(1).flip(1)[:, 1:] for counts in (pixels, hits))
    return (inside / (above + mask.sum() - inside).clamp_min(1)).amax(1)


def average_precision(heats: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the mask's pixels of the precision at each, with pixels in order of heat."""
    order = torch.sort(heats.flatten(1), dim=1, descending=True, stable=True).indices
    hits = mask.flatten()[order].double()
    precision = hits.cumsum(1) / torch.arange(1, hits.shape[1] + 1)
    return (precision * hits).sum(1) / hits.sum(1).clamp_min(1)


def is_peak_inside(heats: Tensor, mask: Tensor) -> Tensor:
    """Return True for each map whose maximum lies on the mask (the pointing game; Zhang et al., 2016)."""
    return mask.flatten()[heats.flatten(1).argmax(1)]


def mass_shares(heats: Tensor, masks: Tensor) -> Tensor:
    """Return the share of each map's mass that lies in each mask, (maps, masks)."""
    flat = heats.flatten(1).double()
    return flat @ masks.flatten(1).double().T / flat.sum(1, keepdim=True).clamp_min(1e-30)


def _rescale(heats: Tensor) -> Tensor:
    """Return each map scaled to 0..1 by its own range."""
    flat = heats.flatten(1)
    low, high = flat.amin(1)[:, None, None], flat.amax(1)[:, None, None]
    return (heats - low) / (high - low).clamp_min(1e-12)
