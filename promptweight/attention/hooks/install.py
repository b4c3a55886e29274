"""Installation of hooks in a model's attention layers, and their removal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, get_args

import torch

from promptweight.attention.class_swap import (
    SWAPPABLE,
    SWAPPABLE_PROCESSORS,
    SWAPPABLE_SELF_PROCESSORS,
    check_backend,
    is_own_backend,
    is_swappable,
    is_swapped,
    is_temporary,
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
    SelfProcessor,
    make_processor,
    make_self_processor,
)
from promptweight.attention.layers import Layer, matches_layer
from promptweight.attention.model_calls import AfterCall, BeforeCall, add_call_hooks, find_execution_device
from promptweight.attention.recording.store import Store
from promptweight.attention.session_config import SessionConfig
from promptweight.errors import AttachError
from promptweight.maps import SlotKind
from promptweight.messages import Message, message


class Installation:
    """Hooks in a pipeline's model, from `install` until `uninstall`; may be installed again.

    Pipelines and users may set other processors in between: `update` then makes hooks for these. `uninstall`
    leaves every layer the processor that it would have without the session.

    Attributes:
        hooks: the hook of every layer that has one, by the layer's name.
        calls: the state of the current call for layers that are alike, by their stride, 0 for those of the
            text alone, and by the selections of layers (`KeyRules.selections`) that include them.
        device: the device of the model's computation, where offloading moves its parts there; else None.
        prepare_hook: called with the name of a layer and its hook whenever one is made; None for nothing.

    Args:
        pipe: the pipeline.
        config: the session's settings.
        warn: receives warnings.
    """

    def __init__(self, pipe: Any, config: SessionConfig, warn: Callable[[Message], None]) -> None:
        self._pipe, self._config, self._warn = pipe, config, warn
        self.hooks: dict[str, LayerHook] = {}
        self.calls: dict[tuple[int, frozenset[tuple[str, ...]]], CallState] = {}
        self.device: torch.device | None = None
        self._selections: frozenset[tuple[str, ...]] = frozenset()
        self._modules: dict[str, Any] = {}
        self._originals: dict[str, Any] = {}
        self._before: dict[str, Any] = {}
        """The processors before `install`."""
        self._expected: dict[str, Any] = {}
        """The processor of each layer as it was left by `_install_hooks`."""
        self.prepare_hook: Callable[[str, LayerHook], None] | None = None
        self._remove_call_hooks: Callable[[], None] | None = None

    def install(self, before: BeforeCall, after: AfterCall) -> None:
        """Install a hook in every layer, and call `before` and `after` around every call of the model.

        Raises:
            AttachError: a session is attached already, or a layer's processor is not supported. The model is
                then as it was, as after any other exception.
        """
        layers = self._config.layout.layers | self._config.layout.text_layers
        self._modules = {name: attn for name, (_, attn) in layers.items()} | self._find_self_attentions()
        originals = {name: attn.processor for name, attn in self._modules.items()}
        if any(isinstance(each, LayerHook) or is_swapped(each) for each in originals.values()):
            raise AttachError(message("session-open", pipeline=type(self._pipe).__name__))
        self._before = originals
        self.device = find_execution_device(self._config.layout.model)
        try:
            self._install_hooks(originals)
            self._remove_call_hooks = add_call_hooks(self._config.layout.entry_point, before, after)
        except BaseException:
            self.uninstall()
            raise

    def uninstall(self) -> None:
        """Restore the model as it was before `install`, but for processors that were set since."""
        if self._remove_call_hooks is not None:
            self._remove_call_hooks()
        for name, original in self._remove_hooks().items():
            before = self._before[name]
            if is_temporary(original) and not is_temporary(before):
                original = before
            uninstall(self._modules[name], original)
        model: Any = self._config.layout.model
        if getattr(model, "original_attn_processors", None):  # those before fused projections
            kept = model.original_attn_processors
            model.original_attn_processors = {name: find_original(each) for name, each in kept.items()}
        self._before, self._remove_call_hooks = {}, None

    def update(self) -> None:
        """Make hooks for processors that were set since; called before every call of the model.

        Raises:
            AttachError: layers would now attend past their hooks.
        """
        if not self._expected or any(
            self._modules[name].processor is not each for name, each in self._expected.items()
        ):
            self._install_hooks(self._remove_hooks())
        check_backend(self._originals.values())

    def _install_hooks(self, originals: dict[str, Any]) -> None:
        """Make a hook for each layer in place of its processor, and install it."""
        self.hooks = {}
        for name, (layer, _) in self._config.layout.layers.items():
            self.hooks[name] = hook = make_hook(layer, originals[name])
            own = layer.self_attention
            if own in originals and layer.order == "cross":
                self.hooks[own] = hook.self_attention = make_self_hook(own, originals[own])
        for name, (layer, _) in self._config.layout.text_layers.items():
            self.hooks[name] = make_hook(layer, originals[name])
        self._assign_calls()
        if self._config.store is not None:
            self.assign_slots(self._config.store)  # those of an earlier block, when it is entered again
        self._warn_about_kernels({type(original).__name__ for original in originals.values()})
        self._originals = originals
        for name, original in originals.items():
            if self.prepare_hook is not None:
                self.prepare_hook(name, self.hooks[name])
            install(self._modules[name], original, self.hooks[name])
        self._expected = {name: attn.processor for name, attn in self._modules.items()}

    def _remove_hooks(self) -> dict[str, Any]:
        """Remove all hooks; return the processors that the layers then have."""
        for name, original in self._originals.items():
            if is_swapped(original):
                restore_class(original)
            # a processor that a copy of the session's replaces is that of the layer
            uninstall(self._modules[name], find_original(self._modules[name].processor) or original)
        self._originals, self._expected = {}, {}
        return {name: attn.processor for name, attn in self._modules.items()}

    def update_calls(self) -> None:
        """Group the layers anew if a weight was set that acts in other layers than those before."""
        if self._config.rules.selections != self._selections:
            self._assign_calls()

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

    def _assign_calls(self) -> None:
        """Give layers with the same grid, in which the same rules act, the same state of the call."""
        self._selections, self.calls = self._config.rules.selections, {}
        for name, (layer, _) in self._config.layout.layers.items():
            own = frozenset(parts for parts in self._selections if matches_layer(name, parts))
            call = self.calls.setdefault((layer.stride, own), CallState())
            self.hooks[name].call = call
            if layer.self_attention in self.hooks and layer.order == "cross":
                self.hooks[layer.self_attention].call = call
        for name in self._config.layout.text_layers:
            own = frozenset(parts for parts in self._selections if matches_layer(name, parts))
            self.hooks[name].call = self.calls.setdefault((0, own), CallState())

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


def make_hook(layer: Layer, processor: Any) -> LayerHook:
    """Make the hook of a layer with text keys.

    Raises:
        AttachError: the layer's processor is not supported.
    """
    hook: LayerHook | None = make_processor(processor) if layer.processor is None else None
    is_open = is_swappable(processor) if layer.processor is None else is_own_backend(processor)
    if layer.processor not in (None, type(processor)):
        is_open = False
    if hook is None and is_open:
        hook = LayerHook(order=layer.order, multiple=layer.multiple, leading=layer.leading)
    return require_hook(hook, layer.name, processor)


def make_self_hook(name: str, processor: Any) -> SelfProcessor:
    """Make the hook of a UNet's self-attention layer; errors as in `make_hook`."""
    hook = make_self_processor(processor)
    if hook is None and is_swappable(processor, SWAPPABLE_SELF_PROCESSORS):
        hook = SelfProcessor()
    return require_hook(hook, name, processor)


def find_original(processor: Any) -> Any:
    """Return the processor in whose place a session's processor is; others as they are."""
    while isinstance(processor, LayerHook):
        processor = processor.replaced
    return processor


AnyHook = TypeVar("AnyHook", bound=LayerHook)


def install(attn: Any, original: Any, hook: LayerHook) -> None:
    """Install a hook in a layer: in place of its processor, or through a swap of the processor's class."""
    if type(hook) is not LayerHook and not is_swappable(original, SWAPPABLE):
        hook.replaced = original
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
        kind = type(processor).__name__
        if backend:
            kind = message("processor-on-backend", processor=kind, backend=backend)
        known = ", ".join((*PROCESSORS, *SWAPPABLE_PROCESSORS))
        raise AttachError(
            message(
                "processor-unsupported",
                layer=name,
                known=known,
                number=len(SWAPPABLE_PROCESSORS),
                processor=kind,
            )
        )
    return hook


def _set_processor(attn: Any, processor: Any) -> None:
    # not `Attention.set_processor`, which also moves submodules and logs
    attn.processor = processor
