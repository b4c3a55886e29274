"""Muon optimizer: momentum with orthogonalized update matrices (Jordan et al., 2024).

Weights of more than one dimension are treated as matrices (a convolution as outputs × everything else). With
several processes each process orthogonalizes its share of the matrices. AdamW trains vectors, embeddings and
the first and last convolution.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """Return an approximation of U·Vᵀ of a matrix U·S·Vᵀ (rows, columns): quintic Newton-Schulz iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Optimizer with orthogonalized Nesterov momentum; its updates are as large as those of AdamW."""

    def __init__(
        self, parameters: list[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.01
    ):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Apply one update; every process must call it at the same time."""
        rank, processes = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            updates = [torch.zeros(p.shape, device=p.device) for p in parameters]
            for index, (p, update) in enumerate(zip(parameters, updates, strict=True)):
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                momentum.lerp_(p.grad, 1 - group["momentum"])
                if index % processes == rank:
                    matrix = p.grad.lerp(momentum, group["momentum"]).flatten(1)
                    size = 0.2 * max(matrix.shape) ** 0.5  # root mean square of an AdamW update
                    update.copy_(size * orthogonalize(matrix).view_as(p))
            if processes > 1:
                flat = torch.cat([update.reshape(-1) for update in updates])
                dist.all_reduce(flat)
                updates = [
                    part.view_as(p)
                    for part, p in zip(flat.split([p.numel() for p in parameters]), parameters, strict=True)
                ]
            for p, update in zip(parameters, updates, strict=True):
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * update)
