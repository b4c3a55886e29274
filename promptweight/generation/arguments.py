"""Arguments of `generate`, `edit` and batch jobs: ranges, checks, and the settings record of an image.

The module imports neither torch nor diffusers.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptweight._version import __version__
from promptweight.errors import SettingError
from promptweight.messages import Message, message
from promptweight.validation import check_choice, check_integer, check_number
from promptweight.weighting import (
    ATTACH_MODES,
    DIALECT_METHODS,
    METHOD_NAMES,
    NORMALIZER_NAMES,
    POOLED,
    SPACES,
)

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from promptweight.models import Adapters
    from promptweight.prompt import Prompt

MAX_PROMPT_LENGTH = 1_000_000
"""Largest number of characters of a prompt."""
MAX_SEED = 2**63 - 1
"""Largest seed of a torch generator."""
MAX_IMAGES = 1000
"""Largest number of images of one call."""
MAX_STEPS = 1000
"""Largest number of denoising steps."""
MAX_GUIDANCE = 100
"""Largest guidance scale."""
MAX_SIDE = 16_384
"""Largest height and width in pixels."""
MAX_CLIP_SKIP = 100
"""More layers than any CLIP text encoder has; the limit of a model is checked when it is loaded."""

_SIDE_NAMES = {"height": message("height"), "width": message("width")}


@dataclass(frozen=True)
class CallArguments:
    """Checked arguments that `generate` and `edit` share.

    Attributes:
        prompts: the parsed prompts, in the order in which they were passed.
        seeds: one seed for each image.
        num_inference_steps: number of denoising steps.
        guidance_scale: None for the model's default.
        weighting: the arguments of `attach` that choose how weights act.
    """

    prompts: tuple[Prompt, ...]
    seeds: tuple[int, ...]
    num_inference_steps: int
    guidance_scale: float | None
    weighting: dict[str, Any]

    def pipeline_kwargs(self, pipe: Any, height: int | None, width: int | None) -> dict[str, Any]:
        """Return the keyword arguments of the pipeline call; sizes that are None are left out."""
        from promptweight.models import get_default_guidance_scale

        uses_default = self.guidance_scale is None
        return {
            "num_inference_steps": self.num_inference_steps,
            "guidance_scale": get_default_guidance_scale(pipe) if uses_default else self.guidance_scale,
            **check_size(pipe, height, width),
        }


def check_arguments(
    *prompts: str | Prompt,
    dialect: str,
    seed: int | None,
    num_images: int,
    num_inference_steps: int,
    guidance_scale: float | None,
    **weighting: Any,
) -> CallArguments:
    """Check each argument by itself and parse the prompts.

    Raises:
        SettingError: an argument is not valid; the first one is reported.
    """
    from promptweight.prompt import DIALECTS, as_prompt

    check_prompts(*prompts)
    check_choice("dialect", dialect, DIALECTS)
    checked_weighting = check_weighting(**weighting)
    steps = check_integer("num_inference_steps", num_inference_steps, 1, MAX_STEPS)
    num_images = check_integer("num_images_per_prompt", num_images, 1, MAX_IMAGES)
    seeds = choose_seeds(seed, num_images)
    guidance = check_guidance_scale(guidance_scale)
    parsed = tuple(as_prompt(each, dialect) for each in prompts)
    return CallArguments(parsed, seeds, steps, guidance, checked_weighting)


def open_pipeline(model: str | os.PathLike[str] | DiffusionPipeline) -> Any:
    """Return `model` if it is a pipeline, else load it."""
    from promptweight.models import load

    return load(model) if isinstance(model, (str, os.PathLike)) else model


def check_prompts(*prompts: str | Prompt) -> None:
    """Check the type and length of prompts.

    Raises:
        SettingError: a prompt is neither text nor a `Prompt`, or is longer than `MAX_PROMPT_LENGTH`.
    """
    for prompt in prompts:
        source = prompt if isinstance(prompt, str) else getattr(prompt, "source", None)
        if not isinstance(source, str):
            raise SettingError(f"prompt must be text or a Prompt; got {type(prompt).__name__}")
        if len(source) > MAX_PROMPT_LENGTH:
            raise SettingError(message("prompt-too-long", length=len(source), most=MAX_PROMPT_LENGTH))


def check_weighting(
    *,
    method: str | None,
    normalizer: str | None,
    space: str,
    mode: str,
    clip_skip: int | None,
    pooled: str,
) -> dict[str, Any]:
    """Check the settings of the weighting one by one and return them as arguments of `attach`."""
    check_choice("space", space, SPACES)
    check_choice("mode", mode, ATTACH_MODES)
    check_choice("pooled", pooled, POOLED)
    if method is not None:
        check_choice("method", method, METHOD_NAMES)
    if normalizer is not None:
        check_choice("normalizer", normalizer, NORMALIZER_NAMES)
    if clip_skip is not None:
        clip_skip = check_integer("clip_skip", clip_skip, 0, MAX_CLIP_SKIP)
    return {
        "method": method,
        "normalizer": normalizer,
        "space": space,
        "mode": mode,
        "clip_skip": clip_skip,
        "pooled": pooled,
    }


def choose_seeds(seed: int | None, num_images: int) -> tuple[int, ...]:
    """Return consecutive seeds, one for each image; the first is random if `seed` is None."""
    first = secrets.randbelow(2**32 - num_images) if seed is None else seed
    first = check_integer("seed", first, 0, MAX_SEED - num_images + 1)
    return tuple(range(first, first + num_images))


def check_guidance_scale(guidance_scale: float | None) -> float | None:
    """Return the guidance scale, 0 .. `MAX_GUIDANCE`, or None for the model's default."""
    if guidance_scale is None:
        return None
    return check_number("guidance_scale", guidance_scale, 0, MAX_GUIDANCE)


def check_size(pipe: Any, height: int | None, width: int | None) -> dict[str, int]:
    """Return the sizes that are not None, checked against the latents and patches of the model.

    Raises:
        SettingError: a size is out of range or not a multiple of the size of a latent (or patch).
    """
    factor = getattr(pipe, "vae_scale_factor", 8)
    if hasattr(pipe, "transformer"):
        factor *= 2  # latents are packed in patches of 2 × 2
    multiple = max(8, factor)
    sizes = {}
    for name, value in (("height", height), ("width", width)):
        if value is not None:
            label = _SIDE_NAMES[name]
            sizes[name] = check_integer(label, value, multiple, MAX_SIDE)
            if value % multiple:
                raise SettingError(message("size-multiple", name=label, value=value, multiple=multiple))
    return sizes


def find_unused_settings(
    call: dict[str, Any], weighting: dict[str, Any], negative_prompt: Prompt
) -> list[Message]:
    """Return a warning for each setting that has no effect."""
    warnings = []
    if weighting["space"] == "attention":
        warnings += [
            message("embedding-setting-unused", name=name, value=weighting[name])
            for name in ("method", "normalizer")
            if weighting[name] is not None and (name == "method" or weighting["mode"] != "clip")
        ]
    elif weighting["mode"] != "logit":
        warnings.append(message("attention-mode-unused", mode=weighting["mode"]))
    if negative_prompt.text and call["guidance_scale"] <= 1:
        warnings.append(message("negative-without-guidance", guidance=call["guidance_scale"]))
    return warnings


def collect_settings(
    pipe: Any,
    prompt: Prompt,
    negative_prompt: Prompt,
    weighting: dict[str, Any],
    adapters: Adapters,
    call: dict[str, Any],
) -> dict[str, Any]:
    """Return everything but the seed that determines an image, as JSON values."""
    from promptweight.models import get_origin, get_sampler_name

    origin = get_origin(pipe)
    return {
        "promptweight": __version__,
        "prompt": prompt.source,
        "negative_prompt": negative_prompt.source,
        "dialect": prompt.dialect,
        "model": origin.model,
        "revision": origin.revision,
        "pipeline": type(pipe).__name__,
        "scheduler": type(pipe.scheduler).__name__,
        "sampler": get_sampler_name(pipe.scheduler),
        "dtype": str(pipe.dtype).removeprefix("torch."),
        "device": pipe._execution_device.type,
        **weighting,
        "methods": _methods_by_encoder(pipe, weighting, prompt.dialect),
        "loras": {name: lora.weight for name, lora in adapters.loras.items()},
        "embeddings": sorted({path.stem for path in adapters.embeddings.values()}),
        **call,
    }


def _methods_by_encoder(pipe: Any, weighting: dict[str, Any], dialect: str) -> dict[str, str]:
    """Return the method that weights the embeddings of each text encoder, by the encoder's name."""
    from promptweight.conditioning import find_family, get_text_encoders

    family = find_family(pipe)
    present = get_text_encoders(pipe, family)
    in_attention = weighting["space"] == "attention"
    clip_method = "clip" if in_attention and weighting["mode"] == "clip" else None
    method = "none" if in_attention else weighting["method"]
    return {
        kind.name: (kind.is_clip and clip_method) or method or DIALECT_METHODS.get(dialect, kind.method)
        for section in family.sections
        for kind in section
        if kind in present
    }
