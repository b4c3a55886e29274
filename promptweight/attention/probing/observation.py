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

from promptweight.attention.class_swap import (
    check_settings,
    is_swapped,
    remove_hook,
    restore_class,
    set_hook,
    swap_class,
)
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
    settings: Mapping[str, Any]
    """The arguments of the call after the mask, by name."""

    def check(self) -> None:
        """Raise `AttachError` where a session could not take the place of this call."""
        check_settings(self.query, **self.settings)

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
def run_model(
    model: Any, call: ModelCall, attend: Callable[..., Tensor], entered: set[str] | None = None
) -> Any:
    """Run a call of a model with another attention; return the model's output.

    Args:
        model: the model, not compiled.
        call: the arguments.
        attend: called with the `LayerCall` and torch's arguments in place of its attention.
        entered: receives the names of the attention layers that run; None for nothing.
    """
    layers: list[str] = []

    def enter_layer(name: str) -> None:
        layers.append(name)
        if entered is not None:
            entered.add(name)

    with ExitStack() as stack:
        for name, module in find_attention_modules(model).items():
            enter = module.register_forward_pre_hook(lambda *_, name=name: enter_layer(name))
            leave = module.register_forward_hook(lambda *_: layers.__delitem__(-1))
            stack.callback(enter.remove)
            stack.callback(leave.remove)
        stack.enter_context(_AttentionMode(attend, layers))
        return model._call_impl(*call.args, **call.kwargs)  # past `torch.compile`


def find_attention_modules(model: Any) -> dict[str, Any]:
    """Return the modules of a model that have an attention processor, by name."""
    return {name: each for name, each in model.named_modules() if hasattr(each, "processor")}


def list_idle_layers(model: Any, call: ModelCall) -> list[str]:
    """Return the attention layers that a call of a model does not run."""
    entered: set[str] = set()
    run_model(
        model, call, lambda _, *args, **kwargs: F.scaled_dot_product_attention(*args, **kwargs), entered
    )
    return [name for name in find_attention_modules(model) if name not in entered]


def observe(model: Any, call: ModelCall) -> Mapping[LayerCall, Projected]:
    """Run a call of a model with attention that returns zeros; return the queries and keys, in order."""
    observed: dict[LayerCall, Projected] = {}

    def attend(
        place: LayerCall,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,  # noqa: ARG001 - nothing is attended to
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        **_: Any,
    ) -> Tensor:
        settings = {"dropout_p": dropout_p, "is_causal": is_causal, "scale": scale}
        observed[place] = Projected(query.clone(), key.clone(), settings)
        return query.new_zeros(*query.shape[:-1], value.shape[-1])

    run_model(model, call, attend)
    return observed


class _HiddenKey:
    """Hook in a layer that attends to all keys but one."""

    def __init__(self, position: int) -> None:
        self.position, self.is_reached = position, False

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """Compute attention; arguments as in `class_swap.AttentionHook`."""
        self.is_reached = True
        bias = query.new_zeros(1, 1, 1, key.shape[2])
        bias[..., self.position] = -torch.inf
        if mask is not None:
            bias = mask & (bias == 0) if mask.dtype == torch.bool else mask + bias
        is_grouped = query.shape[1] != key.shape[1]
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, enable_gqa=is_grouped)

    def attend_rows(
        self, rows: slice, query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None
    ) -> Tensor:
        """Compute attention of a range of the batch."""
        del rows
        return self.attend(query, key, value, mask=mask)


@torch.no_grad()
def run_without_keys(model: Any, call: ModelCall, hidden: Mapping[str, int]) -> tuple[Any, list[str]]:
    """Run a call of a model without one key of each of the layers `hidden`, with hooks as a session's.

    Returns:
        The model's output, and the layers whose hooks were not reached.

    Raises:
        AttachError: the class of a layer's processor cannot be swapped, or does not call torch's attention.
    """
    hooks = {name: _HiddenKey(position) for name, position in hidden.items()}
    with ExitStack() as stack:
        for name, hook in hooks.items():
            layer = model.get_submodule(name)
            if not is_swapped(layer.processor):  # several layers may share it
                swap_class(layer.processor)
                stack.callback(restore_class, layer.processor)
            set_hook(layer, hook)
            stack.callback(remove_hook, layer)
        output = model._call_impl(*call.args, **call.kwargs)  # past `torch.compile`
    return output, [name for name, hook in hooks.items() if not hook.is_reached]
