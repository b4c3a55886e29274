"""What a word's weight does inside attention: log w on its keys' logits, so the softmax still sums to 1.

    softmax(s + log w)_j = w_j·exp(s_j) / Σ_i w_i·exp(s_i)

A weight of 0 masks the key; a negative weight w acts as |w| on the logit and turns the key's value round.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from promptweight.errors import SettingError

MASKED = -1.0e4
"""The logit bias of weight 0: far below any logit, finite, and representable in float16."""


class KeyWeights:
    """A weight for every key of every prompt, which may change while a picture is being made.

    Row r of `weights` belongs to prompt r of the session, the positives first, then the negatives; every row
    is as long as the text. The last row is neutral and stands for rows of the batch that carry no prompt.
    """

    def __init__(self, weights: Sequence[Sequence[float]]) -> None:
        self.weights = torch.ones(len(weights) + 1, len(weights[0]), dtype=torch.float64)
        for row, values in enumerate(weights):
            self.weights[row] = torch.tensor([checked(value) for value in values], dtype=torch.float64)
        self.version = 0

    def set(self, row: int, positions: Iterable[int], weight: float) -> None:
        """Give the keys at `positions` of prompt `row` a new weight; it acts from the model's next call."""
        self.weights[row, list(positions)] = checked(weight)
        self.version += 1

    def terms(self, rows: Sequence[int], device: torch.device) -> tuple[Tensor | None, Tensor | None]:
        """What the prompts `rows`, one for each row of the batch, add to logits and do to values.

        Returns:
            The bias (batch, 1, 1, keys) in float32, or None when every weight is 1, so that a model with
            nothing to do runs as it would alone; and the signs of the values (batch, 1, keys, 1), or None
            when none is negative.
        """
        weights = self.weights[list(rows)]
        if bool((weights == 1).all()):
            return None, None
        bias = weights.abs().log().clamp_min(MASKED).float()[:, None, None].to(device)
        if not bool((weights < 0).any()):
            return bias, None
        return bias, torch.where(weights < 0, -1.0, 1.0).float()[:, None, :, None].to(device)


def checked(weight: float) -> float:
    """The weight itself; SettingError unless it is a finite number."""
    if not math.isfinite(weight):
        raise SettingError(f"a weight is {weight}; it must be a finite number")
    return float(weight)
