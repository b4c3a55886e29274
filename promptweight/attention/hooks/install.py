"""Installation of hooks in a model's attention layers, and their removal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, get_args

import torch

from promptweight.attention.hooks.class_swap import (
    SWAPPABLE_PROCESSORS,
    check_backend,
    is_swappable,
    is_swapped,
    read_backend,
    remove_hook,
    restore_class,
    set_hook,
    swap_class,
)
from promptweight.attention.hooks.layer_hook import CallState, LayerHook
from promptweight.attention.hooks.processors import (
    OTHER_KERNELS,
    PROCESSORS,
    make_processor,
    make_self_processor,
)
from promptweight.attention.layers import Layer
from promptweight.attention.model_calls import AfterCall, BeforeCall, add_call_hooks, find_execution_device
from promptweight.attention.recording.store import Store
from promptweight.attention.session_config import SessionConfig
from promptweight.errors import AttachError
from promptweight.maps import SlotKind
from promptweight.messages import Message, message


class Installation:
    """Hooks in a pipeline's model, from `install` until `uninstall`; may be installed again.

    Attributes:
        hooks: the hook of every layer that has one, by the layer's name.
        calls: the state of the current call for layers that are alike, by their stride and by True where
            weights act in them.
        device: the device of the model's computation, where offloading moves its parts there; else None.

    Args:
        pipe: the pipeline.
        config: the session's settings.
        warn: receives warnings.
    """

    def __init__(self, pipe: Any, config: SessionConfig, warn: Callable[[Message], None]) -> None:
        self._pipe, self._config, self._warn = pipe, config, warn
        self.hooks: dict[str, LayerHook] = {}
        self.calls: dict[tuple[int, bool], CallState] = {}
        self.device: torch.device | None = None
        self._modules: dict[str, Any] = {}
        self._originals: dict[str, Any] = {}
        self._remove_call_hooks: Callable[[], None] | None = None

    def install(self, before: BeforeCall, after: AfterCall) -> None:
        """Install a hook in every layer, and call `before` and `after` around every call of the model.

        Raises:
            AttachError: a session is attached already, or a layer's processor is not supported. The model is
                then as it was, as after any other exception.
        """
        layers = self._config.layout.layers
        self._modules = {name: attn for name, (_, attn) in layers.items()} | self._find_self_attentions()
        originals = {name: attn.processor for name, attn in self._modules.items()}
        if any(isinstance(each, LayerHook) or is_swapped(each) for each in originals.values()):
            raise AttachError(f"{type(self._pipe).__name__} is attached already; leave its session first")
        self.hooks, self.calls = {}, {}
        for name, (layer, _) in layers.items():
            call = self.calls.setdefault((layer.stride, name in self._config.weighted_layers), CallState())
            hook: LayerHook | None = make_processor(originals[name], call)
            if hook is None and is_swappable(originals[name]):
                hook = LayerHook(call, layer.order)
            self.hooks[name] = hook = require_hook(hook, name, originals[name])
            own = layer.self_attention
            if own in originals and layer.order == "cross":
                self_hook = require_hook(make_self_processor(originals[own], call), own, originals[own])
                self.hooks[own] = hook.self_attention = self_hook
        if self._config.store is not None:
            self.assign_slots(self._config.store)  # those of an earlier block, when it is entered again
        self._warn_about_kernels({type(original).__name__ for original in originals.values()})
        self._originals = originals
        self.device = find_execution_device(self._config.layout.model)
        try:
            for name, original in originals.items():
                install(self._modules[name], original, self.hooks[name])
            self._remove_call_hooks = add_call_hooks(self._config.layout.entry_point, before, after)
        except BaseException:
            self.uninstall()
            raise

    def uninstall(self) -> None:
        """Restore the model as it was before `install`."""
        if self._remove_call_hooks is not None:
            self._remove_call_hooks()
        for name, original in self._originals.items():
            uninstall(self._modules[name], original)
        self._originals, self._remove_call_hooks = {}, None

    def check_backend(self) -> None:
        """Raise `AttachError` if layers would now attend past their hooks."""
        check_backend(self._originals.values())

    def assign_slots(self, store: Store) -> None:
        """Assign the slots of `store` to the hooks that add to them."""
        words, refined, patches, rows = (store.slots.get(kind, {}) for kind in get_args(SlotKind))
        if self._config.share_controller is not None:
            for name in self._config.weighted_layers & words.keys():
                words[name].callback = self._config.share_controller.add_probabilities
        for name in self._config.layout.layers:
            hook = self.hooks[name]
            hook.word_slot, hook.refined_slot = words.get(name), refined.get(name)
            hook.row_slot = rows.get(name)
            if hook.self_attention is None:
                hook.patch_slot = patches.get(name)
            else:
                hook.self_attention.patch_slot = patches.get(name)
                hook.self_attention.is_capturing = hook.refined_slot is not None

    def _find_self_attentions(self) -> dict[str, Any]:
        """Return a UNet's self-attention layers that need a hook, by name."""
        layout, store, edits = self._config.layout, self._config.store, self._config.edits
        following: list[Layer] = []
        if edits is not None and edits.edit.self_replace_steps > 0:
            following += [layer for layer, _ in layout.layers.values()]
        elif store is not None and store.record.records_self_attention:
            following += store.layers
        names = {layer.self_attention for layer in following if layer.order == "cross"} - {""}
        return {name: layout.model.get_submodule(name) for name in names}

    def _warn_about_kernels(self, kinds: set[str]) -> None:
        if others := sorted(kinds.intersection(OTHER_KERNELS)):
            self._warn(message("backend-replaced", kernels=", ".join(others)))


AnyHook = TypeVar("AnyHook", bound=LayerHook)


def install(attn: Any, original: Any, hook: LayerHook) -> None:
    """Install a hook in a layer: in place of its processor, or through a swap of the processor's class."""
    if not is_swappable(original):
        _set_processor(attn, hook)
        return
    set_hook(attn, hook)
    if not is_swapped(original):  # several layers may share it
        swap_class(original)


def uninstall(attn: Any, original: Any) -> None:
    """Restore a layer with its own processor."""
    if is_swapped(original):
        restore_class(original)
    remove_hook(attn)
    if attn.processor is not original:
        _set_processor(attn, original)


def require_hook(hook: AnyHook | None, name: str, processor: Any) -> AnyHook:
    """Return the hook of a layer.

    Raises:
        AttachError: `hook` is None, since the layer's processor is not supported.
    """
    if hook is None:
        backend = read_backend(processor)
        kind = type(processor).__name__ + (f" on diffusers' attention backend {backend!r}" if backend else "")
        known = ", ".join((*PROCESSORS, *SWAPPABLE_PROCESSORS))
        raise AttachError(
            f"the processor of layer {name} must be one of diffusers' own {known}, the last "
            f"{len(SWAPPABLE_PROCESSORS)} on the backend 'native'; got {kind}"
        )
    return hook


def _set_processor(attn: Any, processor: Any) -> None:
    # not `Attention.set_processor`, which also moves submodules and logs
    attn.processor = processor
