"""What a layer's attention does under a session: it is weighted, and recorded into the layer's slots."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from promptweight.attention.hooks.processors import SelfProcessor


@dataclass
class CallState:
    """What the running call of the model asks of its layers: tensors written before it, read inside."""

    terms: AttentionTerms = field(default_factory=AttentionTerms)
    text_length: int = 0
    """How many text positions there are."""
    rows: Tensor | None = None
    """The rows of the batch that are recorded; nothing is when None."""
    columns: Tensor | None = None
    """The text positions recorded for each of those rows, (rows, n_columns)."""
    places: Tensor | None = None
    """Where in a slot each of those rows is added."""
    exchange: AttentionInjection | None = None
    """The rows that take another's attention; none do when None."""


class LayerHook:
    """Attention of image queries to text keys, weighted and recorded as the running call asks for."""

    def __init__(self, call: CallState | None = None, order: TokenOrder = "cross") -> None:
        self.call = CallState() if call is None else call
        self.order = order
        self.slot: Slot | None = None
        self.refined: Slot | None = None
        self.patches: Slot | None = None
        self.rows: Slot | None = None
        self.before: SelfProcessor | None = None
        """The processor of the UNet's self-attention before this layer, when it is listened to."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """The output of attention; what is recorded is added to this layer's slot.

        Args:
            query: (batch, heads, queries, dim).
            key: (batch, heads, keys, dim), of the text alone, or of image and text in the layer's order.
            value: (batch, heads, keys, dim).
            mask: what the model itself adds to the logits.
        """
        call, terms, bias, acted = self.call, self.call.terms, mask, None
        image = self.image_queries(query.shape[2])
        first_text = image.stop if self.order == "image first" else 0
        if terms.bias is not None:
            own = pad_dim(terms.bias, 3, first_text, key.shape[2])
            if terms.bias.shape[2] > 1:
                own = pad_dim(own, 2, image.start, query.shape[2])
            bias = own if mask is None else mask + own
        if terms.factors is not None:
            value = value * pad_dim(terms.factors, 2, first_text, key.shape[2], outside=1.0).to(value.dtype)
        text = slice(first_text, first_text + call.text_length)
        if terms.bias is not None and mask is None and can_split_bias(query):
            columns = None if terms.columns is None else terms.columns + first_text
            acted = split_bias_attention(query, key, value, bias=own, biased=text, columns=columns)
        records = self.slot is not None and call.rows is not None
        if not records and terms.local_columns is None and acted is None:
            output, _ = attend(query, key, value, bias=bias)
            if call.exchange is not None:
                output = call.exchange.output(output, query, key, value, bias, image, text)
            return output

        if acted is None:
            bias = cast_bias(bias, query)
            output, lse = attend_with_lse(query, key, value, bias=bias)
        else:
            output, lse, bias = acted
        if call.exchange is not None:
            output = call.exchange.output(output, query, key, value, bias, image, text)
        query, lse = query[:, :, image], lse[:, :, image]
        if bias is not None and bias.shape[2] > 1:
            bias = bias[:, :, image]
        if self.slot is not None and call.columns is not None and call.places is not None:
            columns = call.columns + first_text
            found = compute_columns(query, key, lse, columns, bias=bias, rows=call.rows)
            if call.exchange is not None:
                found = call.exchange.columns(found, query, key, lse, call.columns, bias, call.rows, text)
            self.slot.add(found, call.places)
            if self.rows is not None:
                self.record_rows(self.rows, query, key, bias, text)
            if self.refined is not None or self.patches is not None:
                self.record_image(query, key, found, bias)
        if terms.local_columns is not None and terms.local_excess is not None:
            columns = terms.local_columns + first_text
            found = compute_columns(query, key, lse, columns, bias=bias)
            if call.exchange is not None:
                found = call.exchange.columns(found, query, key, lse, terms.local_columns, bias, None, text)
            excess = found * terms.local_excess
            added = torch.matmul(excess.to(value.dtype), gather_columns(value, columns, dim=2))
            output = output + pad_dim(added, 2, image.start, output.shape[2])
        return output

    def record_rows(self, slot: Slot, query: Tensor, key: Tensor, bias: Tensor | None, text: slice) -> None:
        """Add to a slot what its patches of the picture attend to in the text, which is these of the keys."""
        assert slot.patches is not None
        assert self.call.places is not None
        found = compute_rows(query, key, slot.patches, bias=bias, rows=self.call.rows)
        slot.add(found[..., text], self.call.places)

    def record_image(self, query: Tensor, key: Tensor, words: Tensor, bias: Tensor | None) -> None:
        """Add what is asked for of the image's attention to itself, in this layer or the one before.

        Args:
            query: (batch, heads, image positions, dim).
            key: (batch, heads, keys, dim), of image and text in joint attention.
            words: the probabilities just recorded, (rows, heads, image positions, columns).
            bias: what was added to the logits.
        """
        call, seen = self.call, None
        assert call.rows is not None
        assert call.places is not None
        if self.before is not None:
            seen = self.before.take_kept()
        elif self.order != "cross":
            image = self.image_queries(key.shape[2])
            if call.exchange is not None and call.exchange.takes_image:
                query, key = map(call.exchange.with_image_of_source, (query, key))
            if self.patches is not None:
                add_patches(self.patches, query, key, bias, call.rows, call.places, image)
            if self.refined is not None:
                # over the image's positions alone, so that maps are averaged whatever share the text has
                key = key[:, :, image]
                seen = (query.index_select(0, call.rows), key.index_select(0, call.rows), None)
        if self.refined is not None and seen is not None:
            queries, keys, mask = seen
            found = words.mean(1)
            found = found if self.refined.pool is None else self.refined.pool.take(found)
            self.refined.add(propagate(queries, keys, found, bias=mask).unsqueeze(1), call.places)

    def image_queries(self, queries: int) -> slice:
        """Which of a layer's queries are the image's."""
        if self.order == "cross":
            return slice(0, queries)
        if self.order == "image first":
            return slice(0, queries - self.call.text_length)
        return slice(self.call.text_length, queries)


def pad_dim(tensor: Tensor, dim: int, start: int, length: int, outside: float = 0.0) -> Tensor:
    """The tensor lengthened along a dimension to `length`, itself beginning at `start`."""
    missing = length - start - tensor.shape[dim]
    if not start and not missing:
        return tensor
    return F.pad(tensor, [0, 0] * (tensor.ndim - 1 - dim) + [start, missing], value=outside)


def add_patches(
    slot: Slot, query: Tensor, key: Tensor, bias: Tensor | None, rows: Tensor, places: Tensor, image: slice
) -> None:
    """Add to a slot how its patches attend to the image, which is these of the keys."""
    assert slot.patches is not None
    found = compute_rows(query, key, slot.patches, bias=bias, rows=rows)
    slot.add(found[..., image].transpose(-1, -2), places)
