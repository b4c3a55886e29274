"""Class swap for attention processors that must stay in the model, such as those of IP-Adapter and FLUX.

A processor of IP-Adapter has weights, is found by its class, and is changed by the pipeline during a run, so
another object cannot replace it. The object stays; during a session its class is a subclass whose `__call__`
passes the first `scaled_dot_product_attention` to the layer's hook. In every processor named here that first
call is the attention to the text; later ones are the attention to the images of an IP-Adapter. diffusers
intercepts attention in the same way to skip layers.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, wraps
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from torch import Tensor
from torch.overrides import TorchFunctionMode

from promptweight.attention.hooks.layer_hook import LayerHook
from promptweight.errors import AttachError

SWAPPABLE_PROCESSORS = (
    "IPAdapterAttnProcessor2_0",
    "SD3IPAdapterJointAttnProcessor2_0",
    "FluxAttnProcessor",
    "FluxIPAdapterAttnProcessor",
)
HOOK_ATTRIBUTE = "_promptweight_hook"


def is_swappable(processor: Any) -> bool:
    """Return True for diffusers' own processors in `SWAPPABLE_PROCESSORS` on torch's kernels."""
    kind = type(processor)
    is_known = kind.__name__ in SWAPPABLE_PROCESSORS and kind.__module__.startswith("diffusers.")
    return is_known and read_backend(processor) in ("", "native")


def read_backend(processor: Any) -> str:
    """Return the name of the diffusers attention backend that is set on a processor; empty for none."""
    backend = getattr(processor, "_attention_backend", None)
    return "" if backend is None else str(getattr(backend, "value", backend))


def check_backend(processors: Iterable[Any]) -> None:
    """Raise `AttachError` if a processor with a swapped class does not run on torch's own kernels.

    Processors without a backend of their own use diffusers' global one, which may change at any time.
    """
    if not any(is_swapped(each) and getattr(each, "_attention_backend", each) is None for each in processors):
        return
    active = _AttentionBackendRegistry.get_active_backend()[0]
    if (name := str(getattr(active, "value", active))) != "native":
        raise AttachError(
            f"diffusers' attention backend must be 'native' during a session; got {name!r}, on which words "
            "can be neither recorded nor weighted"
        )


def is_swapped(processor: Any) -> bool:
    """Return True if a session has swapped the processor's class."""
    return hasattr(type(processor), "_class_outside_sessions")


def swap_class(processor: Any) -> None:
    """Swap a processor's class for one that passes attention to the text to its layer's hook.

    Args:
        processor: a swappable processor; layers may share it. In layers without a hook it acts as before.
    """
    original: Any = type(processor)
    processor.__class__ = make_hooked_class(original)


def restore_class(processor: Any) -> None:
    """Restore the class of a processor with a swapped class."""
    processor.__class__ = type(processor)._class_outside_sessions


def set_hook(attn: Any, hook: LayerHook) -> None:
    """Set the hook of a layer whose processor has a swapped class.

    The hook is an attribute of the layer's module: compiled blocks that are alike then share their code,
    which a lookup by module would prevent.
    """
    attn.__dict__[HOOK_ATTRIBUTE] = hook


def remove_hook(attn: Any) -> None:
    """Remove a layer's hook, if any."""
    attn.__dict__.pop(HOOK_ATTRIBUTE, None)


@cache
def make_hooked_class(original: Any) -> Any:
    """Make the subclass of a processor's class; one for all its objects, so that they share compiled code."""

    class Hooked(original):
        _class_outside_sessions = original

        @wraps(original.__call__)
        def __call__(self, attn: Any, *args: Any, **kwargs: Any) -> Any:
            hook = getattr(attn, HOOK_ATTRIBUTE, None)
            if hook is None:
                return original.__call__(self, attn, *args, **kwargs)
            with FirstAttentionMode(hook):
                return original.__call__(self, attn, *args, **kwargs)

    Hooked.__name__, Hooked.__qualname__, Hooked.__module__ = (
        original.__name__,
        original.__qualname__,
        original.__module__,
    )
    return Hooked


class FirstAttentionMode(TorchFunctionMode):
    """Mode that passes the first `scaled_dot_product_attention` inside it to a hook."""

    def __init__(self, hook: LayerHook) -> None:
        super().__init__()
        self.hook: LayerHook | None = hook

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function that torch calls inside the mode."""
        kwargs = kwargs or {}
        if func is Tensor.unflatten:  # a Python function with super(), which cannot be traced from here
            return torch.unflatten(*args, **kwargs)
        if func is not F.scaled_dot_product_attention or self.hook is None:
            return func(*args, **kwargs)
        hook, self.hook = self.hook, None
        return _attend(hook, *args, **kwargs)


def _attend(
    hook: LayerHook,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    **_settings: Any,
) -> Tensor:
    """Run the hook's attention with torch's argument names; diffusers leaves the others at their defaults."""
    return hook.attend(query, key, value, mask=attn_mask)
