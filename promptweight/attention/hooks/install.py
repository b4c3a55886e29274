"""Recorders in the place of a model's own processors, and the processors put back."""

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
from promptweight.maps import Kind
from promptweight.messages import Message, message


class Installation:
    """The recorders in a pipeline's model, from `install` until `uninstall`; may be installed again.

    Attributes:
        recorders: the recorder of every layer that is listened to, by the layer's name.
        calls: what the running call asks of layers that are alike, by their stride and whether weights act.
        device: where the model computes when its parts are moved there in turn; None when it lies still.

    Args:
        pipe: the pipeline.
        prepared: what the session asks of its model.
        warn: told, in a sentence, what a person should know.
    """

    def __init__(self, pipe: Any, prepared: SessionConfig, warn: Callable[[Message], None]) -> None:
        self._pipe, self._prepared, self._warn = pipe, prepared, warn
        self.recorders: dict[str, LayerHook] = {}
        self.calls: dict[tuple[int, bool], CallState] = {}
        self.device: torch.device | None = None
        self._modules: dict[str, Any] = {}
        self._originals: dict[str, Any] = {}
        self._stop_listening: Callable[[], None] | None = None

    def install(self, before: BeforeCall, after: AfterCall) -> None:
        """Have every layer recorded and weighted, and the model's calls told to `before` and `after`.

        Raises:
            AttachError: a session is in the model already, or a layer's processor cannot be read. The model
                is as it was then, as it is after any other exception.
        """
        layers = self._prepared.layout.layers
        self._modules = {name: attn for name, (_, attn) in layers.items()} | self._self_attentions()
        originals = {name: attn.processor for name, attn in self._modules.items()}
        if any(isinstance(each, LayerHook) or is_swapped(each) for each in originals.values()):
            raise AttachError(f"{type(self._pipe).__name__} is attached already; leave its session first")
        self.recorders, self.calls = {}, {}
        for name, (layer, _) in layers.items():
            call = self.calls.setdefault((layer.stride, name in self._prepared.acts_in), CallState())
            recorder: LayerHook | None = make_processor(originals[name], call)
            if recorder is None and is_swappable(originals[name]):
                recorder = LayerHook(call, layer.order)
            self.recorders[name] = recorder = require_hook(recorder, name, originals[name])
            if layer.self_attention in originals and layer.order == "cross":
                own = layer.self_attention
                recorder.before = require_hook(make_self_processor(originals[own], call), own, originals[own])
                self.recorders[own] = recorder.before
        if self._prepared.store is not None:
            self.hand_out_slots(self._prepared.store)  # those of an earlier block, when it is entered again
        self._warn_of_other_kernels({type(original).__name__ for original in originals.values()})
        self._originals = originals
        self.device = find_execution_device(self._prepared.layout.model)
        try:
            self._put_in()
            self._stop_listening = add_call_hooks(self._prepared.layout.called, before, after)
        except BaseException:
            self.put_back()
            raise

    def put_back(self) -> None:
        """Leave the model as it was before `install`."""
        if self._stop_listening is not None:
            self._stop_listening()
        for name, original in self._originals.items():
            uninstall(self._modules[name], original)
        self._originals, self._stop_listening = {}, None

    def check_backend(self) -> None:
        """Raise `AttachError` where layers would now attend past their recorders."""
        check_backend(self._originals.values())

    def hand_out_slots(self, store: Store) -> None:
        """Give every layer's recorder the slots of `store` that its sums are added to."""
        words, refined, patches, rows = (store.slots.get(kind, {}) for kind in get_args(Kind))
        if self._prepared.keeper is not None:
            for name in self._prepared.acts_in & words.keys():
                words[name].listener = self._prepared.keeper.take
        for name in self._prepared.layout.layers:
            recorder = self.recorders[name]
            recorder.slot, recorder.refined = words.get(name), refined.get(name)
            recorder.rows = rows.get(name)
            reader = recorder if recorder.before is None else recorder.before
            reader.patches = patches.get(name)
            if recorder.before is not None:
                recorder.before.keeps = recorder.refined is not None

    def _put_in(self) -> None:
        for name, original in self._originals.items():
            install(self._modules[name], original, self.recorders[name])

    def _self_attentions(self) -> dict[str, Any]:
        """The UNet's layers that are listened to besides those that read the text, by name."""
        layout, store, edits = self._prepared.layout, self._prepared.store, self._prepared.edits
        read: list[Layer] = []
        if edits is not None and edits.edit.self_replace_steps > 0:
            read += [layer for layer, _ in layout.layers.values()]
        elif store is not None and store.record.reads_image:
            read += store.layers
        names = {layer.self_attention for layer in read if layer.order == "cross"} - {""}
        return {name: layout.model.get_submodule(name) for name in names}

    def _warn_of_other_kernels(self, kinds: set[str]) -> None:
        if others := sorted(kinds.intersection(OTHER_KERNELS)):
            self._warn(
                message(
                    "backend-replaced",
                    kernels=", ".join(others),
                )
            )


AnyRecorder = TypeVar("AnyRecorder", bound=LayerHook)


def set_processor(attn: Any, processor: Any) -> None:
    """Put this very object into the layer; `Attention.set_processor` would do more than that."""
    attn.processor = processor


def install(attn: Any, original: Any, recorder: LayerHook) -> None:
    """Have a layer hand its attention to a recorder, in its processor's place or through that itself."""
    if not is_swappable(original):
        set_processor(attn, recorder)
        return
    set_hook(attn, recorder)
    if not is_swapped(original):  # several layers may share it
        swap_class(original)


def uninstall(attn: Any, original: Any) -> None:
    """Leave a layer as it was with its own processor, whatever `install` did."""
    if is_swapped(original):
        restore_class(original)
    remove_hook(attn)
    if attn.processor is not original:
        set_processor(attn, original)


def require_hook(recorder: AnyRecorder | None, name: str, processor: Any) -> AnyRecorder:
    """The recorder made for a layer.

    Raises:
        AttachError: there is none for its processor.
    """
    if recorder is None:
        backend = read_backend(processor)
        kind = type(processor).__name__ + (f" on diffusers' attention backend {backend!r}" if backend else "")
        known = ", ".join((*PROCESSORS, *SWAPPABLE_PROCESSORS))
        raise AttachError(
            f"layer {name} has a {kind}, which cannot be recorded; diffusers' own {known} can, the last "
            f"{len(SWAPPABLE_PROCESSORS)} on the backend 'native'"
        )
    return recorder
