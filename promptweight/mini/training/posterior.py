"""The mean of all pictures that a noised one may have come from, where every one of them is known.

A caption does not say where a thing stands. Of two noised pictures with the same caption one came from a cat
on the left and one from a cat on the right, and a denoiser that is told one of the two at a time learns their
mean slowly. The built-in world is drawn at random from a few places, so that the mean can be told at once: by
Bayes' rule every placement counts as much as the noised picture is likely to have come from it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def posterior_mean(noisy: Tensor, signal: Tensor, sigma: Tensor, placements: Tensor, known: Tensor) -> Tensor:
    """Return the mean of equally likely latents, given `noisy = signal · latents + sigma · noise`.

    Args:
        noisy: noised latents (batch, channels, height, width).
        signal: how much of the latents is in them (batch, 1, 1, 1).
        sigma: the noise's standard deviation (batch, 1, 1, 1), above 0.
        placements: the latents they may have come from (batch, placements, channels, height, width).
        known: which of these exist (batch, placements), bool; at least one of each.

    Returns:
        The mean (batch, channels, height, width) in single precision.
    """
    latents = placements.float()
    apart = (noisy[:, None] - signal[:, None] * latents).square().sum((2, 3, 4))
    logits = -apart / (2 * sigma.flatten(1).square())
    likely = logits.masked_fill(~known, -torch.inf).softmax(1)
    return (likely[:, :, None, None, None] * latents).sum(1)
