"""Noised scenes: rendered scenes at known noise levels, and the attention of one denoiser call on each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from promptweight.mini import LANGUAGES, UNITS, Scene, plainly, random_scene, render
from promptweight.mini.training import unet
from promptweight.mini.training.autoencoder import to_pixels
from promptweight.mini.worlds import world_of

if TYPE_CHECKING:
    from promptweight.maps import AttentionMaps
    from promptweight.protocols import Pipeline

TIMESTEPS = (100, 200, 300, 400, 500, 600)
"""Of Stable Diffusion's noise schedule; other schedules use the same signal-to-noise ratios."""
EXTRA_WIDTH = 16
"""Pixels of background that are added to each side of a wide image."""


@dataclass(frozen=True)
class NoiseLevel:
    """Signal and noise amplitudes of a noised latent, and the timestep for the denoiser."""

    name: int
    """The timestep of Stable Diffusion's schedule with the same signal-to-noise ratio."""
    timestep: float
    signal: float
    noise: float


@dataclass(frozen=True)
class NoisedScene:
    """A scene at one noise level, and the session that recorded one call of the model."""

    number: int
    scene: Scene
    language: str
    masks: Tensor
    """One per object, (objects, height, width) bool; empty if the model generated the image."""
    level: NoiseLevel
    session: Any
    latents: Tensor
    """The noised latents."""
    prediction: Tensor
    """The output of the model for these latents."""


@torch.no_grad()
def run_noised_scenes(
    pipeline: Pipeline,
    *,
    number: int,
    seed: int,
    timesteps: tuple[int, ...] = TIMESTEPS,
    languages: tuple[str, ...] = LANGUAGES,
    is_wide: bool = False,
    is_rendered: bool = True,
    **settings: Any,
) -> Iterator[NoisedScene]:
    """Yield every scene in every language at every noise level, inside its session.

    Args:
        pipeline: a pipeline of the built-in world; with `is_rendered=False` any that `can_predict` accepts.
        number: number of scenes; none of them occurs in training.
        seed: selects scenes and noise.
        timesteps: noise levels, as in `noise_levels`.
        languages: languages of the captions.
        is_wide: True for images that are half as wide again as high.
        is_rendered: True for rendered scenes with masks; False for images that the model generates from the
            captions.
        settings: arguments of `attach`.
    """
    from promptweight.attention import attach

    generator = torch.Generator().manual_seed(seed)
    levels = noise_levels(pipeline.scheduler, timesteps)
    for index, sampled in enumerate(sample_scenes(number, seed)):
        scene = replace(sampled, background="plain") if is_wide else sampled
        image, masks = render(scene, image_size(pipeline))
        if is_wide:
            image, masks = widen(image, masks)
        solid = torch.from_numpy(masks if is_rendered else masks[:0]) > 0.5
        for language in languages:
            caption = plainly(scene, language)
            clean = (
                encode_image(pipeline, image)
                if is_rendered
                else sample_latents(pipeline, caption, seed + index)
            )
            if language == languages[0]:  # the same noise in every language
                noise = torch.randn(clean.shape, generator=generator).to(clean)
            with attach(pipeline, caption, **settings) as session:
                for level in levels:
                    session.reset()
                    latents = level.signal * clean + level.noise * noise
                    prediction = predict(pipeline, latents, level.timestep, session.inputs)
                    yield NoisedScene(index, scene, language, solid, level, session, latents, prediction)


@torch.no_grad()
def record_scene(
    pipeline: Pipeline, scene: Scene, caption: str, *, timestep: int = 400, seed: int = 0, **settings: Any
) -> tuple[Tensor, AttentionMaps]:
    """Record the attention of one call of the denoiser on a noised scene.

    Args:
        pipeline: a pipeline of the built-in world.
        scene: the scene to render.
        caption: the prompt, which may or may not describe the scene.
        timestep: the noise level, as in `noise_levels`.
        seed: selects the noise.
        settings: arguments of `attach`.

    Returns:
        The masks of the objects, (objects, height, width) bool, and the recorded maps.
    """
    from promptweight.attention import attach

    image, masks = render(scene, image_size(pipeline))
    clean = encode_image(pipeline, image)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed)).to(clean)
    (level,) = noise_levels(pipeline.scheduler, (timestep,))
    with attach(pipeline, caption, **settings) as session:
        predict(pipeline, level.signal * clean + level.noise * noise, level.timestep, session.inputs)
    return torch.from_numpy(masks) > 0.5, session.maps


def predict(pipeline: Pipeline, latents: Tensor, timestep: float, inputs: dict[str, Any]) -> Tensor:
    """Call the denoiser once for the positive prompt; return its prediction in the shape of the latents."""
    time = torch.tensor([timestep], device=latents.device)
    if hasattr(pipeline, "unet"):
        output = pipeline.unet(latents, time, encoder_hidden_states=inputs["prompt_embeds"])
    else:
        output = pipeline.transformer(
            latents, inputs["prompt_embeds"], inputs["pooled_prompt_embeds"], time.to(latents.dtype)
        )
    prediction: Tensor = output.sample
    return prediction


def can_predict(pipeline: Pipeline) -> bool:
    """Return True for Stable Diffusion 1, 2 and 3, whose denoisers `predict` can call."""
    unet = getattr(pipeline, "unet", None)
    if unet is not None:
        return unet.config.addition_embed_type is None
    return type(getattr(pipeline, "transformer", None)).__name__ == "SD3Transformer2DModel"


def widen(image: np.ndarray, masks: np.ndarray, pixels: int = EXTRA_WIDTH) -> tuple[np.ndarray, np.ndarray]:
    """Return an image (height, width, 3) and masks (n, height, width) with background added on both sides."""
    sides = (pixels, pixels)
    return np.pad(image, ((0, 0), sides, (0, 0)), "edge"), np.pad(masks, ((0, 0), (0, 0), sides))


def encode_image(pipeline: Pipeline, image: np.ndarray) -> Tensor:
    """Return the scaled latents of an image (height, width, 3)."""
    factor, shift = pipeline.vae.config.scaling_factor, pipeline.vae.config.shift_factor or 0.0
    pixels = to_pixels([image]).to(pipeline.device, pipeline.vae.dtype)
    latents: Tensor = (pipeline.vae.encode(pixels).latent_dist.mode() - shift) * factor
    return latents


def sample_latents(pipeline: Pipeline, caption: str, seed: int) -> Tensor:
    """Return the latents of an image that the model generates from a caption in 25 steps."""
    from promptweight.models import get_default_guidance_scale

    latents: Tensor = pipeline(
        caption,
        num_inference_steps=25,
        guidance_scale=get_default_guidance_scale(pipeline),
        generator=torch.Generator().manual_seed(seed),
        output_type="latent",
    ).images
    return latents


def image_size(pipeline: Pipeline) -> int:
    """Return the pixels a side of the scenes that a pipeline draws, 64 unless its world has another size."""
    world = world_of(pipeline)
    return UNITS if world is None else world.size


def sample_scenes(number: int, seed: int) -> Iterator[Scene]:
    """Yield held-out scenes of one and two objects, side by side or one above the other."""
    rng = Random(b"localisation/%d" % seed)  # this key selects the scenes of the published reports
    while number:
        scene = random_scene(rng)
        if len(scene.things) <= 2 and scene.relation not in ("ride", "mirror"):
            number -= 1
            yield scene


def noise_levels(scheduler: Any, timesteps: tuple[int, ...] = TIMESTEPS) -> list[NoiseLevel]:
    """Return the noise levels of a variance-preserving or flow-matching scheduler.

    Args:
        scheduler: a diffusers scheduler.
        timesteps: timesteps of Stable Diffusion's schedule; the levels have the same signal-to-noise ratios.
    """
    if hasattr(scheduler, "alphas_cumprod"):
        alphas = [float(scheduler.alphas_cumprod[timestep]) for timestep in timesteps]
        return [
            NoiseLevel(timestep, timestep, alpha**0.5, (1 - alpha) ** 0.5)
            for timestep, alpha in zip(timesteps, alphas, strict=True)
        ]
    levels = []
    for level in noise_levels(unet.scheduler(), timesteps):
        sigma = level.noise / (level.signal + level.noise)
        end = scheduler.config.num_train_timesteps
        levels.append(NoiseLevel(level.name, end * sigma, 1 - sigma, sigma))
    return levels
