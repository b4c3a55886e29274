"""Settings of the endpoints that draw images, and their checks."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from promptweight import validation
from promptweight.errors import SettingError
from promptweight.generation import GenerateOptions
from promptweight.messages import message
from promptweight.weighting import Weighting
from promptweight_ui.generation import MAX_GUIDANCE, MAX_SEED, GenerateCall
from promptweight_ui.request_values import check_size, check_text
from promptweight_ui.samplers import OWN_SAMPLER, join_sampler
from promptweight_ui.validation import MAX_CLIP_SKIP, MAX_IMAGES, MAX_STEPS

if TYPE_CHECKING:
    from promptweight_ui.context import Context


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """Settings as a client sends them, each with its description; `read_call` checks them."""

    negative_prompt: Annotated[str, "What the images should not show."] = ""
    model: Annotated[str | None, "One of the models that the app offers; None for its first one."] = None
    weighting: Annotated[
        str | None, "How weights act, such as presence, attention or comfy; None for the default."
    ] = None
    dialect: Annotated[str, "Syntax of both prompts: pw, a1111, comfy, compel or another one."] = "pw"
    scheduler: Annotated[str | None, "A sampler, such as DPM++ 2M Karras; None for the model's own."] = None
    num_inference_steps: Annotated[int, f"Number of denoising steps, 1 to {MAX_STEPS}."] = 25
    guidance_scale: Annotated[float | None, f"0 to {MAX_GUIDANCE}; None for the model's default."] = None
    seed: Annotated[int | None, "Seed of the first image; None for a random one."] = None
    width: Annotated[int | None, "Width in pixels; None for that of the model."] = None
    height: Annotated[int | None, "Height in pixels; None for that of the model."] = None
    clip_skip: Annotated[
        int | None, f"Last layers of the CLIP text encoders to skip, 0 to {MAX_CLIP_SKIP}."
    ] = None


def read_call(
    context: Context, prompt: object, settings: ImageSettings, number: Any = 1, **options: Any
) -> GenerateCall:
    """Return the checked call for a prompt and its settings.

    Args:
        context: the objects of the app.
        prompt: the prompt.
        settings: the settings.
        number: the number of images.
        options: further fields of `GenerateOptions`.

    Raises:
        SettingError: a value is not valid.
    """
    models = context.models
    model = models.names[0] if settings.model is None else settings.model
    validation.check_choice("model", model, models.names)
    sampler = models.split_sampler(model, settings.scheduler or OWN_SAMPLER)
    if sampler is None:
        validation.check_choice("scheduler", settings.scheduler, models.samplers(model))
        raise AssertionError  # a sampler without noise schedule is always found
    facts = models.facts(model)
    size: tuple[int, int] | tuple[None, None] = (None, None)
    if settings.width is not None or settings.height is not None:
        # pipelines of Stable Diffusion ignore one side without the other
        sides = (facts.side if side is None else side for side in (settings.width, settings.height))
        size = check_size(facts, *sides)
    weighting, skip, seed = settings.weighting, settings.clip_skip, settings.seed
    if settings.guidance_scale is not None:
        validation.check_number("guidance_scale", settings.guidance_scale, 0, MAX_GUIDANCE)
    return GenerateCall(
        model,
        check_text("prompt", prompt),
        GenerateOptions(
            negative_prompt=check_text("negative_prompt", settings.negative_prompt),
            weighting=None if weighting is None else Weighting.parse(check_text("weighting", weighting)),
            dialect=check_text("dialect", settings.dialect),
            scheduler=join_sampler(*sampler),
            num_inference_steps=validation.check_integer(
                "num_inference_steps", settings.num_inference_steps, 1, MAX_STEPS
            ),
            guidance_scale=settings.guidance_scale,
            seed=secrets.randbelow(2**32)
            if seed is None
            else validation.check_integer("seed", seed, 0, MAX_SEED),
            num_images_per_prompt=validation.check_integer("num_images_per_prompt", number, 1, MAX_IMAGES),
            width=size[0],
            height=size[1],
            clip_skip=None
            if skip is None
            else validation.check_integer("clip_skip", skip, 0, MAX_CLIP_SKIP) or None,
            lora_dir=context.lora_dir,
            embeddings_dir=context.embeddings_dir,
            **options,
        ),
    )


def check_list(name: str, value: object, longest: int) -> list[Any]:
    """Return `value` if it is a list of 1 to `longest` values.

    Raises:
        SettingError: it is not.
    """
    if not isinstance(value, list):
        raise SettingError(message("list-type", name=name, value=repr(value)[:60]))
    validation.check_integer(f"the number of {name}", len(value), 1, longest)
    return value
