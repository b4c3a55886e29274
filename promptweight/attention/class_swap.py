"""Class swap for attention processors that must stay in the model, such as those of IP-Adapter and FLUX.

A processor of IP-Adapter has weights, is found by its class, and is changed by the pipeline during a run, so
another object cannot replace it. The object stays; during a session its class is a subclass whose `__call__`
passes `scaled_dot_product_attention` to the layer's hook. In the processors of FLUX and IP-Adapter the first
call is the attention to the text; later ones are the attention to the images of an IP-Adapter. Those of
perturbed-attention guidance divide the batch: the first call has the rows that are not perturbed, and a
second one, in joint attention, the others. diffusers intercepts attention in the same way to skip layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, wraps
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from torch import Tensor
from torch.overrides import TorchFunctionMode

from promptweight.errors import AttachError
from promptweight.messages import message

SWAPPABLE_PROCESSORS: dict[str, int] = {
    "IPAdapterAttnProcessor2_0": 1,
    "SD3IPAdapterJointAttnProcessor2_0": 1,
    "AuraFlowAttnProcessor2_0": 1,
    "FusedAuraFlowAttnProcessor2_0": 1,
    "CogVideoXAttnProcessor2_0": 1,
    "FusedCogVideoXAttnProcessor2_0": 1,
    "CogView4AttnProcessor": 1,
    "OvisImageAttnProcessor": 1,
    "BriaAttnProcessor": 1,
    "FluxAttnProcessor": 1,
    "FluxIPAdapterAttnProcessor": 1,
    "QwenDoubleStreamAttnProcessor2_0": 1,
    "ZSingleStreamAttnProcessor": 1,
    "Flux2AttnProcessor": 1,
    "Flux2ParallelSelfAttnProcessor": 1,
    "Lumina2AttnProcessor2_0": 1,
    "Krea2AttnProcessor": 1,
    "ErnieImageSingleStreamAttnProcessor": 1,
    "SanaAttnProcessor2_0": 1,
    "PRXAttnProcessor2_0": 1,
    "NucleusMoEAttnProcessor2_0": 1,
    "WanAttnProcessor": 1,
    "SkyReelsV2AttnProcessor": 1,
    "LTXVideoAttnProcessor": 1,
    "PAGJointAttnProcessor2_0": 2,
    "PAGCFGJointAttnProcessor2_0": 2,
}
"""Processors of layers with text keys, and the number of their first calls that attend to the text."""

IMAGE_PROJECTIONS: dict[str, str] = {"WanAttnProcessor": "add_k_proj"}
"""Processors that, in layers with this module, first attend to an image alone, and then to the text."""

SWAPPABLE_SELF_PROCESSORS: dict[str, int] = {
    "PAGIdentitySelfAttnProcessor2_0": 1,
    "PAGCFGIdentitySelfAttnProcessor2_0": 1,
}
"""Processors of a UNet's self-attention, and the number of their first calls that attend."""

SWAPPABLE = {**SWAPPABLE_PROCESSORS, **SWAPPABLE_SELF_PROCESSORS}

HOOK_ATTRIBUTE = "_promptweight_hook"


@runtime_checkable
class AttentionHook(Protocol):
    """Attention of a layer in place of torch's."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """Compute attention; queries, keys and values are (batch, heads, positions, dim)."""

    def attend_rows(
        self, rows: slice, query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None
    ) -> Tensor:
        """Compute attention of a range of the batch."""


def is_swappable(processor: Any, known: Mapping[str, int] = SWAPPABLE_PROCESSORS) -> bool:
    """Return True for diffusers' own processors of the classes `known`, on torch's kernels."""
    kind = type(processor)
    is_known = kind.__name__ in known and kind.__module__.startswith("diffusers.")
    return is_known and is_own_backend(processor)


def is_own_backend(processor: Any) -> bool:
    """Return True for processors on torch's kernels."""
    return read_backend(processor) in ("", "native")


def is_temporary(processor: Any) -> bool:
    """Return True for processors that a pipeline sets for a run, and leaves in the model if it fails."""
    return type(processor).__name__.startswith("PAG")


def read_backend(processor: Any) -> str:
    """Return the name of the diffusers attention backend that is set on a processor; empty for none."""
    backend = getattr(processor, "_attention_backend", None)
    return "" if backend is None else str(getattr(backend, "value", backend))


def check_backend(processors: Iterable[Any]) -> None:
    """Raise `AttachError` if a processor with a swapped class does not run on torch's own kernels.

    Both its own backend and diffusers' global one, which those without their own use, may change at any time.
    """
    backends = {
        read_backend(each) for each in processors if is_swapped(each) and hasattr(each, "_attention_backend")
    }
    if "" in backends:
        active = _AttentionBackendRegistry.get_active_backend()[0]
        backends = {str(getattr(active, "value", active)), *backends}
    if others := sorted(backends - {"", "native"}):
        raise AttachError(message("attention-backend", name=others[0]))


def is_swapped(processor: Any) -> bool:
    """Return True if a session has swapped the processor's class."""
    return hasattr(type(processor), "_class_outside_sessions")


def find_own_class(processor: Any) -> type:
    """Return the class that a processor has outside of sessions."""
    return getattr(type(processor), "_class_outside_sessions", type(processor))


def swap_class(processor: Any) -> None:
    """Swap a processor's class for one that passes attention to the text to its layer's hook.

    Args:
        processor: a swappable processor; layers may share it. In layers without a hook it acts as before.

    Raises:
        AttachError: the processor is a function, or its class does not permit it.
    """
    original: Any = type(processor)
    try:
        processor.__class__ = make_hooked_class(original)
    except TypeError as error:
        raise AttachError(message("processor-class", processor=original.__name__)) from error


def restore_class(processor: Any) -> None:
    """Restore the class of a processor with a swapped class."""
    processor.__class__ = type(processor)._class_outside_sessions


def set_hook(attn: Any, hook: AttentionHook) -> None:
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
    calls = SWAPPABLE.get(original.__name__, 1)
    image_projection = IMAGE_PROJECTIONS.get(original.__name__, "")

    class Hooked(original):
        _class_outside_sessions = original

        @wraps(original.__call__)
        def __call__(self, attn: Any, *args: Any, **kwargs: Any) -> Any:
            hook = getattr(attn, HOOK_ATTRIBUTE, None)
            if hook is None:
                return original.__call__(self, attn, *args, **kwargs)
            has_image = getattr(attn, image_projection, None) is not None
            mode = HookedAttentionMode(hook, calls, skipped=int(has_image))
            with mode:
                output = original.__call__(self, attn, *args, **kwargs)
            if mode.remaining:
                raise AttachError(message("attention-not-reached", processor=original.__name__))
            return output

    Hooked.__name__, Hooked.__qualname__, Hooked.__module__ = (
        original.__name__,
        original.__qualname__,
        original.__module__,
    )
    return Hooked


class HookedAttentionMode(TorchFunctionMode):
    """Mode that passes the first calls of `scaled_dot_product_attention` inside it to a hook.

    Attributes:
        remaining: the number of calls that are still passed.
        skipped: the number of calls before them that are not.

    Args:
        hook: the hook.
        calls: the number of calls; each of several has the batch rows after those of the one before.
        skipped: the number of calls before the first that is passed.
    """

    def __init__(self, hook: AttentionHook, calls: int, skipped: int = 0) -> None:
        super().__init__()
        self.hook, self.remaining, self.skipped = hook, calls, skipped
        self.first_row, self.is_whole = 0, calls == 1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function that torch calls inside the mode."""
        kwargs = kwargs or {}
        if func is Tensor.unflatten:  # a Python function with super(), which cannot be traced from here
            return torch.unflatten(*args, **kwargs)
        if func is not F.scaled_dot_product_attention or not self.remaining:
            return func(*args, **kwargs)
        if self.skipped:
            self.skipped -= 1
            return func(*args, **kwargs)
        self.remaining -= 1
        return self._attend(*args, **kwargs)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,  # noqa: ARG002 - the kernels see it in the heads
    ) -> Tensor:
        """Run the hook's attention with torch's argument names."""
        check_settings(query, dropout_p, is_causal=is_causal, scale=scale)
        rows = slice(self.first_row, self.first_row + query.shape[0])
        self.first_row = rows.stop
        if self.is_whole:
            return self.hook.attend(query, key, value, mask=attn_mask)
        return self.hook.attend_rows(rows, query, key, value, mask=attn_mask)


def check_settings(
    query: Tensor, dropout_p: float = 0.0, *, is_causal: bool = False, scale: float | None = None
) -> None:
    """Raise `AttachError` for settings of torch's attention that a session does not apply."""
    if dropout_p or is_causal or scale not in (None, query.shape[-1] ** -0.5):
        raise AttachError(message("attention-settings", dropout=dropout_p, causal=is_causal, scale=scale))
