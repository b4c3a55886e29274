"""The processors that a session puts into a model: the arithmetic of diffusers' own, through the kernels."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from diffusers.models import attention_processor as diffusers_processors
from diffusers.models.attention_processor import Attention
from torch import Tensor

from promptweight.attention.hooks.layer_hook import CallState, LayerHook, add_patches
from promptweight.attention.kernels.sdpa import attend


class CrossProcessor(LayerHook):
    """`AttnProcessor2_0` or `FusedAttnProcessor2_0` of a layer in which the image attends to the text."""

    _attention_backend = None
    _parallel_config = None

    def __init__(self, call: CallState | None = None, *, fused: bool = False) -> None:
        super().__init__(call)
        self.fused = fused

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """The layer's output; arguments as in diffusers."""
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
        """Queries of the image, keys and values of the text, through the layer's own modules alone."""
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
    """`AttnProcessor2_0` or `FusedAttnProcessor2_0` of a layer in which the image attends to itself.

    It keeps queries and keys until the cross-attention layer after it has its words' maps to average by them.
    """

    def __init__(self, call: CallState | None = None, *, fused: bool = False) -> None:
        super().__init__(call, fused=fused)
        self.keeps = False
        self.kept: tuple[Tensor, Tensor, Tensor | None] | None = None

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """The output of attention; arguments as in `LayerHook.attend`, all positions being the image's."""
        rows, places, exchange = self.call.rows, self.call.places, self.call.exchange
        if exchange is not None and exchange.takes_image:
            query, key = exchange.with_image_of_source(query), exchange.with_image_of_source(key)
        if rows is not None and places is not None:
            if self.patches is not None:
                add_patches(self.patches, query, key, mask, rows, places, slice(None))
            if self.keeps:
                mask_of_rows = None if mask is None else mask.expand(len(query), *mask.shape[1:])[rows]
                self.kept = (query.index_select(0, rows), key.index_select(0, rows), mask_of_rows)
        return attend(query, key, value, bias=mask)[0]

    def take_kept(self) -> tuple[Tensor, Tensor, Tensor | None] | None:
        """Queries, keys and mask of the recorded rows of the last call, once."""
        kept, self.kept = self.kept, None
        return kept

    def project(self, attn: Attention, image: Tensor, text: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of the image."""
        if self.fused:
            query, key, value = attn.to_qkv(image).chunk(3, dim=-1)
            return query, key, value
        return super().project(attn, image, text)


class JointProcessor(LayerHook):
    """`JointAttnProcessor2_0` or its fused form: image and text attend to both together, the image first.

    The fused form keeps the norms of queries and keys, which diffusers' own leaves out.
    """

    _attention_backend = None
    _parallel_config = None

    def __init__(self, call: CallState | None = None, *, fused: bool = False) -> None:
        super().__init__(call, "image first")
        self.fused = fused

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,  # noqa: ARG002 - given by pipelines, and ignored in diffusers too
    ) -> tuple[Tensor, Tensor]:
        """The layer's outputs for image and text; arguments as in diffusers."""
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
        """Queries, keys and values of the image, or of the text when `added`, in heads and normalized."""
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
    """(batch, tokens, heads · dim) → (batch, heads, tokens, dim)."""
    return projected.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(output: Tensor, dtype: torch.dtype) -> Tensor:
    """(batch, heads, tokens, dim) → (batch, tokens, heads · dim)."""
    return output.transpose(1, 2).flatten(2).to(dtype)


PROCESSORS: dict[str, Callable[[CallState], CrossProcessor | JointProcessor]] = {
    "AttnProcessor2_0": CrossProcessor,
    "FusedAttnProcessor2_0": partial(CrossProcessor, fused=True),
    "JointAttnProcessor2_0": JointProcessor,
    "FusedJointAttnProcessor2_0": partial(JointProcessor, fused=True),
    "AttnProcessor": CrossProcessor,
    "SlicedAttnProcessor": CrossProcessor,
    "XFormersAttnProcessor": CrossProcessor,
}
"""What stands in for each of diffusers' processors while a session lasts."""

OTHER_KERNELS = ("AttnProcessor", "SlicedAttnProcessor", "XFormersAttnProcessor")
"""Those that compute the same attention in another way, so that a picture may differ in its last digits."""


def make_self_processor(processor: Any, call: CallState) -> SelfProcessor | None:
    """As `make_processor`, for a layer of a UNet in which the image attends to itself."""
    if not isinstance(make_processor(processor, call), CrossProcessor):
        return None
    return SelfProcessor(call, fused=type(processor).__name__ == "FusedAttnProcessor2_0")


def make_processor(processor: Any, call: CallState) -> CrossProcessor | JointProcessor | None:
    """The processor that does what `processor` does and can be recorded; None when there is none."""
    name = type(processor).__name__
    if getattr(diffusers_processors, name, None) is not type(processor) or name not in PROCESSORS:
        return None
    return PROCESSORS[name](call)
