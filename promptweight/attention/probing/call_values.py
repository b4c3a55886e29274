"""Values among the arguments of a model's call: batches of texts and of latents, and changes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from promptweight.conditioning import Role


def list_rows(value: Any) -> list[Tensor]:
    """Return the rows of a batch, (batch, rows, …) or a list of (rows, …); none of other values."""
    if isinstance(value, Tensor):
        return list(value) if value.ndim > 2 and value.is_floating_point() else []
    is_batch = isinstance(value, (list, tuple)) and all(isinstance(each, Tensor) for each in value)
    return [each for each in value if each.ndim > 1 and each.is_floating_point()] if is_batch else []


def match_role(row: Tensor, texts: Mapping[Role, Tensor | None]) -> Role | None:
    """Return the role of the text that a row of a batch begins with; None for none."""
    for role, text in texts.items():
        if text is None or row.shape[1:] != text.shape[1:]:
            continue
        length = min(len(row), len(text))
        same = torch.equal(row[:length], text[:length].to(row.device, row.dtype))
        if same and not bool(row[length:].any()):
            return role
    return None


def list_used_rows(mask: Any, rows: int) -> list[int]:
    """Return the rows of the first text that its mask keeps; all rows without a mask."""
    if mask is None:
        return list(range(rows))
    return [int(row) for row in mask[0].reshape(len(mask[0]), -1)[:rows, 0].nonzero()]


def change_values(value: Any, row: int, index: Any) -> Any:
    """Return a batch, a tensor or a list, with other values at `index` of one of its rows."""
    rows = [each.clone() for each in value]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(rows[row][index].shape, generator=generator).to(rows[row])
    rows[row][index] = rows[row][index].flip(-1) + 4 * noise
    return torch.stack(rows) if isinstance(value, Tensor) else type(value)(rows)


def first_tensor(output: Any) -> Any:
    """Return the prediction in a model's output: a tensor, or a list of those of the batch."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        return next(iter(output.values()))
    if isinstance(output, tuple):
        return output[0]
    return output


def are_equal(own: Any, other: Any) -> bool:
    """Return whether two values are equal, with the tensors in lists, tuples and dicts."""
    if type(own) is not type(other):
        return False
    if isinstance(own, Tensor):
        return own.shape == other.shape and torch.equal(own.nan_to_num(), other.nan_to_num())
    if isinstance(own, dict):
        return own.keys() == other.keys() and all(are_equal(own[name], other[name]) for name in own)
    if isinstance(own, (list, tuple)):
        return len(own) == len(other) and all(map(are_equal, own, other))
    return True
