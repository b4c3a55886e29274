"""Weighted segments of a prompt: runs of tokens that share a weight, and their masks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def number_runs(weights: Tensor) -> Tensor:
    """Return the index of each token's run of equal weights, in the shape of `weights`."""
    changes = weights[..., 1:] != weights[..., :-1]
    return torch.nn.functional.pad(changes.long().cumsum(-1), (1, 0))


def select_segments(
    selected: Tensor, weights: Tensor, segments: Tensor | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the mask (…, tokens) and weight (…) of the k-th selected segment of every prompt, for each k.

    `selected` marks the tokens of the segments; `segments` holds the number of each token's segment
    (default: each run of equal weights is a segment).
    """
    numbers = number_runs(weights) if segments is None else segments.expand(weights.shape)
    masks_by_prompt = [
        [of_prompt & (numbers_of_prompt == number) for number in numbers_of_prompt[of_prompt].unique()]
        for of_prompt, numbers_of_prompt in zip(
            selected.reshape(-1, selected.shape[-1]), numbers.reshape(-1, selected.shape[-1]), strict=True
        )
    ]
    empty = torch.zeros_like(selected.reshape(-1, selected.shape[-1])[0])
    for k in range(max(len(masks) for masks in masks_by_prompt)):
        mask = torch.stack([masks[k] if k < len(masks) else empty for masks in masks_by_prompt]).reshape(
            selected.shape
        )
        first = mask.to(torch.uint8).argmax(-1, keepdim=True)
        yield mask, weights.gather(-1, first)[..., 0]
