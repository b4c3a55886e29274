"""Normalizers of prompt weights, applied before a weighting method, by name in `NORMALIZERS`.

    >>> import torch
    >>> NORMALIZERS["mean"](torch.tensor([1.0, 2.0, 1.5]))
    tensor([0.5000, 1.5000, 1.0000])

The formulas are those of ADV_CLIP_emb (mean, length) and SD.Next (mean-div); they leave a prompt whose
weights are all 1 unchanged.
"""

# ruff: noqa: ARG001 - all normalizers share one signature, and some of them do not use every argument

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.validation import check_choice
from promptweight.weighting.names import NORMALIZER_DESCRIPTIONS
from promptweight.weighting.segments import number_runs


def _unchanged(w: Tensor, is_text: Tensor, segments: Tensor) -> Tensor:
    return w


def _shift_mean(w: Tensor, is_text: Tensor, segments: Tensor) -> Tensor:
    return w + (1 - _mean_over(w, is_text))


def _divide_mean(w: Tensor, is_text: Tensor, segments: Tensor) -> Tensor:
    mean = _mean_over(w, is_text)
    if bool((mean == 0).any()):
        raise SettingError(message("mean-div-zero"))
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
    """Return the mean weight of each prompt's text tokens, 1 where it has none."""
    count = is_text.sum(-1, keepdim=True)
    return torch.where(
        count > 0, torch.where(is_text, w, 0.0).sum(-1, keepdim=True) / count.clamp(min=1), 1.0
    )


@dataclass(frozen=True, slots=True)
class Normalizer:
    """A normalizer of weights.

    Attributes:
        name: its name in `NORMALIZERS`.
        description: one sentence for users.
        function: maps weights, `is_text` and `segments`, each (batch, tokens), to new weights.
    """

    name: str
    description: str
    function: Callable[[Tensor, Tensor, Tensor], Tensor]

    def __call__(
        self, weights: Tensor, *, is_text: Tensor | None = None, segments: Tensor | None = None
    ) -> Tensor:
        """Normalize weights of shape (tokens) or (batch, tokens); those outside `is_text` stay unchanged.

        `segments` holds the number of each token's weighted segment (default: each run of equal weights); its
        n tokens are the n of `length`.
        """
        w = weights.double().reshape(-1, weights.shape[-1])
        text = torch.ones_like(w, dtype=torch.bool) if is_text is None else is_text.expand(weights.shape)
        numbers = number_runs(weights) if segments is None else segments.expand(weights.shape)
        text, numbers = text.reshape(w.shape), numbers.reshape(w.shape)
        changed = torch.where(text, self.function(w, text, numbers), w)
        return changed.reshape(weights.shape).to(weights.dtype)


_FUNCTIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "none": _unchanged,
    "mean": _shift_mean,
    "mean-div": _divide_mean,
    "length": _spread_length,
    "length+mean": _spread_length_and_shift_mean,
}

NORMALIZERS: dict[str, Normalizer] = {
    name: Normalizer(name, description, _FUNCTIONS[name])
    for name, description in NORMALIZER_DESCRIPTIONS.items()
}
"""The normalizers by name."""


def get_normalizer(name: str) -> Normalizer:
    """Return the normalizer of that name.

    Raises:
        SettingError: `NORMALIZERS` has no such name.
    """
    check_choice("normalizer", name, tuple(NORMALIZERS))
    return NORMALIZERS[name]
