"""Weights inside a CLIP text encoder: how much the tokens of a prompt heed a word while they read it.

In every layer of the encoder's causal self-attention log |w| is added to the logits of the word's keys, so
that each query, the word's own included, pays more or less attention to it, and its shares still sum to 1:

    softmax(q·k_j·scale + log |w_j|), and the value of a negative weight's key is turned round

Weight 0 masks the keys: no token hears of the word, not even the word itself, whose rows stay in the
embeddings as the beginning of the text alone makes them. The beginning always has weight 1, so that no query
is left without a key.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

MASKED = -1.0e4
"""The logit bias of weight 0: far below any logit, finite, and representable in float16."""

TAKES_A_BIAS = ("eager", "sdpa")
"""transformers' implementations of attention that add any mask to the logits."""


@contextmanager
def apply_clip_bias(model: Any, weights: Sequence[float], shown: Sequence[bool] | None) -> Iterator[Tensor]:
    """Let `weights` act in a CLIP text encoder, called with what this yields as its `attention_mask`.

    Args:
        model: a CLIPTextModel or CLIPTextModelWithProjection.
        weights: one finite number for each token of a chunk.
        shown: which tokens are read at all; every one when None.

    Yields:
        What is added to the logits: (1, 1, tokens, tokens) in the type of the model, on the CPU.
    """
    signs = torch.tensor([-1.0 if weight < 0 else 1.0 for weight in weights])
    usual = model.config._attn_implementation
    with ExitStack() as stack:
        if usual not in TAKES_A_BIAS:
            model.set_attn_implementation("sdpa")
            stack.callback(model.set_attn_implementation, usual)
        if bool((signs < 0).any()):

            def turn_round(_module: Any, _inputs: Any, value: Tensor) -> Tensor:
                return value * signs.to(value)[:, None]

            for layer in (each for each in model.modules() if type(each).__name__ == "CLIPAttention"):
                stack.callback(layer.v_proj.register_forward_hook(turn_round).remove)
        yield compute_clip_bias(weights, shown, model.dtype)


def compute_clip_bias(weights: Sequence[float], shown: Sequence[bool] | None, dtype: torch.dtype) -> Tensor:
    """The logarithms of the weights under the causal mask: (1, 1, tokens, tokens)."""
    keys = torch.tensor([max(math.log(abs(weight)), MASKED) if weight else MASKED for weight in weights])
    bias = keys.expand(len(weights), -1).to(dtype)
    later = torch.ones(len(weights), len(weights), dtype=torch.bool).triu(1)
    hidden = later if shown is None else later | ~torch.tensor(shown)
    return bias.masked_fill(hidden, torch.finfo(dtype).min)[None, None]
