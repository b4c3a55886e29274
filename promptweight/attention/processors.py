"""The processors that a session puts into a model: the arithmetic of diffusers' own, through `attend`."""

from dataclasses import dataclass

from diffusers.models.attention_processor import Attention
from torch import Tensor

from promptweight.attention.kernels import attend
from promptweight.attention.store import Slot


@dataclass
class Call:
    """What the running call of the model asks of all its layers: tensors written before it, read inside."""

    bias: Tensor | None = None
    """Added to the logits, (batch, 1, 1, keys)."""
    signs: Tensor | None = None
    """Multiplied with the values, (batch, 1, keys, 1)."""
    rows: Tensor | None = None
    """The rows of the batch that are recorded; nothing is when None."""
    columns: Tensor | None = None
    """The keys recorded for each of those rows, (rows, n_columns)."""
    places: Tensor | None = None
    """Where in a slot each of those rows is added."""


class CrossProcessor:
    """`AttnProcessor2_0` or `FusedAttnProcessor2_0` of a layer whose keys are text, recorded and weighted."""

    _attention_backend = None
    _parallel_config = None

    def __init__(self, call: Call | None = None, *, fused: bool = False) -> None:
        self.call = Call() if call is None else call
        self.fused = fused
        self.slot: Slot | None = None

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
        hidden_states = self.attend(query, key, value, attention_mask)

        hidden_states = hidden_states.transpose(1, 2).flatten(2).to(query.dtype)
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

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Attention as the running call asks for it; what it records is added to this layer's slot."""
        call = self.call
        bias = mask
        if call.bias is not None:
            bias = call.bias if mask is None else mask + call.bias
        if call.signs is not None:
            value = value * call.signs.to(value.dtype)
        columns = None if self.slot is None else call.columns
        output, probabilities = attend(query, key, value, bias=bias, columns=columns, rows=call.rows)
        if self.slot is not None and probabilities is not None and call.places is not None:
            self.slot.add(probabilities, call.places)
        return output


def split_heads(projected: Tensor, heads: int) -> Tensor:
    """(batch, tokens, heads · dim) → (batch, heads, tokens, dim)."""
    return projected.unflatten(-1, (heads, -1)).transpose(1, 2)
