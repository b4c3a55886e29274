"""Whose row is whose: the rows of a model's batch told apart by what they carry, not by where they stand.

Pipelines stack rows in many orders: [negative, positive] under guidance, positives alone without it, several
images per prompt, guiders that call the model once per lane. A row is therefore recognized by its text
embeddings, which equal those of the prompt that it belongs to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from promptweight.conditioning import ROLES, Role


@dataclass(frozen=True)
class BatchRow:
    """One row of a model's batch."""

    role: Role
    prompt: int
    """Which of the session's prompts the row carries."""
    image: int
    """Which picture of the run the row works on, in the order in which the pipeline returns them."""
    perturbed: bool = False
    """Whether the row is a copy whose attention the pipeline disturbs on purpose, for guidance."""
    variant: int = 0
    """Which of the prompt's texts the row carries, where it has several."""


@dataclass(frozen=True)
class PromptEmbeds:
    """The text embeddings by which rows are recognized: (prompts, tokens, dim); no negative when None."""

    positive: Tensor
    negative: Tensor | None


def match_rows(
    embeds: Tensor,
    registered: PromptEmbeds,
    *,
    guidance: bool,
    perturbed: bool = False,
    is_second: bool = False,
) -> tuple[BatchRow | None, ...]:
    """The lane of every row of `embeds` (batch, tokens, dim); None where no registered prompt equals it.

    Prompts with equal embeddings share their rows evenly, in order. Where a negative prompt equals a positive
    one, the earlier rows are the negative's under guidance, as diffusers stacks them. Without it a call has
    rows of one role: of the one whose prompts it shows, each equally often, and where it shows those of both
    alike, of the positive. Under perturbed-attention guidance the last rows are copies of the positive ones
    before them.

    Args:
        embeds: the text embeddings that the model is called with.
        registered: the session's prompts.
        guidance: whether the pipeline stacks negative and positive rows in one call.
        perturbed: whether it adds perturbed copies of the positive rows.
        is_second: whether a call without `guidance` that shows the prompts of both roles alike is the
            negative's, since the positive's has been before it.
    """
    if perturbed:
        copies = embeds.shape[0] // (3 if guidance else 2)
        lanes = match_rows(embeds[:-copies], registered, guidance=guidance)
        return lanes + tuple(lane and replace(lane, perturbed=True) for lane in lanes[-copies:])
    members: list[tuple[Role, int]] = [("positive", prompt) for prompt in range(len(registered.positive))]
    known = registered.positive
    if registered.negative is not None:
        members = [("negative", prompt) for prompt in range(len(registered.negative))] + members
        known = torch.cat([registered.negative, known])
    known = known.to(embeds.device, embeds.dtype)
    if known.shape[1:] != embeds.shape[1:]:
        return (None,) * embeds.shape[0]
    rows_equal = equality(embeds, known)
    members_equal = equality(known, known)
    shown = [role for role in ROLES if shows_all(rows_equal, [role == of for of, _ in members])]
    alone = "negative" if shown == ["negative"] or (is_second and len(shown) == len(ROLES)) else "positive"
    owners: dict[int, tuple[Role, int]] = {}
    for number, alike in enumerate(members_equal):
        if alike.index(True) < number:
            continue  # an earlier member already stood for this group
        group = [members[other] for other, same in enumerate(alike) if same]
        if not guidance:
            group = [member for member in group if member[0] == alone] or group
        rows = [row for row, equal in enumerate(rows_equal) if equal[number]]
        owners |= {row: group[place * len(group) // len(rows)] for place, row in enumerate(rows)}
    return number_images([owners.get(row) for row in range(embeds.shape[0])])


def shows_all(rows_equal: Sequence[Sequence[bool]], chosen: Sequence[bool]) -> bool:
    """Whether the rows are the chosen prompts in order, each equally often.

    Args:
        rows_equal: which rows equal which prompts.
        chosen: which prompts are meant.
    """
    places = [place for place, is_chosen in enumerate(chosen) if is_chosen]
    each, rest = divmod(len(rows_equal), len(places) or len(rows_equal) + 1)
    return not rest and all(equal[places[row // each]] for row, equal in enumerate(rows_equal))


def number_images(owners: Sequence[tuple[Role, int] | None]) -> tuple[BatchRow | None, ...]:
    """Lanes for the (role, prompt) of each row; a role's rows are the run's pictures in order."""
    pictures = dict.fromkeys(ROLES, 0)
    lanes: list[BatchRow | None] = []
    for owner in owners:
        if owner is None:
            lanes.append(None)
            continue
        role, prompt = owner
        lanes.append(BatchRow(role, prompt, pictures[role]))
        pictures[role] += 1
    return tuple(lanes)


def equality(left: Tensor, right: Tensor) -> list[list[bool]]:
    """Which rows of `left` equal which rows of `right`, entry for entry."""
    equal: list[list[bool]] = torch.stack([(left == row).flatten(1).all(1) for row in right], 1).tolist()
    return equal
