"""Weights inside a CLIP text encoder, as a bias on the logits of its self-attention.

In every layer of the encoder's causal self-attention, log |w| is added to the logits of a word's keys. Every
query, the word's own included, pays the word more or less attention, and its attention still sums to 1:

    softmax(q·k_j·scale + log |w_j|), with the value of a key of negative weight negated

Weight 0 masks the keys: no token attends to the word, not even the word itself, whose rows in the embeddings
then depend only on the tokens before it. The beginning token always has weight 1, so every query has a key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from promptweight.weighting import compute_logit_bias

BIAS_IMPLEMENTATIONS = ("eager", "sdpa")
"""Attention implementations of transformers that add any mask to the logits."""


@contextmanager
def apply_clip_bias(model: Any, weights: Sequence[float], visible: Sequence[bool] | None) -> Iterator[Tensor]:
    """Apply `weights` inside a CLIP text encoder that is called with the yielded tensor as `attention_mask`.

    Args:
        model: a CLIPTextModel or CLIPTextModelWithProjection.
        weights: one finite number for each token of a chunk.
        visible: whether each token is visible to the encoder; None is all of them.

    Yields:
        The bias on the logits, (1, 1, tokens, tokens) in the dtype of the model, on the CPU.
    """
    signs = torch.tensor([-1.0 if weight < 0 else 1.0 for weight in weights], dtype=torch.float32)
    implementation = model.config._attn_implementation
    with ExitStack() as stack:
        if implementation not in BIAS_IMPLEMENTATIONS:
            model.set_attn_implementation("sdpa")
            stack.callback(model.set_attn_implementation, implementation)
        if bool((signs < 0).any()):

            def negate_values(_module: Any, _inputs: Any, value: Tensor) -> Tensor:
                return value * signs.to(value)[:, None]

            for layer in (each for each in model.modules() if type(each).__name__ == "CLIPAttention"):
                stack.callback(layer.v_proj.register_forward_hook(negate_values).remove)
        yield compute_clip_bias(weights, visible, model.dtype)


def compute_clip_bias(weights: Sequence[float], visible: Sequence[bool] | None, dtype: torch.dtype) -> Tensor:
    """Compute the logarithms of the weights under the causal mask, (1, 1, tokens, tokens)."""
    keys = torch.tensor([compute_logit_bias(weight) for weight in weights], dtype=torch.float32)
    bias = keys.expand(len(weights), -1).to(dtype)
    later = torch.ones(len(weights), len(weights), dtype=torch.bool).triu(1)
    masked = later if visible is None else later | ~torch.tensor(visible)
    return bias.masked_fill(masked, torch.finfo(dtype).min)[None, None]
