"""Localization by layer: upper bounds of grids and the selection of layers."""

import numpy as np
import torch

from promptweight.evaluation.layer_comparison import LayerSample, measure_grid_bounds, select_layers
from promptweight.evaluation.noising import run_noised_scenes

MASK = torch.tensor([[True, True, False], [False, False, False]])


def make_sample(scene: int, layer: str, heat: torch.Tensor) -> LayerSample:
    return LayerSample(scene, 300, layer, None, 0.0, 0.0, heat.half(), MASK)


def test_select_layers_measures_on_other_scenes():
    good, noise = MASK.float(), torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    half = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    samples = [
        make_sample(scene, name, heat)
        for scene in range(4)
        for name, heat in (("noise", noise), ("half", half), ("good", good))
    ]
    selected, pairs = select_layers(samples)
    assert selected == ("good",)
    assert pairs["selected"] == [(1, 1.0), (3, 1.0)]
    assert all(iou < 1 for _, iou in pairs["all"])


def test_measure_grid_bounds_increase_with_resolution(mini):
    (noised,) = run_noised_scenes(mini, number=1, seed=3, timesteps=(300,), languages=("pt",))
    bounds = list(measure_grid_bounds(noised))
    by_grid = {grid: [each.iou for each in bounds if each.grid == grid] for grid in ("16x16", "8x8", "4x4")}
    assert all(len(ious) == len(noised.masks) for ious in by_grid.values())
    assert np.mean(by_grid["16x16"]) > np.mean(by_grid["8x8"]) > np.mean(by_grid["4x4"])
    assert all(0 < iou < 1 for iou in by_grid["16x16"])  # icons have edges finer than a cell
