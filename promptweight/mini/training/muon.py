"""Muon optimizer for weights of any dimension: momentum with orthogonalized updates (Jordan et al., 2024).

torch's `Muon` takes matrices alone, so a convolution is passed as a view of outputs × everything else. AdamW
trains vectors, embeddings and the first and last convolution.
"""

from __future__ import annotations

import torch
from torch import nn


class Muon(torch.optim.Muon):
    """Muon whose updates are as large as those of AdamW, on matrices that share the weights' memory."""

    def __init__(self, weights: list[nn.Parameter], lr: float) -> None:
        self.weights = weights
        self.matrices = [nn.Parameter(weight.detach().view(len(weight), -1)) for weight in weights]
        super().__init__(self.matrices, lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")

    def step(self) -> None:  # type: ignore[override]
        """Apply one update; in several processes each computes the same one from the averaged gradients."""
        for weight, matrix in zip(self.weights, self.matrices, strict=True):
            matrix.grad = None if weight.grad is None else weight.grad.flatten(1)
        super().step()
