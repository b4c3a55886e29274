"""Metrics of maps, against their definitions on arrays small enough to compute by hand."""

import pytest
import torch
from torch import Tensor

from promptweight.evaluation import map_metrics

MASK = torch.tensor([[True, True, False], [False, False, False]])


def iou_by_counting(heat: Tensor, mask: Tensor) -> float:
    """Return the best IoU over the thresholds 0.02, 0.04 … 0.98 of one scaled map."""
    scaled = (heat - heat.min()) / (heat.max() - heat.min()).clamp_min(1e-12)
    above = scaled > map_metrics.THRESHOLDS[:, None, None]
    return float(((above & mask).sum((1, 2)) / (above | mask).sum((1, 2)).clamp_min(1)).max())


def test_average_precision_is_mean_precision_at_hits() -> None:
    heats = torch.tensor([[[0.9, 0.5, 0.7], [0.1, 0.2, 0.0]], [[0.9, 0.8, 0.7], [0.1, 0.2, 0.0]]])
    # the hits are first and third in the first map: (1/1 + 2/3) / 2
    assert map_metrics.average_precision(heats, MASK).tolist() == pytest.approx([5 / 6, 1.0])


def test_iou_counts_pixels() -> None:
    heats = torch.tensor([[[1.0, 0.3, 0.5], [0.0, 0.0, 0.0]]])
    assert map_metrics.iou_at_threshold(heats, MASK).item() == pytest.approx(1 / 3)  # one hit, one miss
    assert map_metrics.best_iou(heats, MASK).item() == pytest.approx(2 / 3)  # above 0.2


def test_best_iou_equals_count_at_every_threshold() -> None:
    heats = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(1))
    mask = heats[0] + torch.rand(8, 8, generator=torch.Generator().manual_seed(2)) > 1.2
    expected = [iou_by_counting(heat, mask) for heat in heats]
    assert map_metrics.best_iou(heats, mask).tolist() == pytest.approx(expected)


def test_best_iou_of_perfect_shifted_and_constant_maps() -> None:
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:6, 2:6] = True
    shifted = torch.zeros(8, 8)
    shifted[2:6, 4:8] = 1
    heats = torch.stack([mask.float() * 3 + 1, shifted, torch.full((8, 8), 0.3)])
    assert map_metrics.best_iou(heats, mask).tolist() == pytest.approx([1, 8 / 24, 0])


def test_is_peak_inside_depends_on_maximum_only() -> None:
    heats = torch.tensor([[[0.9, 1.0], [0.9, 0.9]], [[1.0, 0.9], [0.0, 0.0]]])
    mask = torch.tensor([[False, True], [False, False]])
    assert map_metrics.is_peak_inside(heats, mask).tolist() == [True, False]


def test_mass_shares_sum_over_masks() -> None:
    heats = torch.tensor([[[1.0, 2.0, 0.0], [0.0, 0.0, 1.0]], [[0.0, 0.0, 4.0], [0.0, 0.0, 0.0]]])
    assert map_metrics.mass_shares(heats, torch.stack([MASK, ~MASK])).tolist() == [[0.75, 0.25], [0.0, 1.0]]
