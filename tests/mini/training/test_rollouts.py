"""Rollouts: rows of a batch that move from noise to an image by the denoiser's predictions."""

import pytest
import torch

from promptweight.mini.training.posterior import posterior_mean
from promptweight.mini.training.rollouts import LAST_SIGMA, Walks

ROWS, PLACEMENTS = 6, 4


def batch(step: int, placements: int = PLACEMENTS) -> dict[str, torch.Tensor]:
    """Return rows that identify their batch; the first has no plain caption, the second one placement."""
    generator = torch.Generator().manual_seed(step)
    known = torch.ones(ROWS, placements, dtype=torch.bool)
    known[1, 1:] = False
    return {
        "ids": torch.tensor([[step, row] for row in range(ROWS)]),
        "plain": torch.tensor([False] + [True] * (ROWS - 1)),
        "placements": torch.randn(ROWS, placements, 2, 3, 3, generator=generator).half(),
        "known": known,
    }


def test_walks_come_to_a_placement_by_what_is_told_of_them() -> None:
    torch.manual_seed(0)
    walks = Walks(2, shift=3.0)
    seen: dict[tuple[int, int], list[float]] = {}
    apart = []
    for step in range(40):
        noisy, sigma = torch.full((ROWS, 2, 3, 3), 7.0), torch.full((ROWS, 1, 1, 1), 0.5)
        own = batch(step, PLACEMENTS + step % 2)  # batches differ in their number of placements
        joined, noisy, sigma = walks.join(own, noisy, sigma)
        walking = joined["walking"]
        assert walking.sum() == 2
        for row in range(ROWS):
            name = tuple(joined["ids"][row].tolist())
            assert walking[row] == (not bool((noisy[row] == 7).all()))
            if not walking[row]:
                assert name == (step, row)
                assert sigma[row] == 0.5
                continue
            assert name[1] >= 2  # rows that can start a rollout
            first = batch(name[0], PLACEMENTS + name[0] % 2)
            length = min(first["known"].shape[1], joined["known"].shape[1])
            assert torch.equal(joined["placements"][row, :length], first["placements"][name[1], :length])
            assert joined["known"][row].sum() == first["known"][name[1]].sum()
            seen.setdefault(name, []).append(float(sigma[row]))
        mean = posterior_mean(noisy, 1 - sigma, sigma, joined["placements"], joined["known"])
        walks.go_on(noisy, (noisy - mean) / sigma, sigma)  # the prediction of a perfect denoiser
        for row in walking.nonzero().flatten().tolist():
            if sigma[row] < LAST_SIGMA + 0.1:
                off = joined["placements"][row].float() - mean[row]
                apart.append(float(off.square().mean((1, 2, 3)).min()))
    finished = list(seen.values())[:-2]
    assert len(finished) >= 2
    for levels in finished:
        assert levels[0] == 1
        assert levels == sorted(levels, reverse=True)
        assert LAST_SIGMA < levels[-1] < LAST_SIGMA + 0.12
    assert max(apart) < 0.05


def test_a_batch_without_fitting_rows_begins_no_walk() -> None:
    walks = Walks(3, shift=3.0)
    alone = batch(0) | {"plain": torch.zeros(ROWS, dtype=torch.bool)}
    noisy, sigma = torch.zeros(ROWS, 2, 3, 3), torch.full((ROWS, 1, 1, 1), 0.5)
    joined, same, level = walks.join(alone, noisy, sigma)
    assert not joined["walking"].any()
    assert torch.equal(same, noisy)
    assert torch.equal(level, sigma)
    walks.go_on(noisy, noisy, sigma)
    assert walks.join(batch(1), noisy, sigma)[0]["walking"].sum() == 3


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_walk_takes_as_many_steps_as_the_scheduler(shift: float) -> None:
    torch.manual_seed(0)
    walks = Walks(4, shift)
    noisy, sigma = torch.zeros(ROWS, 2, 3, 3), torch.full((ROWS, 1, 1, 1), 0.5)
    lasts: dict[tuple[int, int], int] = {}
    for step in range(120):
        joined, state, level = walks.join(batch(step), noisy, sigma)
        for row in joined["walking"].nonzero().flatten().tolist():
            name = tuple(joined["ids"][row].tolist())
            lasts[name] = lasts.get(name, 0) + 1
        walks.go_on(state, state, level)
    whole = list(lasts.values())[:-4]
    along = LAST_SIGMA / (shift - (shift - 1) * LAST_SIGMA)
    assert sum(whole) / len(whole) == pytest.approx(25 * (1 - along), abs=1.5)
