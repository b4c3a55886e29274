"""Attention processors for a session: diffusers' own, with attention through the session's kernels."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from diffusers.models import attention_processor as diffusers_processors
from diffusers.models.attention_processor import Attention
from torch import Tensor

from promptweight.attention.hooks.layer_hook import Captured, LayerHook, record_patches
from promptweight.attention.kernels.sdpa import attend


class CrossProcessor(LayerHook):
    """`AttnProcessor2_0` or `FusedAttnProcessor2_0` of a cross-attention layer."""

    _attention_backend = None
    _parallel_config = None

    def __init__(self, *, fused: bool = False) -> None:
        super().__init__()
        self.fused = fused

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """Run the layer; arguments as in diffusers."""
        residual = hidden_states
        if attn.spatial_norm is not None:
            hidden_states = attn.spatial_norm(hidden_states, temb)
        spatial = hidden_states.shape if hidden_states.ndim == 4 else None
        if spatial is not None:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)
        text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if attention_mask is not None:
            attention_mask = attn.prepare_attention_mask(attention_mask, text.shape[1], text.shape[0])
            attention_mask = attention_mask.view(text.shape[0], attn.heads, -1, attention_mask.shape[-1])
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)

        query, key, value = self.project(attn, hidden_states, encoder_hidden_states)
        query, key, value = (split_heads(projected, attn.heads) for projected in (query, key, value))
        if attn.norm_q is not None:
            query = attn.norm_q(query)
        if attn.norm_k is not None:
            key = attn.norm_k(key)
        hidden_states = join_heads(self.attend(query, key, value, mask=attention_mask), query.dtype)

        hidden_states = attn.to_out[1](attn.to_out[0](hidden_states))
        if spatial is not None:
            hidden_states = hidden_states.transpose(-1, -2).reshape(spatial)
        if attn.residual_connection:
            hidden_states = hidden_states + residual
        return hidden_states / attn.rescale_output_factor

    def project(self, attn: Attention, image: Tensor, text: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Project the image to queries and the text to keys and values, with the layer's own modules."""
        if text is None:
            text = image
        elif attn.norm_cross:
            text = attn.norm_encoder_hidden_states(text)
        query = attn.to_q(image)
        if self.fused:
            key, value = attn.to_kv(text).chunk(2, dim=-1)
            return query, key, value
        return query, attn.to_k(text), attn.to_v(text)


class SelfProcessor(CrossProcessor):
    """`AttnProcessor2_0` or `FusedAttnProcessor2_0` of a self-attention layer.

    It captures queries and keys, by which the next cross-attention layer averages its words' maps.
    """

    def __init__(self, *, fused: bool = False) -> None:
        super().__init__(fused=fused)
        self.is_capturing = False
        self.captured: Captured | None = None

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """Compute attention; arguments as in `LayerHook.attend`, where all positions are the image's."""
        rows, indices, injection = self.call.recorded_rows, self.call.slot_indices, self.call.injection
        if injection is not None and injection.injects_self_attention:
            query, key = injection.copy_source_rows(query), injection.copy_source_rows(key)
        if rows is not None and indices is not None:
            if self.patch_slot is not None:
                record_patches(self.patch_slot, query, key, mask, rows, indices, slice(None))
            if self.is_capturing:
                mask_of_rows = None if mask is None else mask.expand(len(query), *mask.shape[1:])[rows]
                self.captured = (query.index_select(0, rows), key.index_select(0, rows), mask_of_rows)
        return attend(query, key, value, bias=mask)[0]

    def take_captured(self) -> Captured | None:
        """Return queries, keys and mask of the recorded rows of the last call, and drop them."""
        captured, self.captured = self.captured, None
        return captured

    def project(self, attn: Attention, image: Tensor, text: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Project the image to queries, keys and values."""
        if self.fused:
            query, key, value = attn.to_qkv(image).chunk(3, dim=-1)
            return query, key, value
        return super().project(attn, image, text)


class JointProcessor(LayerHook):
    """`JointAttnProcessor2_0` or its fused form, in which image and text attend to both, the image first.

    The fused form applies the norms of queries and keys, which diffusers' own omits.
    """

    _attention_backend = None
    _parallel_config = None

    def __init__(self, *, fused: bool = False) -> None:
        super().__init__(order="image first")
        self.fused = fused

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,  # noqa: ARG002 - pipelines pass it, and diffusers ignores it too
    ) -> tuple[Tensor, Tensor]:
        """Run the layer for image and text; arguments as in diffusers."""
        image = self.project(attn, hidden_states, added=False)
        text = self.project(attn, encoder_hidden_states, added=True)
        query, key, value = (torch.cat(both, dim=2) for both in zip(image, text, strict=True))
        length = hidden_states.shape[1]
        joint = join_heads(self.attend(query, key, value), query.dtype)
        hidden_states, encoder_hidden_states = joint[:, :length], joint[:, length:]
        if not attn.context_pre_only:
            encoder_hidden_states = attn.to_add_out(encoder_hidden_states)
        return attn.to_out[1](attn.to_out[0](hidden_states)), encoder_hidden_states

    def project(self, attn: Attention, states: Tensor, *, added: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Project the image, or the text if `added`, to normalized queries, keys and values in heads."""
        if self.fused:
            projected = (attn.to_added_qkv if added else attn.to_qkv)(states).chunk(3, dim=-1)
        else:
            names = ("add_q_proj", "add_k_proj", "add_v_proj") if added else ("to_q", "to_k", "to_v")
            projected = [getattr(attn, name)(states) for name in names]
        query, key, value = (split_heads(each, attn.heads) for each in projected)
        norm_q, norm_k = (attn.norm_added_q, attn.norm_added_k) if added else (attn.norm_q, attn.norm_k)
        return (
            query if norm_q is None else norm_q(query),
            key if norm_k is None else norm_k(key),
            value,
        )


def split_heads(projected: Tensor, heads: int) -> Tensor:
    """Reshape (batch, tokens, heads · dim) to (batch, heads, tokens, dim)."""
    return projected.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(output: Tensor, dtype: torch.dtype) -> Tensor:
    """Reshape (batch, heads, tokens, dim) to (batch, tokens, heads · dim)."""
    return output.transpose(1, 2).flatten(2).to(dtype)


PROCESSORS: dict[str, Callable[[], CrossProcessor | JointProcessor]] = {
    "AttnProcessor2_0": CrossProcessor,
    "FusedAttnProcessor2_0": partial(CrossProcessor, fused=True),
    "JointAttnProcessor2_0": JointProcessor,
    "FusedJointAttnProcessor2_0": partial(JointProcessor, fused=True),
    "AttnProcessor": CrossProcessor,
    "SlicedAttnProcessor": CrossProcessor,
    "XFormersAttnProcessor": CrossProcessor,
}
"""Session's processor for each of diffusers' processors, by class name."""

OTHER_KERNELS = ("AttnProcessor", "SlicedAttnProcessor", "XFormersAttnProcessor")
"""Processors with other kernels for the same attention: an image may differ in its last digits."""


def make_self_processor(processor: Any) -> SelfProcessor | None:
    """Make the session's processor for a UNet's self-attention layer; None as in `make_processor`."""
    if not isinstance(make_processor(processor), CrossProcessor):
        return None
    return SelfProcessor(fused=type(processor).__name__ == "FusedAttnProcessor2_0")


def make_processor(processor: Any) -> CrossProcessor | JointProcessor | None:
    """Make the session's processor for a layer with diffusers' `processor`; None for other processors."""
    name = type(processor).__name__
    if getattr(diffusers_processors, name, None) is not type(processor) or name not in PROCESSORS:
        return None
    return PROCESSORS[name]()
