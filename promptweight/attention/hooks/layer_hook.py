"""Hook in an attention layer: it applies weights and adds recorded probabilities to the layer's slots."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from promptweight.attention.control.attention_injection import AttentionInjection
from promptweight.attention.control.negative_attention import (
    NegativeTerms,
    Projections,
    apply_negative,
    split_projections,
)
from promptweight.attention.control.rules import AttentionTerms
from promptweight.attention.control.weighted_attention import add_local_values, attend_weighted, pad_dim
from promptweight.attention.kernels.sdpa import compute_columns, compute_rows, propagate, repeat_heads
from promptweight.attention.layers import TokenOrder
from promptweight.attention.recording.store import Slot
from promptweight.errors import AttachError
from promptweight.messages import message

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
    """Number of text positions of a prompt."""
    cells: int = 0
    """Number of positions of the layer's grid over the image, or over all frames of a video; 0 for all
    positions but the text's."""
    frames: int = 1
    """Number of frames whose positions follow each other; each has a map of its own."""
    recorded_rows: Tensor | None = None
    """Recorded rows of the batch, (rows,) int64; None where nothing is recorded."""
    recorded_columns: Tensor | None = None
    """Recorded text positions of each of these rows, (rows, n_columns) int64."""
    slot_indices: Tensor | None = None
    """Index in a slot for each frame of each of these rows, (rows · frames,) int64."""
    injection: AttentionInjection | None = None
    """Rows that use another row's attention; None for none."""
    negative: NegativeTerms | None = None
    """Negative prompts that act in attention, in which case the text has twice as many positions; None for
    none."""

    def select_rows(self, rows: slice) -> CallState:
        """Return the state of a range of the batch; the recorded rows are in the range with the first row."""
        return replace(
            self,
            terms=self.terms.select_rows(rows),
            recorded_rows=None if rows.start else self.recorded_rows,
            injection=None if self.injection is None else self.injection.select_rows(rows),
        )


class LayerHook:
    """Attention of image queries to text keys, weighted and recorded as the current call requires.

    Attributes:
        call: the current call, shared by all hooks with the same grid and rules.
        order: the layer's queries and keys.
        multiple: the number to a multiple of which the layer's image and text are each padded.
        leading: the number of the model's own positions before the text, where the text is first.
        word_slot: the slot of the words' probabilities; None where nothing is recorded.
        refined_slot: the slot of these averaged by self-attention.
        patch_slot: the slot of the attention from patches to the image.
        row_slot: the slot of the attention from patches to the text.
        self_attention: the hook in the self-attention before this layer, in a UNet.
        replaced: the processor in whose place the hook is; None where it is not a processor.
    """

    def __init__(
        self,
        call: CallState | None = None,
        order: TokenOrder = "cross",
        multiple: int = 1,
        leading: int = 0,
    ) -> None:
        self.call = CallState() if call is None else call
        self.order, self.multiple, self.leading = order, multiple, leading
        self.word_slot: Slot | None = None
        self.refined_slot: Slot | None = None
        self.patch_slot: Slot | None = None
        self.row_slot: Slot | None = None
        self.self_attention: SelfAttentionHook | None = None
        self.replaced: Any = None

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """Compute attention, and add the recorded probabilities to this layer's slots.

        Recorded are the probabilities of the image and the positive prompt, as without a negative prompt that
        acts in attention.

        Args:
            query: (batch, heads, queries, dim).
            key: (batch, heads, keys, dim), of the text alone, or of image and text in the layer's order.
            value: (batch, heads, keys, dim).
            mask: the model's own bias on the logits.

        Returns:
            The output, (batch, heads, queries, dim).

        Raises:
            AttachError: a mask, with a negative prompt that acts in attention.
        """
        device = query.device.type
        if not (has_autocast(device) and torch.is_autocast_enabled(device)):
            return self._attend(query, key, value, mask)
        # As torch's attention under autocast; what is recorded stays in float32.
        query, key, value = (each.to(torch.get_autocast_dtype(device)) for each in (query, key, value))
        with torch.autocast(device, enabled=False):
            return self._attend(query, key, value, mask)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        negative = self.call.negative
        if negative is not None or self.call.injection is not None:
            key, value = repeat_heads(query, key), repeat_heads(query, value)
        if negative is None:
            return self._attend_own(query, key, value, mask, needs_lse=False)[0]
        if mask is not None:
            raise AttachError(message("negative-text-mask"))
        own, other = split_projections((query, key, value), self.call.text_length, self.order)
        output, lse = self._attend_own(*own, None, needs_lse=negative.guidance.name == "vsf")
        image = self.image_range(own[0].shape[2])
        return apply_negative(negative, output, lse, own, other, image=image, order=self.order)

    def attend_rows(
        self, rows: slice, query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None
    ) -> Tensor:
        """Compute attention of a range of the batch; the other arguments as in `attend`."""
        whole = self.call
        self.call = whole.select_rows(rows)
        try:
            return self.attend(query, key, value, mask=mask)
        finally:
            self.call = whole

    def select_own(self, query: Tensor, key: Tensor, value: Tensor) -> Projections:
        """Return the arguments of `attend` without the positions of a negative prompt that acts here."""
        if self.call.negative is None:
            return query, key, value
        return split_projections((query, key, value), self.call.text_length, self.order)[0]

    def _attend_own(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, needs_lse: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Compute and record attention without a negative prompt; return it with its log-sum-exp."""
        call = self.call
        terms = call.terms.without_regions() if self.order == "text" else call.terms
        self.check_lengths(query.shape[2], key.shape[2])
        image, text = self.image_range(query.shape[2]), self.text_range(key.shape[2])
        is_recorded = self.word_slot is not None and call.recorded_rows is not None
        attention = attend_weighted(
            query,
            key,
            value,
            terms=terms,
            mask=mask,
            image=image,
            text=text,
            needs_lse=needs_lse or is_recorded,
        )
        output, bias = attention.output, attention.bias
        if call.injection is not None:
            values = attention.value
            image_keys = self.image_range(key.shape[2])
            output = call.injection.inject_output(output, query, key, values, bias, image, image_keys, text)
        if attention.lse is None or not (is_recorded or terms.local_columns is not None):
            return output, attention.lse
        query, lse = query[:, :, image], attention.lse[:, :, image]
        if bias is not None and bias.shape[2] > 1:
            bias = bias[:, :, image]
        if self.word_slot is not None and call.recorded_columns is not None and call.slot_indices is not None:
            words = self._compute_text_columns(
                query, key, lse, call.recorded_columns, bias, call.recorded_rows, text
            )
            self.word_slot.add(split_frames(words, call.frames), call.slot_indices)
            if self.row_slot is not None:
                self._record_text_rows(self.row_slot, query, key, bias, text)
            if self.refined_slot is not None or self.patch_slot is not None:
                self._record_self_attention(query, key, words, bias)
        if terms.local_columns is not None:
            columns = self._compute_text_columns(query, key, lse, terms.local_columns, bias, None, text)
            output = add_local_values(output, columns, attention.value, terms=terms, image=image, text=text)
        return output, attention.lse

    def image_range(self, positions: int) -> slice:
        """Return the range of the image among a layer's queries or keys, which may be the image's alone.

        Positions of further images, between the image and the text or after both, are outside of it.
        """
        if self.order == "cross":
            return slice(0, positions)
        if self.order == "text":
            return slice(0, 0)
        before = self.leading + self.call.text_length
        cells = self.call.cells or positions - before
        if self.order == "image first" or positions == cells:
            return slice(0, cells)
        return slice(before, before + cells)

    def text_range(self, keys: int) -> slice:
        """Return the range of the text among a layer's keys."""
        first = self.leading
        if self.order == "image first":
            padded = -(-self.call.cells // self.multiple) * self.multiple
            first = padded if self.multiple > 1 else keys - self.call.text_length
        return slice(first, first + self.call.text_length)

    def check_lengths(self, queries: int, keys: int) -> None:
        """Check that queries and keys are those of the image and the text.

        Raises:
            AttachError: they are not; or there are others where attention is exchanged between rows or
                between prompts, or only the image's queries where it is between prompts.
        """
        call, cells = self.call, self.call.cells or queries
        if self.order == "cross":
            needs_grid = self.word_slot is not None or call.terms.is_regional
            fits = keys >= call.text_length and (queries == cells or not needs_grid)
        elif self.order == "text":
            fits = keys >= call.text_length
        elif call.injection is not None or call.negative is not None:
            joined = cells + self.leading + call.text_length
            fits = (queries == keys or (call.negative is None and queries == call.cells)) and (
                not call.cells or keys == joined
            )
            if call.cells and keys > joined:
                further, text = keys - joined, call.text_length
                raise AttachError(
                    message("attention-further-tokens", further=further, cells=call.cells, text=text)
                )
        else:
            fits = queries >= call.cells and keys >= call.cells + self.leading + call.text_length
        if not fits:
            raise AttachError(
                message(
                    "attention-lengths", queries=queries, keys=keys, cells=call.cells, text=call.text_length
                )
            )

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
        columns = rows[..., text]  # texts of other calls may be longer
        slot.add(pad_dim(columns, 3, 0, slot.sums.shape[3]), self.call.slot_indices)

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


def split_frames(probabilities: Tensor, frames: int) -> Tensor:
    """Reshape (rows, heads, frames · positions, columns) to (rows · frames, heads, positions, columns)."""
    if frames == 1:
        return probabilities
    return probabilities.unflatten(2, (frames, -1)).transpose(1, 2).flatten(0, 1)


@torch.compiler.assume_constant_result  # torch 2.10 cannot trace it
def has_autocast(device: str) -> bool:
    """Return whether autocast exists on a kind of device."""
    return torch.amp.is_autocast_available(device)


def record_patches(
    slot: Slot, query: Tensor, key: Tensor, bias: Tensor | None, rows: Tensor, indices: Tensor, image: slice
) -> None:
    """Add the attention from a slot's patches to the image, the range `image` of the keys."""
    assert slot.patches is not None
    device = query.device.type
    with torch.autocast(device, enabled=False) if has_autocast(device) else nullcontext():
        probabilities = compute_rows(query, key, slot.patches, bias=bias, rows=rows)
    slot.add(probabilities[..., image].transpose(-1, -2), indices)
