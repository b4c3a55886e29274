"""Recording inside processors that are not ours, by listening to the one attention call they make for text.

A processor such as IP-Adapter's owns weights, is looked for by its class, and is changed by the pipeline
while it runs; an object in its place would break all that. So the object stays, and while a session lasts
its class is one made from its own, whose call hands the first `scaled_dot_product_attention` inside it to
the layer's recorder. In every processor named here that first call reads the text; later ones read the
pictures of an IP-Adapter. diffusers intercepts attention in the same way to skip layers.
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


def is_swappable(processor: Any) -> bool:
    """Whether a processor can be listened to: a known one of diffusers, on torch's own kernels."""
    known = type(processor).__name__ in SWAPPABLE_PROCESSORS and type(processor).__module__.startswith(
        "diffusers."
    )
    return known and read_backend(processor) in ("", "native")


def read_backend(processor: Any) -> str:
    """The name of the attention backend of diffusers that a processor was told to use; empty for none."""
    backend = getattr(processor, "_attention_backend", None)
    return "" if backend is None else str(getattr(backend, "value", backend))


def check_backend(processors: Iterable[Any]) -> None:
    """Raise `AttachError` where adapted processors would attend by other means than torch's own now.

    Those that were told no backend use the one that diffusers has for all, which may change at any time.
    """
    if not any(is_swapped(each) and getattr(each, "_attention_backend", each) is None for each in processors):
        return
    active = _AttentionBackendRegistry.get_active_backend()[0]
    if (name := str(getattr(active, "value", active))) != "native":
        raise AttachError(
            f"diffusers' attention backend is {name!r}, on which words can be neither recorded nor weighted; "
            "let it be 'native' while the session lasts"
        )


def is_swapped(processor: Any) -> bool:
    """Whether a session listens to the processor now."""
    return hasattr(type(processor), "_class_outside_sessions")


def swap_class(processor: Any) -> None:
    """Hand the text attention of a processor to the recorder of the layer that it is called for.

    Args:
        processor: an adaptable processor; layers may share it. In layers without a recorder it goes on as
            before.
    """
    original: Any = type(processor)
    processor.__class__ = make_hooked_class(original)


def restore_class(processor: Any) -> None:
    """Give an adapted processor its own class back."""
    processor.__class__ = type(processor)._class_outside_sessions


def set_hook(attn: Any, recorder: LayerHook) -> None:
    """Have a layer's adapted processor hand its attention to this recorder.

    It is kept in the layer's module itself: compiled blocks that are alike then share their code, which they
    would not if it were looked up by the module.
    """
    attn.__dict__[HOOK_ATTRIBUTE] = recorder


def remove_hook(attn: Any) -> None:
    """Leave the layer's module as it was."""
    attn.__dict__.pop(HOOK_ATTRIBUTE, None)


HOOK_ATTRIBUTE = "_recorder_of_session"


@cache
def make_hooked_class(original: Any) -> Any:
    """The class that stands in for a processor's own; one for all its objects, so that they share code."""

    class Adapted(original):
        _class_outside_sessions = original

        @wraps(original.__call__)
        def __call__(self, attn: Any, *args: Any, **kwargs: Any) -> Any:
            recorder = getattr(attn, HOOK_ATTRIBUTE, None)
            if recorder is None:
                return original.__call__(self, attn, *args, **kwargs)
            with FirstAttention(recorder):
                return original.__call__(self, attn, *args, **kwargs)

    Adapted.__name__, Adapted.__qualname__, Adapted.__module__ = (
        original.__name__,
        original.__qualname__,
        original.__module__,
    )
    return Adapted


class FirstAttention(TorchFunctionMode):
    """While it lasts, the first `scaled_dot_product_attention` is the recorder's."""

    def __init__(self, recorder: LayerHook) -> None:
        super().__init__()
        self.recorder: LayerHook | None = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by torch for every function inside."""
        kwargs = kwargs or {}
        if func is Tensor.unflatten:  # it is Python that calls super(), which cannot be traced from here
            return torch.unflatten(*args, **kwargs)
        if func is not F.scaled_dot_product_attention or self.recorder is None:
            return func(*args, **kwargs)
        recorder, self.recorder = self.recorder, None
        return attend_as(recorder, *args, **kwargs)


def attend_as(
    recorder: LayerHook,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    **_settings: Any,
) -> Tensor:
    """The recorder's attention under the names of torch's arguments; diffusers leaves the others alone."""
    return recorder.attend(query, key, value, mask=attn_mask)
