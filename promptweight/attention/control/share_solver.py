"""The weights that give phrases the shares of attention that are asked for.

The share of a phrase is what its words get of the attention that all words of the prompt get, a number from
0 to 1 in every row of a softmax; it is averaged over the rows of all pixels, heads and layers, a layer with
many pixels counting no more than one with few. Beginning, end and padding, where most attention rests, do
not count. In a row n whose words have masses m_g(n) in groups g, log weights u_g on the logits give

    s_g(u) = mean over n of exp(u_g) m_g(n) / Σ_h exp(u_h) m_h(n),

whatever else is in the row. That is the gradient of the convex function mean log Σ_h exp(u_h) m_h(n), so the
weights that give the targets are unique, and Newton's method finds them from the masses alone, without a
gradient of the model. Moving no log weight further than 1 against another in a step, the function bends too
little for Newton to miss: every step brings the shares nearer.

How they are found step by step is in `promptweight.attention.control.share_controller`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from promptweight.errors import SettingError
from promptweight.maps import PlacedTable, find_rows
from promptweight.messages import message
from promptweight.prompt import named, phrases

MIN_ITERATIONS = 16
MAX_WEIGHT = 20.0
"""No weight that is found is larger than this, or smaller than one part in it."""
RIDGE = 1e-7
"""Added to the diagonal of the slopes, for groups that no row tells apart."""


@dataclass(frozen=True)
class ShareTargets:
    """The shares that are asked for in one prompt."""

    names: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    """The rows of the text embeddings of each phrase."""
    shares: tuple[float, ...]
    """Their targets. With `is_balance` they are shares of the phrases alone and sum to 1."""
    rest: tuple[int, ...]
    """The rows of all other words."""
    is_balance: bool = False


def solve_weights(
    masses: Tensor, targets: Tensor, row_weights: Tensor | None = None, *, largest: float = MAX_WEIGHT
) -> Tensor:
    """The log weights that give groups of words their target shares.

    Args:
        masses: what each group gets in each row of softmax, (pictures, rows, groups), above 0 somewhere.
        targets: the shares wanted, (groups,), all above 0, summing to 1.
        row_weights: how much each row counts, (rows,), summing to 1; the same for all when None.
        largest: no weight is larger, or smaller than one part in it.

    Returns:
        Log weights (pictures, groups); that of the last group is 0, since only ratios count.
    """
    if row_weights is None:
        row_weights = masses.new_full(masses.shape[1:2], 1 / masses.shape[1])
    logs = masses.clamp_min(torch.finfo(masses.dtype).tiny).log()
    log_weights = masses.new_zeros(masses.shape[0], masses.shape[2])
    ridge = RIDGE * torch.eye(masses.shape[2] - 1, dtype=masses.dtype, device=masses.device)
    for _ in range(MIN_ITERATIONS + math.ceil(math.log(largest))):
        shares = (logs + log_weights[:, None]).softmax(-1)
        weighted = shares * row_weights[:, None]
        means = weighted.sum(1)
        slopes = torch.diag_embed(means) - weighted.mT @ shares
        missing = (targets - means)[:, :-1]
        # solve_ex does not look at its result, which would make the host wait for the device
        step = torch.linalg.solve_ex(slopes[:, :-1, :-1] + ridge, missing)[0]
        width = step.amax(1).clamp_min(0) - step.amin(1).clamp_max(0)
        log_weights[:, :-1] += step / width.clamp_min(1)[:, None]
    return log_weights.clamp(-math.log(largest), math.log(largest))


def read_share_targets(
    tables: Sequence[PlacedTable],
    targets: Mapping[str, float] | None = None,
    balance: bool | Sequence[str] = False,
) -> ShareTargets | None:
    """What is asked for in a prompt: in its own text (`(gato:=25%)`), by name, or a balance; None if nothing.

    Args:
        tables: the prompt's token tables, one for each text encoder.
        targets: shares by phrase.
        balance: True for equal shares of all phrases (`phrases`), or the phrases that are to get them.

    Raises:
        SettingError: targets that cannot be had together.
        WordNotFoundError: the prompt does not hold a phrase.
    """
    written = read_prompt_shares(tables)
    named_rows = [(name, find_rows(tables, name)[0], share) for name, share in (targets or {}).items()]
    asked = written + named_rows
    for name, _, share in asked:
        if not (isinstance(share, Real) and 0 < share < 1):
            raise SettingError(
                message(
                    "share-range",
                    phrase=name,
                    share=share,
                )
            )
    if balance is not False:
        if asked:
            raise SettingError(message("share-with-balance", phrase=asked[0][0]))
        names = named(phrases(tables[0].table.words)) if balance is True else [(name, 0) for name in balance]
        asked = [(name, find_rows(tables, name, place)[0], 1 / len(names)) for name, place in names]
        if len(asked) < 2:
            return None
    if not asked:
        return None
    taken: dict[int, str] = {}
    for name, rows, _ in asked:
        if common := rows & taken.keys():
            other = taken[min(common)]
            raise SettingError(
                message(
                    "share-overlap",
                    one=name,
                    other=other,
                )
            )
        taken |= dict.fromkeys(rows, name)
    rest = {row for placed in tables for row in placed.rows("text")} - taken.keys()
    if balance is False:
        total = sum(share for _, _, share in asked)
        if total >= 1 or not rest:
            left = message("share-none-left") if rest else message("share-no-other-word")
            raise SettingError(
                message(
                    "share-sum",
                    targets=", ".join(f"{name!r} {share:g}" for name, _, share in asked),
                    total=total,
                    left=left,
                )
            )
    return ShareTargets(
        tuple(name for name, _, _ in asked),
        tuple(tuple(sorted(rows)) for _, rows, _ in asked),
        tuple(share for _, _, share in asked),
        tuple(sorted(rest)),
        balance is not False,
    )


def read_prompt_shares(tables: Sequence[PlacedTable]) -> list[tuple[str, set[int], float]]:
    """The phrases whose shares the prompt itself asks for, their rows and the shares."""
    prompt = tables[0].table.prompt
    groups: list[tuple[list[int], float]] = []
    previous: float | None = None
    for number, span in enumerate(prompt.spans):
        share = span.options.share
        if share is not None and share == previous:
            groups[-1][0].append(number)
        elif share is not None:
            groups.append(([number], share))
        previous = share
    asked = []
    for numbers, share in groups:
        rows = {
            placed.start + token.position
            for placed in tables
            for token in placed.table.tokens
            if token.kind == "text" and token.span in numbers
        }
        if rows:
            asked.append(("".join(prompt.spans[number].text for number in numbers).strip(), rows, share))
    return asked
