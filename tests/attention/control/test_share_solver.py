"""Solver for target shares, against a search over weights in float64."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize

from promptweight.attention.control.share_solver import MAX_WEIGHT, solve_weights


def softmax_rows(rows: int, keys: int, seed: int) -> np.ndarray:
    """Return logits as of a layer, with one key (the beginning) far above the words."""
    logits = np.random.default_rng(seed).normal(0, 2.5, (rows, keys))
    logits[:, 0] += 6
    return logits


def shares_of(logits: np.ndarray, groups: list[list[int]], log_weights: np.ndarray) -> np.ndarray:
    """Compute shares by definition: softmax of biased logits, divided by the mass of all words."""
    biased = logits.astype(np.float64).copy()
    for group, log_weight in zip(groups, log_weights, strict=True):
        biased[:, group] += log_weight
    p = np.exp(biased - biased.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    masses = np.stack([p[:, group].sum(1) for group in groups], 1)
    return (masses / masses.sum(1, keepdims=True)).mean(0)


def masses_of(logits: np.ndarray, groups: list[list[int]]) -> torch.Tensor:
    p = torch.from_numpy(logits).softmax(1)
    return torch.stack([p[:, group].sum(1) for group in groups], 1)[None]


@pytest.mark.parametrize("target", [0.02, 0.25, 0.5, 0.9])
def test_solve_weights_with_one_target_matches_a_search(target):
    logits, groups = softmax_rows(400, 8, 1), [[2, 3], [1, 4, 5, 6]]
    actual = solve_weights(
        masses_of(logits, groups), torch.tensor([target, 1 - target], dtype=torch.float64), max_weight=1e6
    )
    searched = brentq(
        lambda u: shares_of(logits, groups, np.array([u, 0.0]))[0] - target, -12, 12, xtol=1e-12
    )
    assert actual[0, 0].item() == pytest.approx(searched, abs=1e-8)
    assert actual[0, 1] == 0


def test_solve_weights_with_several_targets_matches_a_search():
    logits, groups = softmax_rows(300, 9, 2), [[1], [2, 3], [4], [5, 6, 7]]
    targets = np.array([0.4, 0.1, 0.3, 0.2])
    masses = masses_of(logits, groups)
    actual = solve_weights(masses, torch.from_numpy(targets), max_weight=1e6)[0].numpy()

    def error(u: np.ndarray) -> float:
        return float(((shares_of(logits, groups, np.append(u, 0.0)) - targets) ** 2).sum())

    settings = {"xatol": 1e-8, "fatol": 1e-20, "maxiter": 4000, "maxfev": 4000}
    searched = minimize(error, np.zeros(3), method="Nelder-Mead", options=settings)
    assert actual[:3] == pytest.approx(searched.x, abs=1e-4)
    assert shares_of(logits, groups, actual) == pytest.approx(targets, abs=1e-7)


def test_solve_weights_converges_where_rows_are_all_or_nothing():
    masses = torch.tensor([[1.0, 1e-9], [1e-9, 1.0]], dtype=torch.float64).repeat(50, 1)[None]
    for target in (0.1, 0.5, 0.6, 0.95):
        targets = torch.tensor([target, 1 - target], dtype=torch.float64)
        (u, _) = solve_weights(masses, targets, max_weight=1e12)[0]
        assert ((masses.log() + torch.stack([u, u * 0])).softmax(-1).mean((0, 1))[0]) == pytest.approx(
            target, abs=1e-6
        )


def test_solve_weights_stops_at_max_weight():
    masses = torch.tensor([[1e-12, 1.0]])[None]
    weights = solve_weights(masses, torch.tensor([0.9, 0.1])).exp()
    assert weights[0].tolist() == pytest.approx([MAX_WEIGHT, 1.0])


def test_solve_weights_respects_row_weights():
    logits, groups = softmax_rows(40, 6, 3), [[1], [2, 3, 4]]
    repeated = np.concatenate([logits[:20], np.repeat(logits[20:], 3, 0)])
    row_weights = torch.cat([torch.ones(20), 3 * torch.ones(20)]).double() / 80
    targets = torch.tensor([0.3, 0.7], dtype=torch.float64)
    assert solve_weights(masses_of(logits, groups), targets, row_weights) == pytest.approx(
        solve_weights(masses_of(repeated, groups), targets), abs=1e-9
    )
