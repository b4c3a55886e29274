"""Attention of one layer with weights on some of its keys."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from promptweight.attention.control.rules import AttentionTerms
from promptweight.attention.kernels.biased import can_split_bias, split_bias_attention
from promptweight.attention.kernels.sdpa import (
    attend,
    attend_with_lse,
    cast_bias,
    gather_columns,
    repeat_heads,
)


@dataclass(frozen=True)
class WeightedAttention:
    """Attention of one layer under its weights, without those that differ over the image on the values."""

    output: Tensor
    """(batch, heads, queries, dim)."""
    lse: Tensor | None
    """Log-sum-exp of the logits, (batch, heads, queries); None where it was not needed."""
    bias: Tensor | None
    """Bias on the logits, in the type in which it was added."""
    value: Tensor
    """The values with their factors, (batch, heads, keys, dim)."""


def attend_weighted(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    terms: AttentionTerms,
    mask: Tensor | None,
    image: slice,
    text: slice,
    needs_lse: bool,
) -> WeightedAttention:
    """Compute attention with weights on the keys of a text.

    Args:
        query: (batch, heads, queries, dim).
        key: (batch, heads, keys, dim).
        value: (batch, heads, keys, dim).
        terms: the weights.
        mask: the model's own bias on the logits.
        image: range of the image's queries.
        text: range of the text's keys.
        needs_lse: True if the caller needs the log-sum-exp. Without it, and without weights that need it,
            torch's public function runs.
    """
    mask = cast_bias(mask, query)
    bias, split = mask, None
    if terms.bias is not None:
        own = pad_dim(terms.bias, 3, text.start, key.shape[2])
        if terms.bias.shape[2] > 1:
            own = pad_dim(own, 2, image.start, query.shape[2])
        bias = own if mask is None else mask + own
    if terms.factors is not None:
        value = value * pad_dim(terms.factors, 2, text.start, key.shape[2], fill=1.0).to(value.dtype)
    if terms.bias is not None and mask is None and can_split_bias(query):
        columns = None if terms.columns is None else terms.columns + text.start
        # the keys that may have a bias, as a range at the beginning or the end
        biased = slice(0, text.stop) if image.start >= text.stop else slice(text.start, key.shape[2])
        split = split_bias_attention(query, key, value, bias=own, biased=biased, columns=columns)
    if split is not None:
        output, lse, bias = split
        return WeightedAttention(output, lse, bias, value)
    if not needs_lse and terms.local_columns is None:
        return WeightedAttention(attend(query, key, value, bias=bias)[0], None, bias, value)
    bias = cast_bias(bias, query)
    output, lse = attend_with_lse(query, key, value, bias=bias)
    return WeightedAttention(output, lse, bias, value)


def add_local_values(
    output: Tensor, columns: Tensor, value: Tensor, *, terms: AttentionTerms, image: slice, text: slice
) -> Tensor:
    """Add the part of the output that comes from factors of the values that differ over the image.

    Args:
        output: (batch, heads, queries, dim).
        columns: probabilities of the keys `terms.local_columns`, (batch, heads, image queries, n) float32.
        value: (batch, heads, keys, dim).
        terms: the weights.
        image: range of the image's queries.
        text: range of the text's keys.
    """
    assert terms.local_columns is not None
    assert terms.local_excess is not None
    excess = (columns * terms.local_excess).to(value.dtype)
    values = repeat_heads(columns, gather_columns(value, terms.local_columns + text.start, dim=2))
    added = torch.matmul(excess, values)
    return output + pad_dim(added, 2, image.start, output.shape[2])


def pad_dim(tensor: Tensor, dim: int, start: int, length: int, fill: float = 0.0) -> Tensor:
    """Pad a dimension to `length` with `fill`; the tensor's own entries begin at `start`."""
    missing = length - start - tensor.shape[dim]
    if not start and not missing:
        return tensor
    return F.pad(tensor, [0, 0] * (tensor.ndim - 1 - dim) + [start, missing], value=fill)
