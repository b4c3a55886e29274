"""Queries and keys of a model's attention in a call in which no attention moves anything between positions.

While attention returns zeros, a change of one position of the text or the latents stays at this position, so
the queries and keys that change are those of this position.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from promptweight.attention.probing.first_step import ModelCall

LayerCall = tuple[str, int]
"""Name of an attention layer, empty for none, and number of a call of torch's attention inside it."""
Attention = Callable[..., Tensor]


@dataclass(frozen=True)
class Projected:
    """Queries and keys of one call of torch's attention."""

    query: Tensor
    """(batch, heads, queries, dim)."""
    key: Tensor
    """(batch, heads, keys, dim)."""

    def find_changed_queries(self, other: Projected) -> Tensor:
        """Return how much each query differs, (batch, queries) float32; zeros where the shapes differ."""
        return _measure_change(self.query, other.query)

    def find_changed_keys(self, other: Projected) -> Tensor:
        """Return how much each key differs, (batch, keys) float32; zeros where the shapes differ."""
        return _measure_change(self.key, other.key)


def _measure_change(own: Tensor, other: Tensor) -> Tensor:
    if own.shape != other.shape:
        return own.new_zeros(own.shape[0], own.shape[2], dtype=torch.float32)
    return (own.float() - other.float()).abs().amax(dim=(1, 3))


class _AttentionMode(TorchFunctionMode):
    """Mode that passes each call of `scaled_dot_product_attention` to a function, with its layer's name."""

    def __init__(self, attend: Callable[..., Tensor], layers: list[str]) -> None:
        super().__init__()
        self.attend, self.layers, self.numbers = attend, layers, dict[str, int]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function that torch calls inside the mode."""
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        name = self.layers[-1] if self.layers else ""
        number = self.numbers.get(name, 0)
        self.numbers[name] = number + 1
        return self.attend((name, number), *args, **kwargs)


@torch.no_grad()
def run_model(model: Any, call: ModelCall, attend: Callable[..., Tensor]) -> Any:
    """Run a call of a model with another attention; return the model's output.

    Args:
        model: the model, not compiled.
        call: the arguments.
        attend: called with the `LayerCall` and torch's arguments in place of its attention.
    """
    layers: list[str] = []
    with ExitStack() as stack:
        for name, module in find_attention_modules(model).items():
            enter = module.register_forward_pre_hook(lambda *_, name=name: layers.append(name))
            leave = module.register_forward_hook(lambda *_: layers.pop() and None)
            stack.callback(enter.remove)
            stack.callback(leave.remove)
        stack.enter_context(_AttentionMode(attend, layers))
        return model._call_impl(*call.args, **call.kwargs)  # past `torch.compile`


def find_attention_modules(model: Any) -> dict[str, Any]:
    """Return the modules of a model that have an attention processor, by name."""
    return {name: each for name, each in model.named_modules() if hasattr(each, "processor")}


def observe(model: Any, call: ModelCall) -> Mapping[LayerCall, Projected]:
    """Run a call of a model with attention that returns zeros; return the queries and keys, in order."""
    observed: dict[LayerCall, Projected] = {}

    def attend(place: LayerCall, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
        observed[place] = Projected(query.clone(), key.clone())
        return query.new_zeros(*query.shape[:-1], value.shape[-1])

    run_model(model, call, attend)
    return observed


def run_without_keys(model: Any, call: ModelCall, hidden: Mapping[LayerCall, int]) -> Any:
    """Run a call of a model without one key of each of the attention calls `hidden`; return the output."""

    def attend(
        place: LayerCall,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        **rest: Any,
    ) -> Tensor:
        if place in hidden:
            bias = query.new_zeros(1, 1, 1, key.shape[2])
            bias[..., hidden[place]] = -torch.inf
            if attn_mask is None:
                attn_mask = bias
            elif attn_mask.dtype == torch.bool:
                attn_mask = attn_mask & (bias == 0)
            else:
                attn_mask = attn_mask + bias
        return F.scaled_dot_product_attention(query, key, value, attn_mask=attn_mask, **rest)

    return run_model(model, call, attend)
