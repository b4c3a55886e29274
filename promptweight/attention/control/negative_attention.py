"""Attention of the image to the negative prompt, and its effect on the attention to the positive one.

The text of a model's call then holds both prompts (`promptweight.attention.control.negative_prompts`), and a
layer's queries and keys are split into those of the image and the positive prompt, which attend as without a
negative prompt, and those of the negative prompt. The formulas are in
`promptweight.attention.negative_guidance`. Value sign flip merges two calls of fused attention by their
log-sum-exp, so neither way writes a matrix of probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from promptweight.attention.control.rules import AttentionTerms
from promptweight.attention.control.weighted_attention import add_local_values, attend_weighted
from promptweight.attention.kernels.biased import merge_outputs
from promptweight.attention.kernels.sdpa import compute_columns
from promptweight.attention.layers import TokenOrder
from promptweight.attention.negative_guidance import NegativeGuidance

Projections = tuple[Tensor, Tensor, Tensor]
"""Queries, keys and values of one layer."""


@dataclass(frozen=True)
class NegativeTerms:
    """Negative prompts of one call of the model."""

    guidance: NegativeGuidance
    rows: Tensor | None
    """Batch rows on which they act, (rows,) int64; None for all."""
    terms: AttentionTerms
    """Weights of the negative prompts' words, of these rows."""
    word_bias: Tensor | None
    """Bias that leaves only words among the keys of `vsf`, (rows, 1, 1, text positions) float32."""


def split_projections(
    projections: Projections, length: int, order: TokenOrder
) -> tuple[Projections, Projections]:
    """Split a layer's queries, keys and values into those without the negative prompt's, and those of it.

    In cross-attention the queries are the image's alone: the second ones are empty.

    Args:
        projections: queries, keys and values, (batch, heads, positions, dim).
        length: number of text positions of each prompt.
        order: the layer's queries and keys; the negative prompt's are the farthest from the image's.
    """
    own, negative = [], []
    for number, each in enumerate(projections):
        count = 0 if order == "cross" and number == 0 else length
        if order == "text first":
            negative.append(each[:, :, :count])
            own.append(each[:, :, count:])
        else:
            end = each.shape[2] - count
            own.append(each[:, :, :end])
            negative.append(each[:, :, end:])
    return (own[0], own[1], own[2]), (negative[0], negative[1], negative[2])


def apply_negative(
    negative: NegativeTerms,
    output: Tensor,
    lse: Tensor | None,
    own: Projections,
    other: Projections,
    *,
    image: slice,
    order: TokenOrder,
) -> Tensor:
    """Return a layer's output with the effect of the negative prompt, in the layer's order of queries.

    Args:
        negative: the negative prompts.
        output: attention without them, (batch, heads, queries, dim).
        lse: its log-sum-exp; `vsf` needs it.
        own: queries, keys and values without the negative prompt's.
        other: those of the negative prompt.
        image: range of the image's queries among the own; in joint attention also of its keys.
        order: the layer's queries and keys.
    """
    rows = negative.rows
    image_query = _select(own[0][:, :, image], rows)
    text_query, text_key, text_value = (_select(each, rows) for each in other)
    attended = _select(output[:, :, image], rows)
    is_joint = order != "cross"
    keys, values = text_key, text_value
    if is_joint:
        keys = torch.cat([_select(own[1][:, :, image], rows), text_key], dim=2)
        values = torch.cat([_select(own[2][:, :, image], rows), text_value], dim=2)
    pixels, length = image_query.shape[2], text_key.shape[2]
    if negative.guidance.name == "nag":
        queries = torch.cat([image_query, text_query], dim=2) if is_joint else image_query
        both, _ = _attend(queries, keys, values, negative.terms, pixels, length, needs_lse=False)
        guided = normalize_guidance(attended, both[:, :, :pixels], negative.guidance)
        text_output = both[:, :, pixels:]
    else:
        assert lse is not None
        guided = _flip_values(
            negative, image_query, text_key, text_value, attended, _select(lse[:, :, image], rows)
        )
        text_output = text_query
        if is_joint:
            text_output, _ = _attend(text_query, keys, values, negative.terms, 0, length, needs_lse=False)
    if rows is not None:
        guided = output[:, :, image].index_copy(0, rows, guided)
        every = text_output.new_zeros(len(output), *text_output.shape[1:])
        text_output = every.index_copy(0, rows, text_output)
    if not is_joint:
        return guided
    if order == "image first":
        return torch.cat([guided, output[:, :, image.stop :], text_output], dim=2)
    return torch.cat([text_output, output[:, :, : image.start], guided], dim=2)


def normalize_guidance(positive: Tensor, negative: Tensor, guidance: NegativeGuidance) -> Tensor:
    """Return the normalized attention guidance of two outputs, (batch, heads, image positions, dim)."""
    assert guidance.scale is not None
    assert guidance.tau is not None
    assert guidance.alpha is not None
    before = positive.float()
    extrapolated = before * guidance.scale - negative.float() * (guidance.scale - 1)
    norm, limit = (each.abs().sum((1, 3), keepdim=True) for each in (extrapolated, before * guidance.tau))
    shrunk = extrapolated * (limit / norm.clamp_min(torch.finfo(norm.dtype).tiny)).clamp_max(1)
    return (before + guidance.alpha * (shrunk - before)).to(positive.dtype)


def _flip_values(
    negative: NegativeTerms, query: Tensor, key: Tensor, value: Tensor, attended: Tensor, lse: Tensor
) -> Tensor:
    """Return attention merged with that to the negative prompt's words, whose values are negated."""
    guidance, terms = negative.guidance, negative.terms
    assert guidance.scale is not None
    assert guidance.offset is not None
    if negative.word_bias is not None:
        terms = terms.with_bias(negative.word_bias)
    flipped, own_lse = _attend(
        query, key, value * -guidance.scale, terms, query.shape[2], key.shape[2], needs_lse=True
    )
    assert own_lse is not None
    return merge_outputs((attended, lse), (flipped, own_lse - guidance.offset))[0]


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    terms: AttentionTerms,
    pixels: int,
    length: int,
    *,
    needs_lse: bool,
) -> tuple[Tensor, Tensor | None]:
    """Compute attention to a negative prompt, whose keys are the last ones.

    Args:
        query: (rows, heads, queries, dim), those of the image first.
        key: (rows, heads, keys, dim).
        value: (rows, heads, keys, dim).
        terms: weights of its words. Those in a region act on the image's queries only.
        pixels: number of the image's queries.
        length: number of text positions.
        needs_lse: True to return the log-sum-exp.
    """
    image, text = slice(0, pixels), slice(key.shape[2] - length, key.shape[2])
    if not pixels:
        terms = terms.without_regions()
    attention = attend_weighted(
        query, key, value, terms=terms, mask=None, image=image, text=text, needs_lse=needs_lse
    )
    output, lse = attention.output, attention.lse
    if terms.local_columns is not None:
        assert lse is not None
        bias = attention.bias
        columns = compute_columns(
            query[:, :, image],
            key,
            lse[:, :, image],
            terms.local_columns + text.start,
            bias=bias if bias is None or bias.shape[2] == 1 else bias[:, :, image],
        )
        output = add_local_values(output, columns, attention.value, terms=terms, image=image, text=text)
    return output, lse


def _select(tensor: Tensor, rows: Tensor | None) -> Tensor:
    return tensor if rows is None else tensor.index_select(0, rows)
