"""Muon optimizer: its updates against the formula of Jordan et al. in float64."""

import torch
from torch import nn

from promptweight.mini.training.muon import Muon

LR, DECAY, MOMENTUM = 0.02, 0.01, 0.95


def orthogonalized(matrix: torch.Tensor) -> torch.Tensor:
    """Return five steps of the quintic Newton-Schulz iteration, which brings singular values to about 1."""
    x = matrix / matrix.norm()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


def test_updates_of_matrices_and_convolutions_follow_the_formula() -> None:
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.randn(shape)) for shape in ((24, 60), (40, 12), (16, 8, 3, 3))]
    optimizer = Muon(weights, LR)
    expected = [weight.detach().double().flatten(1) for weight in weights]
    averages = [torch.zeros_like(matrix) for matrix in expected]
    for _ in range(4):
        before = [matrix.clone() for matrix in expected]
        for weight in weights:
            weight.grad = torch.randn_like(weight)
        for matrix, average, weight in zip(expected, averages, weights, strict=True):
            gradient = weight.grad.double().flatten(1)
            average *= MOMENTUM
            average += (1 - MOMENTUM) * gradient
            size = 0.2 * max(matrix.shape) ** 0.5
            update = orthogonalized((1 - MOMENTUM) * gradient + MOMENTUM * average)
            matrix *= 1 - LR * DECAY
            matrix -= LR * size * update
        optimizer.step()
        for weight, matrix, old in zip(weights, expected, before, strict=True):
            error = (weight.detach().double().flatten(1) - matrix).norm() / (matrix - old).norm()
            assert error < 0.1, "torch iterates in bfloat16"


def test_weight_without_a_gradient_stays() -> None:
    used, unused = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(2, 2, 1, 1))
    optimizer = Muon([used, unused], LR)
    used.grad = torch.eye(3, 2)
    optimizer.step()
    used.grad = None
    after = used.detach().clone()
    optimizer.step()
    assert torch.equal(used, after)
    assert torch.equal(unused, torch.ones(2, 2, 1, 1))
