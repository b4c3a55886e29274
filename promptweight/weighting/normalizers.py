"""Changes of the weights themselves, before a method of `promptweight.weighting` uses them.

    >>> import torch
    >>> NORMALIZERS["mean"](torch.tensor([1.0, 2.0, 1.5]))
    tensor([0.5000, 1.5000, 1.0000])

The formulas are those of ADV_CLIP_emb (mean, length) and SD.Next (mean-div); weights of 1 stay as they are.
"""

# ruff: noqa: ARG001 - every normalizer is called in the same way, also one that needs no segments

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from promptweight.errors import SettingError
from promptweight.messages import message


def _unchanged(w: Tensor, is_text: Tensor, segments: Tensor) -> Tensor:
    return w


def _shift_mean(w: Tensor, is_text: Tensor, segments: Tensor) -> Tensor:
    return w + (1 - _mean_over(w, is_text))


def _divide_mean(w: Tensor, is_text: Tensor, segments: Tensor) -> Tensor:
    mean = _mean_over(w, is_text)
    if bool((mean == 0).any()):
        raise SettingError(
            message("mean-div-zero")
        )
    return w / mean


def _spread_length(w: Tensor, is_text: Tensor, segments: Tensor) -> Tensor:
    n = torch.ones_like(w)
    for row in range(len(w)):
        _, members, counts = segments[row][is_text[row]].unique(return_inverse=True, return_counts=True)
        n[row, is_text[row]] = counts[members].to(w)
    return 1 + (w - 1) / n.sqrt()


def _spread_length_and_shift_mean(w: Tensor, is_text: Tensor, segments: Tensor) -> Tensor:
    return _shift_mean(_spread_length(w, is_text, segments), is_text, segments)


def _mean_over(w: Tensor, is_text: Tensor) -> Tensor:
    """The mean weight of each prompt's text, 1 where it has none."""
    count = is_text.sum(-1, keepdim=True)
    return torch.where(
        count > 0, torch.where(is_text, w, 0.0).sum(-1, keepdim=True) / count.clamp(min=1), 1.0
    )


@dataclass(frozen=True, slots=True)
class Normalizer:
    """A change of the weights before a method uses them: its name, one line on it, its function."""

    name: str
    description: str
    function: Callable[[Tensor, Tensor, Tensor], Tensor]

    def __call__(
        self, weights: Tensor, *, is_text: Tensor | None = None, segments: Tensor | None = None
    ) -> Tensor:
        """Normalize weights of shape (tokens) or (batch, tokens); those outside `is_text` stay as they are.

        `segments` as in `compel`: the tokens of one segment are the n of `length`.
        """
        w = weights.double().reshape(-1, weights.shape[-1])
        text = torch.ones_like(w, dtype=torch.bool) if is_text is None else is_text.expand(weights.shape)
        numbers = number_runs(weights) if segments is None else segments.expand(weights.shape)
        text, numbers = text.reshape(w.shape), numbers.reshape(w.shape)
        changed = torch.where(text, self.function(w, text, numbers), w)
        return changed.reshape(weights.shape).to(weights.dtype)


NORMALIZERS: dict[str, Normalizer] = {
    normalizer.name: normalizer
    for normalizer in (
        Normalizer("none", "Leaves the weights as they are.", _unchanged),
        Normalizer("mean", "Shifts the weights so that their mean is 1: w + 1 − mean w.", _shift_mean),
        Normalizer("mean-div", "Divides the weights by their mean: w / mean w.", _divide_mean),
        Normalizer("length", "Spreads a weight over a segment of n tokens: 1 + (w − 1)/√n.", _spread_length),
        Normalizer("length+mean", "length, then mean.", _spread_length_and_shift_mean),
    )
}
"""The normalisers of weights by name."""


def get_normalizer(name: str) -> Normalizer:
    """The normalizer of that name; raises `SettingError` listing the names there are."""
    if name not in NORMALIZERS:
        raise SettingError(f"{name!r} is no normalizer of weights; there are: {', '.join(NORMALIZERS)}.")
    return NORMALIZERS[name]


def number_runs(weights: Tensor) -> Tensor:
    """Numbers the runs of tokens of equal weight."""
    changes = weights[..., 1:] != weights[..., :-1]
    return torch.nn.functional.pad(changes.long().cumsum(-1), (1, 0))
