"""Layout of a model of an unknown class, from two trial steps of its pipeline.

The trials have other sizes and other texts, so that what they have in common holds for all: where a layer is
padded to a multiple, where the model has positions of its own, and which argument has which value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch

from promptweight.attention.class_swap import AttentionHook, find_own_class, is_swapped
from promptweight.attention.layers import DenoiserKind, Layer
from promptweight.attention.probing.trial import Findings, Setup, Trial
from promptweight.errors import AttachError
from promptweight.messages import Message, message

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline

SETUPS = (
    Setup("a red cat beside a blue mouse", "blurry", 8, 12),
    Setup("a dog", "a blurry picture of a house and a tree", 10, 6),
)


@dataclass(frozen=True)
class ProbedModel:
    """Result of a probe."""

    kind: DenoiserKind
    warnings: tuple[Message, ...]


_PROBED: WeakKeyDictionary[Any, dict[Any, ProbedModel]] = WeakKeyDictionary()


def probe_model(pipe: Pipeline, entry_point: Any, model: Any) -> ProbedModel:
    """Return the layout of a pipeline's model, for which the pipeline runs two steps of small images.

    A model that has the same modules and processors as in an earlier probe is not probed again.

    Args:
        pipe: a pipeline of a family that `derive_family` has derived.
        entry_point: its denoising model as the pipeline calls it.
        model: the same without the wrapper of `torch.compile`.

    Raises:
        AttachError: the pipeline has no such model, a session is attached to it, a run failed, or a layer
            has not one range of text and one raster of the image.
    """
    name = type(pipe).__name__
    if model is None:
        raise AttachError(message("probe-model", pipeline=name))
    others = getattr(pipe, "components", {})
    if any(re.fullmatch(r"(unet|transformer)_\d", key) and others[key] is not None for key in others):
        raise AttachError(message("second-transformer", pipeline=name))
    processors = [each.processor for each in model.modules() if hasattr(each, "processor")]
    modules = ((path, type(each)) for path, each in model.named_modules())
    state = (type(pipe), *modules, *map(find_own_class, processors))
    known = _PROBED.setdefault(model, {})
    if state in known:
        return known[state]
    if any(is_swapped(each) or isinstance(each, AttentionHook) for each in processors):
        raise AttachError(message("session-open", pipeline=name))
    with _run_plainly(model):
        findings = [Trial(pipe, entry_point, model, setup).run() for setup in SETUPS]
    probed = _combine(name, findings)
    if not any(each.is_idle for each in findings):  # else training may show other ways of the text
        known[state] = probed
    return probed


@contextmanager
def _run_plainly(model: Any) -> Iterator[None]:
    """Run a model without compiled code, and without a cache that skips layers."""
    cache = getattr(model, "_cache_config", None)
    if cache is not None:
        model.disable_cache()
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        if cache is not None:
            model.enable_cache(cache)


def _combine(name: str, findings: Sequence[Findings]) -> ProbedModel:
    """Return what the trials of a pipeline have in common.

    Raises:
        AttachError: a layer has no form that fits them all, or its arguments are in other places.
    """
    first = findings[0]
    places = {(each.text, each.latents, each.size_reader, each.row_order) for each in findings}
    numbers = {len(each.layers) for each in findings}
    if len(places) > 1 or len(numbers) > 1:
        raise AttachError(message("probe-differs", pipeline=name))
    layers = []
    for of_layer in zip(*(each.layers for each in findings), strict=True):
        form = next((form for form in of_layer[0] if all(form in other for other in of_layer[1:])), None)
        if form is None:
            raise AttachError(message("probe-columns", pipeline=name, layer=of_layer[0][0].name))
        layers.append(form)
    text_mask = _get_common(each.text_mask for each in findings)
    trims = any(each.trims_text for each in findings)
    if trims and text_mask is None:
        raise AttachError(message("probe-columns", pipeline=name, layer=layers[0].name))
    reader: Callable[..., Any] | None = first.size_reader[0] if first.size_reader else None
    kind = DenoiserKind(
        partial(_find_probed_layers, tuple(layers)),
        text=first.text,
        latents=first.latents,
        text_mask=text_mask,
        omits_full_mask=text_mask is not None and any(each.omits_full_mask for each in findings),
        text_lengths=_get_common(each.text_lengths for each in findings),
        trims_text=trims,
        make_latent_size=None if reader is None else partial(reader, *first.size_reader[1:]),
        replaces_text=text_mask is not None or not first.has_mask,
        extends_text=False,
        row_order=first.row_order,
    )
    warnings = [message("model-probed", pipeline=name, layers=len(layers))]
    if any(each.reaches_past for each in findings):
        warnings.append(message("text-outside-attention", pipeline=name))
    idle = dict.fromkeys(layer for each in findings for layer in each.idle_layers)
    if idle:
        warnings.append(message("layers-idle", pipeline=name, layers=", ".join(idle)))
    return ProbedModel(kind, tuple(warnings))


def _get_common(values: Iterator[Any]) -> Any:
    """Return the value that all have; None for others."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None


def _find_probed_layers(layers: Sequence[Layer], model: Any) -> Iterator[tuple[Layer, Any]]:
    """Yield the layers and their modules in a model."""
    for layer in layers:
        yield layer, model.get_submodule(layer.name)
