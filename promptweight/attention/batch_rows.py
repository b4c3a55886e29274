"""Matching of the rows of a model's batch to prompts, by comparison of their text embeddings.

Pipelines stack rows in many orders: [negative, positive] under guidance, positive rows alone without it,
several images per prompt, guiders that call the model once for each role. Positions are therefore no guide;
the text embeddings of a row equal those of its prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from promptweight.conditioning import ROLES, Role

NEGATIVE_FIRST: tuple[Role, ...] = ("negative", "positive")
"""The order in which most pipelines stack the rows of a call."""


@dataclass(frozen=True)
class BatchRow:
    """One row of a model's batch."""

    role: Role
    prompt: int
    """Index of its prompt among the session's prompts of this role."""
    image: int
    """Index of its image in the run, in the order in which the pipeline returns them."""
    is_perturbed: bool = False
    """True for a copy whose attention the pipeline perturbs, for guidance."""
    variant: int = 0
    """Index of its variant of the prompt."""


@dataclass(frozen=True)
class PromptEmbeds:
    """Text embeddings of a session's prompts: (prompts, tokens, dim); no negative when None."""

    positive: Tensor
    negative: Tensor | None


def match_rows(
    embeds: Tensor,
    known: PromptEmbeds,
    *,
    guidance: bool,
    perturbed: bool = False,
    is_second: bool = False,
    row_order: Sequence[Role] = NEGATIVE_FIRST,
) -> tuple[BatchRow | None, ...]:
    """Match every row of `embeds` to the prompt with equal embeddings; None where no prompt has them.

    Prompts with equal embeddings share their rows evenly, in order. Where a negative prompt equals a positive
    one, the rows are taken in `row_order` under guidance. Without guidance a call has rows of one role: the
    role whose prompts it has, each equally often; where it has those of both roles alike, the positive. Under
    perturbed-attention guidance the last rows are copies of the positive rows before them.

    Args:
        embeds: text embeddings of the call, (batch, tokens, dim).
        known: text embeddings of the session's prompts.
        guidance: True if the pipeline stacks negative and positive rows in one call.
        perturbed: True if it adds perturbed copies of the positive rows.
        is_second: without `guidance`, True for a call after the positive prompts' own: where the prompts of
            both roles are alike, it is the negative's.
        row_order: the roles of equal parts of the rows in the order in which the pipeline stacks them.
    """
    if perturbed:
        copies = embeds.shape[0] // (3 if guidance else 2)
        rows = match_rows(embeds[:-copies], known, guidance=guidance)
        return rows + tuple(row and replace(row, is_perturbed=True) for row in rows[-copies:])
    prompts: list[tuple[Role, int]] = [("positive", prompt) for prompt in range(len(known.positive))]
    if known.positive.shape[2:] != embeds.shape[2:]:
        return (None,) * embeds.shape[0]
    # rows of zeros follow a shorter text, as in pipelines that pad the texts of a call
    length = max(each.shape[1] for each in (embeds, known.positive, known.negative) if each is not None)
    of_prompts = pad_tokens(known.positive, length)
    if known.negative is not None:
        prompts = [("negative", prompt) for prompt in range(len(known.negative))] + prompts
        of_prompts = torch.cat([pad_tokens(known.negative, length), of_prompts])
    of_prompts, embeds = of_prompts.to(embeds.device, embeds.dtype), pad_tokens(embeds, length)
    of_prompts, embeds = of_prompts.nan_to_num(), embeds.nan_to_num()  # NaN equals nothing, not even itself
    matches = _compare_rows(embeds, of_prompts)
    equal_prompts = _compare_rows(of_prompts, of_prompts)
    complete = [role for role in ROLES if _has_each_equally(matches, [role == of for of, _ in prompts])]
    is_negative = complete == ["negative"] or (is_second and len(complete) == len(ROLES))
    single_role: Role = "negative" if is_negative else "positive"
    owners: dict[int, tuple[Role, int]] = {}
    for number, equal in enumerate(equal_prompts):
        if equal.index(True) < number:
            continue  # an earlier prompt of the group stands for all of it
        group = [prompts[other] for other, is_equal in enumerate(equal) if is_equal]
        if not guidance:
            group = [prompt for prompt in group if prompt[0] == single_role] or group
        else:
            group = [prompt for role in row_order for prompt in group if prompt[0] == role]
        indices = [index for index, matched in enumerate(matches) if matched[number]]
        owners |= {index: group[place * len(group) // len(indices)] for place, index in enumerate(indices)}
    return _number_images([owners.get(index) for index in range(embeds.shape[0])])


def _has_each_equally(matches: Sequence[Sequence[bool]], chosen: Sequence[bool]) -> bool:
    """Return True if the rows are the chosen prompts in order, each equally often.

    Args:
        matches: for each row, the prompts that it equals.
        chosen: for each prompt, True if it is one of the chosen.
    """
    numbers = [number for number, is_chosen in enumerate(chosen) if is_chosen]
    times, rest = divmod(len(matches), len(numbers) or len(matches) + 1)
    return not rest and all(matched[numbers[index // times]] for index, matched in enumerate(matches))


def _number_images(owners: Sequence[tuple[Role, int] | None]) -> tuple[BatchRow | None, ...]:
    """Return batch rows for the (role, prompt) of each row; a role's rows are the run's images in order."""
    images = dict.fromkeys(ROLES, 0)
    rows: list[BatchRow | None] = []
    for owner in owners:
        if owner is None:
            rows.append(None)
            continue
        role, prompt = owner
        rows.append(BatchRow(role, prompt, images[role]))
        images[role] += 1
    return tuple(rows)


def pad_tokens(embeds: Tensor, length: int) -> Tensor:
    """Pad embeddings (prompts, tokens, dim) to a number of tokens with zeros, or cut them to it."""
    return F.pad(embeds, (0, 0, 0, length - embeds.shape[1])) if embeds.shape[1] != length else embeds


def _compare_rows(left: Tensor, right: Tensor) -> list[list[bool]]:
    """Return, for each row of `left`, the rows of `right` that equal it in every entry."""
    equal: list[list[bool]] = torch.stack([(left == row).flatten(1).all(1) for row in right], 1).tolist()
    return equal
