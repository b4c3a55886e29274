"""Scale of LoRAs in text encoders, which pipelines set while they encode a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from promptweight.conditioning.family_lookup import look_up_family
from promptweight.validation import check_number

if TYPE_CHECKING:
    from promptweight.conditioning.text_encoder import TextEncoder
    from promptweight.protocols import Pipeline

MAX_LORA_SCALE = 100
"""Largest absolute scale."""

_KEYWORDS = ("cross_attention_kwargs", "joint_attention_kwargs", "attention_kwargs")
"""Arguments of pipelines and denoisers whose "scale" is that of LoRAs."""


def read_lora_scale(arguments: Any) -> float:
    """Return the scale of LoRAs in the keyword arguments of a pipeline or denoiser; 1 where there is none.

    >>> read_lora_scale({"cross_attention_kwargs": {"scale": 0.3}})
    0.3
    """
    for name in _KEYWORDS:
        scale = (arguments.get(name) or {}).get("scale")
        if scale is not None:
            return float(scale)
    return 1.0


def check_lora_scale(scale: float | None) -> float:
    """Return the scale as a number, 1 for None.

    Raises:
        SettingError: it is not a number from -`MAX_LORA_SCALE` to `MAX_LORA_SCALE`.
    """
    if scale is None:
        return 1.0
    return check_number("lora_scale", scale, -MAX_LORA_SCALE, MAX_LORA_SCALE)


def has_text_loras(pipe: Pipeline) -> bool:
    """Return True if a text encoder that takes a scale has layers of LoRAs."""
    family = look_up_family(pipe)
    kinds = () if family is None else family.encoders
    models = (getattr(pipe, kind.model, None) for kind in kinds if kind.scales_loras)
    return any(_has_loras(model) for model in models if model is not None)


@contextmanager
def scale_text_loras(encoders: Iterable[TextEncoder], scale: float) -> Iterator[None]:
    """Scale the LoRAs of text encoders inside the block, as a pipeline does while it encodes a prompt."""
    from diffusers.utils import scale_lora_layers, unscale_lora_layers

    models = list({id(each.model): each.model for each in encoders if each.kind.scales_loras}.values())
    models = [] if scale == 1 else [model for model in models if _has_loras(model)]
    for model in models:
        scale_lora_layers(model, scale)
    try:
        yield
    finally:
        for model in models:
            unscale_lora_layers(model, scale)


def _has_loras(model: Any) -> bool:
    return any(hasattr(module, "lora_A") for module in model.modules())
