"""What is asked of a map against a mask: overlap, precision, the place of its maximum, where its mass lies.

All take many maps at once, (maps, height, width), and give one value for each.
"""

from __future__ import annotations

import torch
from torch import Tensor

THRESHOLDS = torch.linspace(0, 1, 51)[1:-1]
FIXED_THRESHOLD = 0.4
"""Of a map scaled to 0..1; the one that DAAM uses (Tang et al., 2023)."""


def scaled(heats: Tensor) -> Tensor:
    """Map stretched to 0..1, each by itself."""
    flat = heats.flatten(1)
    low, high = flat.amin(1)[:, None, None], flat.amax(1)[:, None, None]
    return (heats - low) / (high - low).clamp_min(1e-12)


def iou_at(heats: Tensor, mask: Tensor, threshold: float = FIXED_THRESHOLD) -> Tensor:
    """Intersection over union with the mask, of what lies above a threshold of the scaled maps."""
    above = scaled(heats) > threshold
    union = (above | mask).sum((1, 2))
    return (above & mask).sum((1, 2)) / union.clamp_min(1)


def best_ious(heats: Tensor, mask: Tensor) -> Tensor:
    """The same at the best threshold of each map: an upper bound."""
    passed = torch.bucketize(scaled(heats), THRESHOLDS).flatten(1)  # how many thresholds lie below
    solid = mask.flatten().expand(passed.shape)
    pixels, hits = (
        torch.zeros(len(heats), len(THRESHOLDS) + 1).scatter_add_(1, passed, values.float())
        for values in (torch.ones_like(passed), solid)
    )
    above, inside = (each.flip(1).cumsum(1).flip(1)[:, 1:] for each in (pixels, hits))
    return (inside / (above + mask.sum() - inside).clamp_min(1)).amax(1)


def average_precision(heats: Tensor, mask: Tensor) -> Tensor:
    """The mean over the mask's pixels of the precision at each, pixels taken in the order of their heat."""
    order = torch.sort(heats.flatten(1), dim=1, descending=True, stable=True).indices
    hits = mask.flatten()[order].double()
    precision = hits.cumsum(1) / torch.arange(1, hits.shape[1] + 1)
    return (precision * hits).sum(1) / hits.sum(1).clamp_min(1)


def points_at(heats: Tensor, mask: Tensor) -> Tensor:
    """Whether the maximum lies on the mask (the pointing game; Zhang et al., 2016)."""
    return mask.flatten()[heats.flatten(1).argmax(1)]


def mass_in(heats: Tensor, masks: Tensor) -> Tensor:
    """The part of each map's mass that lies in each mask: (maps, masks)."""
    flat = heats.flatten(1).double()
    return flat @ masks.flatten(1).double().T / flat.sum(1, keepdim=True).clamp_min(1e-30)
