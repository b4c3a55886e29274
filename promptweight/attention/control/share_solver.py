"""Solver for the weights that give phrases their target shares of attention.

The share of a phrase is the part of the attention to all words of the prompt that its own words get: a number
from 0 to 1 in every row of a softmax, averaged over the rows of all pixels, heads and layers, where each
layer counts the same whatever its number of pixels. Beginning, end and padding, which get most of the
attention, do not count. In a row n whose words have masses m_g(n) in groups g, log weights u_g on the logits
give

    s_g(u) = mean over n of exp(u_g) m_g(n) / Σ_h exp(u_h) m_h(n),

independent of the rest of the row. That is the gradient of the convex function mean log Σ_h exp(u_h) m_h(n),
so the weights that give the targets are unique, and Newton's method finds them from the masses alone, without
a gradient of the model. Steps are limited so that no log weight moves by more than 1 relative to another;
within that limit the curvature changes too little for Newton's method to diverge, and every step reduces the
error.

`promptweight.attention.control.share_controller` applies the solver step by step during a run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from promptweight.errors import SettingError
from promptweight.maps import PlacedTable, find_phrase_rows
from promptweight.messages import message

MIN_ITERATIONS = 16
MAX_WEIGHT = 20.0
"""Maximum weight of a solution; its inverse is the minimum."""
RIDGE = 1e-7
"""Added to the diagonal of the Hessian, for groups whose masses are proportional in all rows."""


@dataclass(frozen=True)
class ShareTargets:
    """Target shares in one prompt."""

    phrases: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    """Rows of the text embeddings of each phrase."""
    shares: tuple[float, ...]
    """Target of each phrase."""
    rest: tuple[int, ...]
    """Rows of all other words."""


def solve_weights(
    masses: Tensor, targets: Tensor, row_weights: Tensor | None = None, *, max_weight: float = MAX_WEIGHT
) -> Tensor:
    """Find the log weights that give groups of words their target shares.

    Args:
        masses: attention mass of each group in each row of the softmax, (images, rows, groups), 0 or more and
            above 0 in some row.
        targets: target shares, (groups,), all above 0, with sum 1.
        row_weights: weight of each row in the mean, (rows,), with sum 1; equal when None.
        max_weight: maximum weight; its inverse is the minimum.

    Returns:
        Log weights (images, groups); the last group's is 0, since only ratios matter.
    """
    if row_weights is None:
        row_weights = masses.new_full(masses.shape[1:2], 1 / masses.shape[1])
    logs = masses.clamp_min(torch.finfo(masses.dtype).tiny).log()
    log_weights = masses.new_zeros(masses.shape[0], masses.shape[2])
    ridge = RIDGE * torch.eye(masses.shape[2] - 1, dtype=masses.dtype, device=masses.device)
    for _ in range(MIN_ITERATIONS + math.ceil(math.log(max_weight))):
        shares = (logs + log_weights[:, None]).softmax(-1)
        weighted = shares * row_weights[:, None]
        means = weighted.sum(1)
        hessian = torch.diag_embed(means) - weighted.mT @ shares
        missing = (targets - means)[:, :-1]
        # solve_ex does not check its result, which would make the host wait for the device
        step = torch.linalg.solve_ex(hessian[:, :-1, :-1] + ridge, missing)[0]
        width = step.amax(1).clamp_min(0) - step.amin(1).clamp_max(0)
        log_weights[:, :-1] += step / width.clamp_min(1)[:, None]
    return log_weights.clamp(-math.log(max_weight), math.log(max_weight))


def read_share_targets(
    tables: Sequence[PlacedTable], targets: Mapping[str, float] | None = None
) -> ShareTargets | None:
    """Read the target shares of a prompt: in its own text (`(gato:=25%)`), or by phrase.

    Args:
        tables: the prompt's token tables, one for each text encoder.
        targets: shares by phrase.

    Returns:
        The targets; None where there are none.

    Raises:
        SettingError: targets that exclude each other.
        WordNotFoundError: the prompt does not contain a phrase.
    """
    entries = read_prompt_shares(tables)
    entries += [
        (phrase, find_phrase_rows(tables, phrase)[0], share) for phrase, share in (targets or {}).items()
    ]
    for phrase, _, share in entries:
        if not (isinstance(share, Real) and 0 < share < 1):
            raise SettingError(message("share-range", phrase=phrase, share=share))
    if not entries:
        return None
    owners: dict[int, str] = {}
    for phrase, rows, _ in entries:
        if common := rows & owners.keys():
            raise SettingError(message("share-overlap", one=phrase, other=owners[min(common)]))
        owners |= dict.fromkeys(rows, phrase)
    rest = {row for placed in tables for row in placed.rows("text")} - owners.keys()
    total = sum(share for _, _, share in entries)
    if total >= 1 or not rest:
        left = message("share-none-left") if rest else message("share-no-other-word")
        targets_text = ", ".join(f"{phrase!r} {share:g}" for phrase, _, share in entries)
        raise SettingError(message("share-sum", targets=targets_text, total=total, left=left))
    return ShareTargets(
        tuple(phrase for phrase, _, _ in entries),
        tuple(tuple(sorted(rows)) for _, rows, _ in entries),
        tuple(share for _, _, share in entries),
        tuple(sorted(rest)),
    )


def read_prompt_shares(tables: Sequence[PlacedTable]) -> list[tuple[str, set[int], float]]:
    """Read the shares in the prompt's own text: phrases, the rows of their embeddings, and shares."""
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
    entries = []
    for numbers, share in groups:
        rows = {
            placed.start + token.position
            for placed in tables
            for token in placed.table.tokens
            if token.kind == "text" and token.span in numbers
        }
        if rows:
            entries.append(("".join(prompt.spans[number].text for number in numbers).strip(), rows, share))
    return entries
