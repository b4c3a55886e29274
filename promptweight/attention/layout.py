"""Layout of a pipeline's denoising model: of a listed class, or found by a probe of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from promptweight.attention.call_arguments import make_latent_size
from promptweight.attention.layers import DENOISERS, THREE_WAY_PIPELINES, DenoiserKind, ModelLayout
from promptweight.attention.model_calls import unwrap_compiled
from promptweight.attention.probing.probe import probe_model
from promptweight.conditioning import advice_of, look_up_family
from promptweight.errors import AttachError
from promptweight.messages import Message, message

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline


def read_layout(pipe: Pipeline) -> ModelLayout:
    """Return the layout of a pipeline's denoising model.

    Raises:
        AttachError: the model's class is not supported, or the pipeline is in no listed family and the
            probe of its model failed.
        ModelError: the advice in the model's folder cannot be read.
    """
    entry_point: Any = getattr(pipe, "unet", None)
    if entry_point is None:
        entry_point = getattr(pipe, "transformer", None)
    model = unwrap_compiled(entry_point)
    kind, warnings = _find_kind(pipe, entry_point, model)
    found = {layer.name: (layer, attn) for layer, attn in kind.find_layers(model)}
    text_layers = {name: each for name, each in found.items() if each[0].order == "text"}
    layers = {name: each for name, each in found.items() if name not in text_layers}
    for name in set(layers).difference(select_advised_layers(pipe, layers)):
        layer, attn = layers[name]
        layers[name] = replace(layer, is_advised=False), attn
    if type(pipe).__name__ in THREE_WAY_PIPELINES:
        kind = replace(kind, row_order=("positive", "negative", "negative"))
    make_size = kind.make_latent_size or partial(make_latent_size, *kind.latents)
    return ModelLayout(model, entry_point, layers, text_layers, kind, make_size(), warnings)


def select_advised_layers(pipe: Pipeline, layers: Mapping[str, Any]) -> list[str]:
    """Return the layers from which the model's authors advise to read maps.

    All layers where there is no advice, or where it names no layer of this model.
    """
    advice = advice_of(pipe)
    parts = () if advice is None else advice.attention_layers
    return [name for name in layers if any(part in name for part in parts)] or list(layers)


def _find_kind(pipe: Pipeline, entry_point: Any, model: Any) -> tuple[DenoiserKind, tuple[Message, ...]]:
    """Return the attention of a pipeline's model, and messages for the user about it.

    Raises:
        AttachError: see `read_layout`.
    """
    family = look_up_family(pipe)
    if family is not None and family.is_derived:
        probed = probe_model(pipe, entry_point, model)
        return probed.kind, probed.warnings
    names = [base.__name__ for base in type(model).__mro__]
    kind = next((DENOISERS[name] for name in names if name in DENOISERS), None)
    if kind is None:
        raise AttachError(
            message(
                "denoiser-unsupported",
                pipeline=type(pipe).__name__,
                model=type(model).__name__,
                known=", ".join(DENOISERS),
            )
        )
    return kind, ()
