"""Hook in an attention layer: it applies weights and adds recorded probabilities to the layer's slots."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from promptweight.attention.control.attention_injection import AttentionInjection
from promptweight.attention.control.rules import AttentionTerms
from promptweight.attention.kernels.biased import can_split_bias, split_bias_attention
from promptweight.attention.kernels.sdpa import (
    attend,
    attend_with_lse,
    cast_bias,
    compute_columns,
    compute_rows,
    gather_columns,
    propagate,
)
from promptweight.attention.layers import TokenOrder
from promptweight.attention.recording.store import Slot

Captured = tuple[Tensor, Tensor, Tensor | None]
"""Queries, keys and mask of the recorded rows in a layer of self-attention."""


class SelfAttentionHook(Protocol):
    """Hook in the layer of a UNet's self-attention that runs right before a layer of cross-attention."""

    patch_slot: Slot | None
    is_capturing: bool

    def take_captured(self) -> Captured | None:
        """Return what the last call captured, and drop it."""


@dataclass
class CallState:
    """Tensors of the current call of the model, set before it and used by the hooks of its layers."""

    terms: AttentionTerms = field(default_factory=AttentionTerms)
    text_length: int = 0
    """Number of text positions."""
    recorded_rows: Tensor | None = None
    """Recorded rows of the batch, (rows,) int64; None where nothing is recorded."""
    recorded_columns: Tensor | None = None
    """Recorded text positions of each of these rows, (rows, n_columns) int64."""
    slot_indices: Tensor | None = None
    """Index in a slot for each of these rows, (rows,) int64."""
    injection: AttentionInjection | None = None
    """Rows that use another row's attention; None for none."""


class LayerHook:
    """Attention of image queries to text keys, weighted and recorded as the current call requires.

    Attributes:
        call: the current call, shared by all hooks with the same grid and weights.
        order: the layer's queries and keys.
        word_slot: the slot of the words' probabilities; None where nothing is recorded.
        refined_slot: the slot of these averaged by self-attention.
        patch_slot: the slot of the attention from patches to the image.
        row_slot: the slot of the attention from patches to the text.
        self_attention: the hook in the self-attention before this layer, in a UNet.
    """

    def __init__(self, call: CallState | None = None, order: TokenOrder = "cross") -> None:
        self.call = CallState() if call is None else call
        self.order = order
        self.word_slot: Slot | None = None
        self.refined_slot: Slot | None = None
        self.patch_slot: Slot | None = None
        self.row_slot: Slot | None = None
        self.self_attention: SelfAttentionHook | None = None

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """Compute attention, and add the recorded probabilities to this layer's slots.

        Args:
            query: (batch, heads, queries, dim).
            key: (batch, heads, keys, dim), of the text alone, or of image and text in the layer's order.
            value: (batch, heads, keys, dim).
            mask: the model's own bias on the logits.

        Returns:
            The output, (batch, heads, queries, dim).
        """
        call, terms, bias, split = self.call, self.call.terms, mask, None
        image = self.image_range(query.shape[2])
        first_text = image.stop if self.order == "image first" else 0
        text = slice(first_text, first_text + call.text_length)
        if terms.bias is not None:
            own = pad_dim(terms.bias, 3, first_text, key.shape[2])
            if terms.bias.shape[2] > 1:
                own = pad_dim(own, 2, image.start, query.shape[2])
            bias = own if mask is None else mask + own
        if terms.factors is not None:
            value = value * pad_dim(terms.factors, 2, first_text, key.shape[2], fill=1.0).to(value.dtype)
        if terms.bias is not None and mask is None and can_split_bias(query):
            columns = None if terms.columns is None else terms.columns + first_text
            split = split_bias_attention(query, key, value, bias=own, biased=text, columns=columns)
        is_recorded = self.word_slot is not None and call.recorded_rows is not None
        if not is_recorded and terms.local_columns is None and split is None:
            output, _ = attend(query, key, value, bias=bias)
            if call.injection is not None:
                output = call.injection.inject_output(output, query, key, value, bias, image, text)
            return output

        if split is None:
            bias = cast_bias(bias, query)
            output, lse = attend_with_lse(query, key, value, bias=bias)
        else:
            output, lse, bias = split
        if call.injection is not None:
            output = call.injection.inject_output(output, query, key, value, bias, image, text)
        query, lse = query[:, :, image], lse[:, :, image]
        if bias is not None and bias.shape[2] > 1:
            bias = bias[:, :, image]
        if self.word_slot is not None and call.recorded_columns is not None and call.slot_indices is not None:
            words = self._compute_text_columns(
                query, key, lse, call.recorded_columns, bias, call.recorded_rows, text
            )
            self.word_slot.add(words, call.slot_indices)
            if self.row_slot is not None:
                self._record_text_rows(self.row_slot, query, key, bias, text)
            if self.refined_slot is not None or self.patch_slot is not None:
                self._record_self_attention(query, key, words, bias)
        if terms.local_columns is not None and terms.local_excess is not None:
            columns = self._compute_text_columns(query, key, lse, terms.local_columns, bias, None, text)
            excess = (columns * terms.local_excess).to(value.dtype)
            added = torch.matmul(excess, gather_columns(value, terms.local_columns + first_text, dim=2))
            output = output + pad_dim(added, 2, image.start, output.shape[2])
        return output

    def image_range(self, queries: int) -> slice:
        """Return the range of the image's queries among a layer's `queries`."""
        if self.order == "cross":
            return slice(0, queries)
        if self.order == "image first":
            return slice(0, queries - self.call.text_length)
        return slice(self.call.text_length, queries)

    def _compute_text_columns(
        self,
        query: Tensor,
        key: Tensor,
        lse: Tensor,
        positions: Tensor,
        bias: Tensor | None,
        rows: Tensor | None,
        text: slice,
    ) -> Tensor:
        """Compute the columns of text positions, (rows, heads, queries, n), with the call's injection."""
        columns = compute_columns(query, key, lse, positions + text.start, bias=bias, rows=rows)
        if self.call.injection is None:
            return columns
        return self.call.injection.inject_columns(columns, query, key, lse, positions, bias, rows, text)

    def _record_text_rows(
        self, slot: Slot, query: Tensor, key: Tensor, bias: Tensor | None, text: slice
    ) -> None:
        """Add the attention from the slot's patches to the text, the range `text` of the keys."""
        assert slot.patches is not None
        assert self.call.slot_indices is not None
        rows = compute_rows(query, key, slot.patches, bias=bias, rows=self.call.recorded_rows)
        slot.add(rows[..., text], self.call.slot_indices)

    def _record_self_attention(self, query: Tensor, key: Tensor, words: Tensor, bias: Tensor | None) -> None:
        """Add the image's self-attention, of this layer or the one before, to the slots that require it.

        Args:
            query: (batch, heads, image positions, dim).
            key: (batch, heads, keys, dim), of image and text in joint attention.
            words: the words' probabilities, (rows, heads, image positions, columns).
            bias: the bias on the logits.
        """
        call, captured = self.call, None
        assert call.recorded_rows is not None
        assert call.slot_indices is not None
        if self.self_attention is not None:
            captured = self.self_attention.take_captured()
        elif self.order != "cross":
            image = self.image_range(key.shape[2])
            if call.injection is not None and call.injection.injects_self_attention:
                query, key = map(call.injection.copy_source_rows, (query, key))
            if self.patch_slot is not None:
                record_patches(
                    self.patch_slot, query, key, bias, call.recorded_rows, call.slot_indices, image
                )
            if self.refined_slot is not None:
                # only over the image's positions, so that the average does not depend on the text's share
                queries = query.index_select(0, call.recorded_rows)
                captured = (queries, key[:, :, image].index_select(0, call.recorded_rows), None)
        if self.refined_slot is not None and captured is not None:
            queries, keys, mask = captured
            maps = words.mean(1)
            if self.refined_slot.pool is not None:
                maps = self.refined_slot.pool.add(maps)
            self.refined_slot.add(propagate(queries, keys, maps, bias=mask).unsqueeze(1), call.slot_indices)


def pad_dim(tensor: Tensor, dim: int, start: int, length: int, fill: float = 0.0) -> Tensor:
    """Pad a dimension to `length` with `fill`; the tensor's own entries begin at `start`."""
    missing = length - start - tensor.shape[dim]
    if not start and not missing:
        return tensor
    return F.pad(tensor, [0, 0] * (tensor.ndim - 1 - dim) + [start, missing], value=fill)


def record_patches(
    slot: Slot, query: Tensor, key: Tensor, bias: Tensor | None, rows: Tensor, indices: Tensor, image: slice
) -> None:
    """Add the attention from a slot's patches to the image, the range `image` of the keys."""
    assert slot.patches is not None
    probabilities = compute_rows(query, key, slot.patches, bias=bias, rows=rows)
    slot.add(probabilities[..., image].transpose(-1, -2), indices)
