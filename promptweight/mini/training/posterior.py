"""Posterior mean of the clean latents given noised latents, over all placements of a scene.

A caption does not determine the position of an object: the same caption belongs to images with a cat on the
left and with a cat on the right. A denoiser with one of the two as its target at a time learns their mean
slowly. The built-in world samples positions from a small set, so the mean can be computed and used as the
target: by Bayes' rule the weight of a placement is proportional to the likelihood of the noised latents.
"""

from __future__ import annotations

import torch
from torch import Tensor


def posterior_mean(noisy: Tensor, signal: Tensor, sigma: Tensor, placements: Tensor, known: Tensor) -> Tensor:
    """Return the mean of equally likely latents, given `noisy = signal · latents + sigma · noise`.

    Args:
        noisy: noised latents (batch, channels, height, width).
        signal: factor of the clean latents (batch, 1, 1, 1).
        sigma: standard deviation of the noise (batch, 1, 1, 1), above 0.
        placements: possible clean latents (batch, placements, channels, height, width).
        known: mask of the placements that exist (batch, placements), bool; at least one per batch row.

    Returns:
        The mean (batch, channels, height, width) in single precision.
    """
    latents = placements.float()
    apart = (noisy[:, None] - signal[:, None] * latents).square().sum((2, 3, 4))
    logits = -apart / (2 * sigma.flatten(1).square())
    likely = logits.masked_fill(~known, -torch.inf).softmax(1)
    return (likely[:, :, None, None, None] * latents).sum(1)
