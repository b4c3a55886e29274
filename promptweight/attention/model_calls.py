"""Being told of every call of a model right before it begins and after it ends, however it was compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch._dynamo.eval_frame import OptimizedModule

CallArguments = tuple[tuple[Any, ...], dict[str, Any]]
BeforeCall = Callable[[Any, tuple[Any, ...], dict[str, Any]], CallArguments | None]
"""Given the model and the positional and named arguments of a call; may return others in their place."""
AfterCall = Callable[[Any, tuple[Any, ...], Any], Any]
"""Given the model, the positional arguments of a call and its output; may return another in its place."""


def unwrap_compiled(model: Any) -> Any:
    """The model itself, out of what `torch.compile(model)` wraps it in."""
    return model._orig_mod if isinstance(model, OptimizedModule) else model


def add_call_hooks(model: nn.Module, listener: BeforeCall, follower: AfterCall) -> Callable[[], None]:
    """Have `listener` called before every call of the model, outside of whatever is compiled of it.

    `follower` is called after it, likewise.

    Hooks of a module belong to the code that is compiled: there a listener would be traced, and break the
    graph or compile anew at every step. A wrapped model is listened to at its wrapper therefore, and one
    that was compiled in place by `model.compile()` at the function that this left in it.

    Args:
        model: the model as the pipeline calls it.
        listener: what to call before.
        follower: what to call after.

    Returns:
        A function that ends it.
    """
    compiled = model._compiled_call_impl
    if compiled is None or isinstance(model, OptimizedModule):
        before = model.register_forward_pre_hook(listener, with_kwargs=True)
        after = model.register_forward_hook(follower)

        def remove() -> None:
            before.remove()
            after.remove()

        return remove

    def listened(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = listener(model, args, kwargs) or (args, kwargs)
        output = compiled(*args, **kwargs)
        other = follower(model, args, output)
        return output if other is None else other

    def end() -> None:
        if model._compiled_call_impl is listened:  # it may have been compiled anew
            model._compiled_call_impl = compiled

    model._compiled_call_impl = listened
    return end


def find_execution_device(model: nn.Module) -> torch.device | None:
    """Where a model computes whose parts accelerate moves there when it is their turn; None for others."""
    for module in model.modules():
        hook = getattr(module, "_hf_hook", None)
        for each in getattr(hook, "hooks", (hook,)):
            device = getattr(each, "execution_device", None)
            if device is not None:
                return torch.device(device)
    return None
