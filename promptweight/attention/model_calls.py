"""Hooks around every call of a model, outside of the code that `torch.compile` compiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch._dynamo.eval_frame import OptimizedModule

ModelArguments = tuple[tuple[Any, ...], dict[str, Any]]
BeforeCall = Callable[[Any, tuple[Any, ...], dict[str, Any]], ModelArguments | None]
"""Function of the model and a call's positional and named arguments; may return others for the call."""
AfterCall = Callable[[Any, tuple[Any, ...], Any], Any]
"""Function of the model, a call's positional arguments and output; may return another output."""


def unwrap_compiled(model: Any) -> Any:
    """Return the model in the wrapper of `torch.compile(model)`, or the model itself."""
    return model._orig_mod if isinstance(model, OptimizedModule) else model


def add_call_hooks(model: nn.Module, before: BeforeCall, after: AfterCall) -> Callable[[], None]:
    """Call functions before and after every call of the model, outside of the compiled code.

    A module's own hooks belong to the code that is compiled: there they would be traced, and break the graph
    or cause a compilation at every step. A wrapped model gets the hooks at its wrapper therefore, and a model
    compiled in place by `model.compile()` at the function that this sets in it.

    Args:
        model: the model as the pipeline calls it.
        before: the function to call before.
        after: the function to call after.

    Returns:
        A function that removes the hooks.
    """
    compiled = model._compiled_call_impl
    if compiled is None or isinstance(model, OptimizedModule):
        before_handle = model.register_forward_pre_hook(before, with_kwargs=True)
        after_handle = model.register_forward_hook(after)

        def remove_handles() -> None:
            before_handle.remove()
            after_handle.remove()

        return remove_handles

    def call_with_hooks(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = before(model, args, kwargs) or (args, kwargs)
        output = compiled(*args, **kwargs)
        replacement = after(model, args, output)
        return output if replacement is None else replacement

    def restore_call() -> None:
        if model._compiled_call_impl is call_with_hooks:  # it may have been compiled again
            model._compiled_call_impl = compiled

    model._compiled_call_impl = call_with_hooks
    return restore_call


def find_execution_device(model: nn.Module) -> torch.device | None:
    """Return the device to which accelerate moves a model's parts before they compute; None without hooks."""
    for module in model.modules():
        hook = getattr(module, "_hf_hook", None)
        for each in getattr(hook, "hooks", (hook,)):
            device = getattr(each, "execution_device", None)
            if device is not None:
                return torch.device(device)
    return None
