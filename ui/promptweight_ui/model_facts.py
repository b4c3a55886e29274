"""Facts of a model for the page, from its folder, without loading it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptweight.conditioning import advice_in
from promptweight.errors import PromptweightError
from promptweight.models import find_local_folder, read_model_index

if TYPE_CHECKING:
    from promptweight.mini import World

DEFAULT_GUIDANCE = 7.5
"""Guidance scale for models without one of their own."""

UNKNOWN_SIDE = 1024
"""Side of the images of models whose configuration does not have it, such as FLUX."""

MAX_SIDE = 2048
MAX_ENLARGEMENT = 2
"""Largest side of an image, in sides of the images that the model was trained on."""


@dataclass(frozen=True)
class ModelFacts:
    """Facts of a model.

    Attributes:
        is_flow: whether it was trained by flow matching, as Stable Diffusion 3 and FLUX were.
        guidance: its default guidance scale.
        side: the side in pixels of the images that it was trained on.
        world: the objects and words that it was trained on; None for models without such a list.
    """

    is_flow: bool = False
    guidance: float = DEFAULT_GUIDANCE
    side: int = UNKNOWN_SIDE
    world: World | None = None

    @property
    def max_side(self) -> int:
        """The largest width and height."""
        return min(MAX_SIDE, MAX_ENLARGEMENT * self.side)


def read_facts(source: str) -> ModelFacts | None:
    """Return the facts of a model on this machine; None if it is not a folder, or is damaged.

    Args:
        source: an argument of `promptweight.load`.
    """
    try:
        folder = find_local_folder(source)
        scheduler = read_model_index(folder, source).get("scheduler")
        advice = advice_in(folder)
    except (PromptweightError, OSError):
        return None
    guidance = DEFAULT_GUIDANCE if advice is None else advice.guidance_scale
    denoiser = _read_config(folder / "unet") or _read_config(folder / "transformer")
    side = image_side(denoiser, _read_config(folder / "vae"))
    return ModelFacts("FlowMatch" in str(scheduler), guidance, side, _read_world(folder))


def facts_of(pipe: Any) -> ModelFacts:
    """Return the facts of a loaded pipeline."""
    from promptweight.mini import world_of
    from promptweight.models import get_default_guidance_scale

    denoiser = getattr(pipe, "unet", None)
    if denoiser is None:
        denoiser = getattr(pipe, "transformer", None)
    side = image_side(*(dict(getattr(each, "config", {})) for each in (denoiser, getattr(pipe, "vae", None))))
    is_flow = "FlowMatch" in type(pipe.scheduler).__name__
    return ModelFacts(is_flow, get_default_guidance_scale(pipe), side, world_of(pipe))


def image_side(denoiser: Mapping[str, Any], autoencoder: Mapping[str, Any]) -> int:
    """Return the side in pixels of a model's images from the configurations of diffusers.

    >>> image_side({"sample_size": 64}, {"block_out_channels": [128, 256, 512, 512]})
    512
    """
    latents = denoiser.get("sample_size")
    latents = max(latents) if isinstance(latents, (list, tuple)) and latents else latents
    if not isinstance(latents, int):
        return UNKNOWN_SIDE
    return latents * 2 ** max(0, len(autoencoder.get("block_out_channels") or ()) - 1)


def _read_world(folder: Path) -> World | None:
    from promptweight.mini import worlds

    try:
        return worlds.read(folder)
    except (OSError, ValueError):
        return None


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
