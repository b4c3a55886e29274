"""Images of the captions of scenes: prompts in both languages, and a seed for each image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from promptweight.mini import LANGUAGES, Scene, plainly

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline


def alternate_languages(number: int, languages: Sequence[str] = LANGUAGES) -> list[str]:
    """Return the languages of `number` captions, which alternate."""
    return [languages[index % len(languages)] for index in range(number)]


def write_captions(scenes: Sequence[Scene], languages: Sequence[str] = LANGUAGES) -> list[str]:
    """Return the caption of each scene, in alternating languages."""
    return [
        plainly(scene, language)
        for scene, language in zip(scenes, alternate_languages(len(scenes), languages), strict=True)
    ]


def generate_images(
    pipeline: Pipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    negative_prompts: Sequence[str] | None = None,
    steps: int = 25,
    guidance_scale: float | None = None,
    batch_size: int = 10,
    **settings: Any,
) -> Iterator[NDArray[np.uint8]]:
    """Yield one image (height, width, 3) for each prompt and seed.

    Args:
        pipeline: a text-to-image pipeline.
        prompts: the prompts.
        seeds: a seed for each prompt, of a generator of its own.
        negative_prompts: one for each prompt; None for empty ones.
        steps: steps of each image.
        guidance_scale: classifier-free guidance; None for the model's default.
        batch_size: images per batch.
        settings: arguments of `promptweight.attach`.
    """
    from promptweight.attention import attach
    from promptweight.models import get_default_guidance_scale

    guidance = get_default_guidance_scale(pipeline) if guidance_scale is None else guidance_scale
    for first in range(0, len(prompts), batch_size):
        batch = slice(first, first + batch_size)
        negative = "" if negative_prompts is None else list(negative_prompts[batch])
        with attach(pipeline, list(prompts[batch]), negative, **{"record": False} | settings) as session:
            output = pipeline(
                **session.inputs,
                num_inference_steps=steps,
                guidance_scale=guidance,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds[batch]],
                output_type="np",
            )
        yield from (output.images * 255).round().astype(np.uint8)


def generate_scene_images(
    pipeline: Pipeline,
    scenes: Sequence[Scene],
    first_seed: int,
    *,
    guidance_scale: float,
    languages: Sequence[str] = LANGUAGES,
) -> Iterator[NDArray[np.uint8]]:
    """Yield an image of each scene's caption, in alternating languages, from seeds that ascend by 1."""
    seeds = range(first_seed, first_seed + len(scenes))
    yield from generate_images(
        pipeline, write_captions(scenes, languages), seeds, guidance_scale=guidance_scale
    )
