"""Pictures that the denoiser itself is drawing, as a part of what it learns from.

Noised pictures show a denoiser where a picture in the making should be, not where its own errors have led it:
between two places, say, or between two sizes, which comes out misshapen. Of a scene whose placements are all
known the right answer is known there, too (`posterior`). So some rows of a batch are pictures on their way
from noise, a step further at every step of training, by what the denoiser told of them: Ross et al., 2011,
do so with what acts in the world.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from promptweight.mini.training.trainer import Batch

STEPS = 25  # of a walk from noise to picture, about
LAST_SIGMA = 0.3  # below it nothing is decided any more


class Walks:
    """Up to `number` walks, each of one row of an earlier batch.

    A row may begin a walk when all its words are said in their plainest way ("plain") and its placements
    are known; else what the walk comes to is not what the words ask for.
    """

    def __init__(self, number: int, shift: float) -> None:
        self.number, self.shift = number, shift
        self._rows: Batch = {}
        self._noisy = self._sigma = torch.empty(0)
        self._at: list[int] = []

    def join(self, batch: Batch, noisy: Tensor, sigma: Tensor) -> tuple[Batch, Tensor, Tensor]:
        """Put the walks in place of rows of a batch, and begins new ones where there are too few.

        Args:
            batch: of `data.draw_batch`.
            noisy: its noised latents (batch, channels, height, width).
            sigma: their noise levels (batch, 1, 1, 1).

        Returns:
            The three, with the walks' own, and with the rows that walk marked in the batch ("walking").
        """
        going_on = len(self._sigma)
        fits = (batch["plain"] & (batch["known"].sum(1) > 1)).nonzero().flatten().tolist()
        begins = fits[: self.number - going_on]
        free = [row for row in range(len(sigma)) if row not in begins]
        goes_on = free[:going_on]
        self._at = [*goes_on, *begins]
        batch, noisy, sigma = dict(batch), noisy.clone(), sigma.clone()
        if goes_on:
            batch = {name: _replaced(rows, goes_on, self._rows[name]) for name, rows in batch.items()}
            noisy[goes_on], sigma[goes_on] = self._noisy, self._sigma
        noisy[begins], sigma[begins] = torch.randn_like(noisy[begins]), 1.0
        self._rows = {name: rows[self._at] for name, rows in batch.items()}
        walking = torch.zeros(len(sigma), dtype=torch.bool, device=sigma.device)
        walking[self._at] = True
        return batch | {"walking": walking}, noisy, sigma

    def go_on(self, noisy: Tensor, told: Tensor, sigma: Tensor) -> None:
        """Let the walks of the last `join` take a step by what was told of the batch; some end there."""
        noisy, told, sigma = noisy[self._at], told[self._at].detach(), sigma[self._at]
        along = sigma / (self.shift - (self.shift - 1) * sigma)
        along = along - (0.5 + torch.rand_like(along)) / STEPS
        nearer = self.shift * along / (1 + (self.shift - 1) * along)
        stays = (nearer > LAST_SIGMA).flatten()
        self._noisy = (noisy + (nearer - sigma) * told)[stays]
        self._sigma = nearer[stays]
        self._rows = {name: rows[stays] for name, rows in self._rows.items()}


def _replaced(rows: Tensor, places: list[int], others: Tensor) -> Tensor:
    """Return rows with others in some places; the narrower ones, of fewer placements, are filled with 0."""
    if rows.ndim > 1 and rows.shape[1] != others.shape[1]:
        width = max(rows.shape[1], others.shape[1])
        rows, others = (
            F.pad(each, (*(0, 0) * (each.ndim - 2), 0, width - each.shape[1])) for each in (rows, others)
        )
    rows = rows.clone()
    rows[places] = others
    return rows
