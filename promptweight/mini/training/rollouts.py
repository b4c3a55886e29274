"""Rollouts: training on latents sampled by the denoiser itself.

Noised images cover the states that a perfect denoiser passes through, but not those that the errors of the
denoiser lead to, such as a state between two positions or two sizes, which ends in a misshapen object. For a
scene with all placements encoded the target of such a state is known, too (`posterior`). Some rows of a batch
are therefore partly sampled latents, and each training step advances them by one sampling step with the
denoiser's own prediction. Ross et al. (2011) apply the same method to policies in imitation learning.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from promptweight.mini.training.trainer import Batch

STEPS = 25  # approximate number of steps of a rollout from noise to image
LAST_SIGMA = 0.3  # rollouts end at this noise level: lower ones do not change positions and sizes


class Walks:
    """Up to `number` rollouts, each of one row of an earlier batch.

    A row can start a rollout if it has the plain caption with all words (`plain`) and more than one known
    placement. With any other caption the rollout's result may differ from the caption's scene.
    """

    def __init__(self, number: int, shift: float) -> None:
        self.number, self.shift = number, shift
        self._rows: Batch = {}
        self._noisy = self._sigma = torch.empty(0)
        self._at: list[int] = []

    def join(self, batch: Batch, noisy: Tensor, sigma: Tensor) -> tuple[Batch, Tensor, Tensor]:
        """Replace rows of a batch by the rollouts, and start new rollouts if there are fewer than `number`.

        Args:
            batch: a batch of `data.draw_batch`.
            noisy: its noised latents (batch, channels, height, width).
            sigma: their noise levels (batch, 1, 1, 1).

        Returns:
            Copies of the three with the rollouts' rows, which `walking` (batch,; bool) marks in the batch.
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
        """Advance the rollouts of the last `join` by one step with the predictions `told`.

        Rollouts that reach `LAST_SIGMA` end.
        """
        noisy, told, sigma = noisy[self._at], told[self._at].detach(), sigma[self._at]
        along = sigma / (self.shift - (self.shift - 1) * sigma)
        along = along - (0.5 + torch.rand_like(along)) / STEPS
        nearer = self.shift * along / (1 + (self.shift - 1) * along)
        stays = (nearer > LAST_SIGMA).flatten()
        self._noisy = (noisy + (nearer - sigma) * told)[stays]
        self._sigma = nearer[stays]
        self._rows = {name: rows[stays] for name, rows in self._rows.items()}


def _replaced(rows: Tensor, places: list[int], others: Tensor) -> Tensor:
    """Return `rows` with those at `places` replaced by `others`; the narrower tensor is padded with 0."""
    if rows.ndim > 1 and rows.shape[1] != others.shape[1]:
        width = max(rows.shape[1], others.shape[1])
        rows, others = (
            F.pad(each, (*(0, 0) * (each.ndim - 2), 0, width - each.shape[1])) for each in (rows, others)
        )
    rows = rows.clone()
    rows[places] = others
    return rows
