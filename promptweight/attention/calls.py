"""Being told of every call of a model right before it begins, however the model was compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch._dynamo.eval_frame import OptimizedModule

Listener = Callable[[Any, tuple[Any, ...], dict[str, Any]], None]
"""Given the model and the positional and named arguments of a call."""


def uncompiled(model: Any) -> Any:
    """The model itself, out of what `torch.compile(model)` wraps it in."""
    return model._orig_mod if isinstance(model, OptimizedModule) else model


def listen(model: nn.Module, listener: Listener) -> Callable[[], None]:
    """Have `listener` called before every call of the model, outside of whatever is compiled of it.

    Hooks of a module belong to the code that is compiled: there a listener would be traced, and break the
    graph or compile anew at every step. A wrapped model is listened to at its wrapper therefore, and one
    that was compiled in place by `model.compile()` at the function that this left in it.

    Args:
        model: the model as the pipeline calls it.
        listener: what to call.

    Returns:
        A function that ends it.
    """
    compiled = model._compiled_call_impl
    if compiled is None or isinstance(model, OptimizedModule):
        return model.register_forward_pre_hook(listener, with_kwargs=True).remove

    def listened(*args: Any, **kwargs: Any) -> Any:
        listener(model, args, kwargs)
        return compiled(*args, **kwargs)

    def end() -> None:
        if model._compiled_call_impl is listened:  # it may have been compiled anew
            model._compiled_call_impl = compiled

    model._compiled_call_impl = listened
    return end


def offloaded_device(model: nn.Module) -> torch.device | None:
    """Where a model computes whose parts accelerate moves there when it is their turn; None for others."""
    for module in model.modules():
        hook = getattr(module, "_hf_hook", None)
        for each in getattr(hook, "hooks", (hook,)):
            device = getattr(each, "execution_device", None)
            if device is not None:
                return torch.device(device)
    return None
