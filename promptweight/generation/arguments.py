"""The settings of a call that makes pictures: checked before it, told with the pictures after it.

What `generate`, `edit` and batches ask for in the same words is read here once. The module itself is light.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptweight import validation
from promptweight.errors import SettingError
from promptweight.messages import Message, message

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from promptweight.models import Adapters
    from promptweight.prompt import Prompt

METHODS = (
    "none", "scale", "a1111", "scale-rms", "comfy", "compel", "down_weight", "comfy++", "perp",
)  # fmt: skip
"""The names in `promptweight.weighting.METHODS`, for what starts without torch; a test compares them."""

NORMALIZERS = ("none", "mean", "mean-div", "length", "length+mean")
"""The names in `promptweight.weighting.NORMALIZERS`, likewise."""

MODES = ("logit", "p2p", "value", "clip")
"""How weights act in attention: `promptweight.attention.session.ATTACH_MODES`, likewise."""

SPACES = ("embedding", "attention")
POOLED = ("clean", "weighted")
MAX_PROMPT_LENGTH = 1_000_000
MAX_SEED = 2**63 - 1
MAX_IMAGES = 1000
MAX_STEPS = 1000
MAX_GUIDANCE = 100
MAX_SIDE = 16_384
SIDES = {"height": message("height"), "width": message("width")}
MAX_CLIP_SKIP = 100
"""More layers than any CLIP text encoder has; how many a model allows is known when it is loaded."""


@dataclass(frozen=True)
class CallArguments:
    """What `generate` and `edit` are asked for in the same words, checked before a model is loaded."""

    prompts: tuple[Prompt, ...]
    """In the order they were given, read in their dialect."""
    seeds: tuple[int, ...]
    """One per picture."""
    num_inference_steps: int
    guidance_scale: float | None
    """None is the model's own."""
    weighting: dict[str, Any]
    """How weights act, as `attach` takes it."""

    def call(self, pipe: Any, height: int | None, width: int | None) -> dict[str, Any]:
        """Return what the loaded pipeline is called with for every picture; sizes None are its own."""
        from promptweight.models import default_guidance_scale

        own = self.guidance_scale is None
        return {
            "num_inference_steps": self.num_inference_steps,
            "guidance_scale": default_guidance_scale(pipe) if own else self.guidance_scale,
            **check_size(pipe, height, width),
        }


def check_arguments(
    *prompts: str | Prompt,
    dialect: str,
    seed: int | None,
    pictures: int,
    num_inference_steps: int,
    guidance_scale: float | None,
    **weighting: Any,
) -> CallArguments:
    """Check each setting by itself and reads the prompts; raises `SettingError` for the first wrong one."""
    from promptweight.prompt import DIALECTS, parse

    check_prompts(*prompts)
    validation.check_choice("dialect", dialect, DIALECTS)
    acting = check_weighting(**weighting)
    steps = validation.check_integer("num_inference_steps", num_inference_steps, 1, MAX_STEPS)
    pictures = validation.check_integer("num_images_per_prompt", pictures, 1, MAX_IMAGES)
    seeds = choose_seeds(seed, pictures)
    guidance = check_guidance_scale(guidance_scale)
    read = tuple(parse(each, dialect) if isinstance(each, str) else each for each in prompts)
    return CallArguments(read, seeds, steps, guidance, acting)


def open_pipeline(model: str | os.PathLike[str] | DiffusionPipeline) -> Any:
    """Return the pipeline, loaded if need be."""
    from promptweight.models import load

    return load(model) if isinstance(model, (str, os.PathLike)) else model


def check_prompts(*prompts: str | Prompt) -> None:
    """Raise `SettingError` for what is no prompt, or a longer one than is read."""
    for prompt in prompts:
        source = prompt if isinstance(prompt, str) else getattr(prompt, "source", None)
        if not isinstance(source, str):
            raise SettingError(f"a prompt is text or a Prompt, not {type(prompt).__name__}")
        if len(source) > MAX_PROMPT_LENGTH:
            raise SettingError(
                message(
                    "prompt-too-long",
                    length=len(source),
                    most=MAX_PROMPT_LENGTH,
                )
            )


def check_weighting(
    *,
    method: str | None,
    normalizer: str | None,
    space: str,
    mode: str,
    clip_skip: int | None,
    pooled: str,
) -> dict[str, Any]:
    """Return the settings that say how weights act, each checked by itself, as `attach` takes them."""
    validation.check_choice("space", space, SPACES)
    validation.check_choice("mode", mode, MODES)
    validation.check_choice("pooled", pooled, POOLED)
    if method is not None:
        validation.check_choice("method", method, METHODS)
    if normalizer is not None:
        validation.check_choice("normalizer", normalizer, NORMALIZERS)
    if clip_skip is not None:
        clip_skip = validation.check_integer("clip_skip", clip_skip, 0, MAX_CLIP_SKIP)
    return {
        "method": method,
        "normalizer": normalizer,
        "space": space,
        "mode": mode,
        "clip_skip": clip_skip,
        "pooled": pooled,
    }


def choose_seeds(seed: int | None, pictures: int) -> tuple[int, ...]:
    """Return the seed of each picture, one after the other; a first one is drawn where none is given."""
    first = secrets.randbelow(2**32 - pictures) if seed is None else seed
    first = validation.check_integer("seed", first, 0, MAX_SEED - pictures + 1)
    return tuple(range(first, first + pictures))


def check_guidance_scale(guidance_scale: float | None) -> float | None:
    """Return the guidance scale, 0 .. `MAX_GUIDANCE`; None is the model's own."""
    if guidance_scale is None:
        return None
    return validation.check_number("guidance_scale", guidance_scale, 0, MAX_GUIDANCE)


def check_size(pipe: Any, height: int | None, width: int | None) -> dict[str, int]:
    """Return the sizes that are given, checked against what the model's latents and patches need."""
    factor = getattr(pipe, "vae_scale_factor", 8)
    if hasattr(pipe, "transformer"):
        factor *= 2  # latents are packed in patches of 2 × 2
    multiple = max(8, factor)
    sizes = {}
    for name, value in (("height", height), ("width", width)):
        if value is not None:
            sizes[name] = validation.check_integer(SIDES[name], value, multiple, MAX_SIDE)
            if value % multiple:
                raise SettingError(
                    message(
                        "size-multiple",
                        name=SIDES[name],
                        value=value,
                        multiple=multiple,
                    )
                )
    return sizes


def find_unused_settings(call: dict[str, Any], weighting: dict[str, Any], negative: Prompt) -> list[Message]:
    """Return sentences about settings that have no effect."""
    said = []
    if weighting["space"] == "attention":
        said += [
            message(
                "embedding-setting-unused",
                name=name,
                value=weighting[name],
            )
            for name in ("method", "normalizer")
            if weighting[name] is not None and (name == "method" or weighting["mode"] != "clip")
        ]
    elif weighting["mode"] != "logit":
        said.append(
            message(
                "attention-mode-unused",
                mode=weighting["mode"],
            )
        )
    if negative.text and call["guidance_scale"] <= 1:
        said.append(
            message(
                "negative-without-guidance",
                guidance=call["guidance_scale"],
            )
        )
    return said


def collect_settings(
    pipe: Any,
    prompt: Prompt,
    negative_prompt: Prompt,
    weighting: dict[str, Any],
    chosen: Adapters,
    call: dict[str, Any],
) -> dict[str, Any]:
    """Return everything that decides how a picture looks, apart from its seed; JSON values only."""
    from promptweight import __version__
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
        "methods": _methods(pipe, weighting),
        "loras": {name: lora.weight for name, lora in chosen.loras.items()},
        "embeddings": sorted({path.stem for path in chosen.embeddings.values()}),
        **call,
    }


def _methods(pipe: Any, weighting: dict[str, Any]) -> dict[str, str]:
    """Return the method that weighed the embeddings of each text encoder, by the encoder's name."""
    from promptweight.conditioning import find_family, get_text_encoders

    family = find_family(pipe)
    present = get_text_encoders(pipe, family)
    in_attention = weighting["space"] == "attention"
    inside = "clip" if in_attention and weighting["mode"] == "clip" else None
    chosen = "none" if in_attention else weighting["method"]
    return {
        kind.name: (kind.is_clip and inside) or chosen or kind.method
        for section in family.sections
        for kind in section
        if kind in present
    }
