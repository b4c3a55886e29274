"""Drawn scenes, noised and shown to a model once: what its attention shows where the truth is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from promptweight.mini import LANGUAGES, Scene, plainly, random_scene, render
from promptweight.mini.training import unet
from promptweight.mini.training.autoencoder import to_pixels

if TYPE_CHECKING:
    from promptweight.maps import AttentionMaps

TIMESTEPS = (100, 200, 300, 400, 500, 600)
"""Of Stable Diffusion's noise schedule; other schedules are asked at the same ratios of signal to noise."""
WIDER = 16
"""Pixels of ground that a wide picture has more on each side."""


@dataclass(frozen=True)
class Noised:
    """A scene, its words, and the session in which the model has just been called for one noise level."""

    number: int
    scene: Scene
    language: str
    masks: Tensor
    """One for each thing, (things, height, width) bool; none where the model drew the picture itself."""
    level: NoiseLevel
    session: Any
    latents: Tensor
    """The noised latents."""
    predicted: Tensor
    """What the model made of them."""


def predict(pipeline: Any, noisy: Tensor, timestep: float, inputs: dict[str, Any]) -> Tensor:
    """Call the denoiser once, for the prompt alone; returns its prediction in the shape of the latents."""
    time = torch.tensor([timestep], device=noisy.device)
    if hasattr(pipeline, "unet"):
        output = pipeline.unet(noisy, time, encoder_hidden_states=inputs["prompt_embeds"])
    else:
        output = pipeline.transformer(
            noisy, inputs["prompt_embeds"], inputs["pooled_prompt_embeds"], time.to(noisy.dtype)
        )
    found: Tensor = output.sample
    return found


def widened(picture: np.ndarray, masks: np.ndarray, pixels: int = WIDER) -> tuple[np.ndarray, np.ndarray]:
    """A picture (height, width, 3) and its masks (n, height, width) with more ground on both sides."""
    sides = (pixels, pixels)
    return np.pad(picture, ((0, 0), sides, (0, 0)), "edge"), np.pad(masks, ((0, 0), (0, 0), sides))


@torch.no_grad()
def noised(
    pipeline: Any,
    *,
    number: int,
    seed: int,
    timesteps: tuple[int, ...] = TIMESTEPS,
    languages: tuple[str, ...] = LANGUAGES,
    wide: bool = False,
    is_drawn: bool = True,
    **settings: Any,
) -> Iterator[Noised]:
    """Yield every scene in every language at every noise level, inside its session.

    Args:
        pipeline: one that draws the built-in world, or with `is_drawn=False` any that `predict` can call.
        number: how many scenes; none of them was drawn in training.
        seed: chooses scenes and noises.
        timesteps: noise levels, as in `noise_levels`.
        languages: those of the captions.
        wide: whether the pictures are half as wide again as high.
        is_drawn: whether scenes are drawn with their masks; if not, the model draws the captions itself.
        settings: of `attach`.
    """
    from promptweight.attention import attach

    generator = torch.Generator().manual_seed(seed)
    levels = noise_levels(pipeline.scheduler, timesteps)
    for place, drawn in enumerate(scenes(number, seed)):
        scene = replace(drawn, background="plain") if wide else drawn
        picture, masks = render(scene)
        if wide:
            picture, masks = widened(picture, masks)
        solid = torch.from_numpy(masks if is_drawn else masks[:0]) > 0.5
        for language in languages:
            caption = plainly(scene, language)
            clean = encoded(pipeline, picture) if is_drawn else own_latents(pipeline, caption, seed + place)
            if language == languages[0]:  # the same noise in every language
                noise = torch.randn(clean.shape, generator=generator).to(clean)
            with attach(pipeline, caption, **settings) as session:
                for level in levels:
                    session.reset()
                    noisy = level.signal * clean + level.noise * noise
                    predicted = predict(pipeline, noisy, level.timestep, session.inputs)
                    yield Noised(place, scene, language, solid, level, session, noisy, predicted)


@torch.no_grad()
def look_at(
    pipeline: Any, scene: Scene, caption: str, *, timestep: int = 400, seed: int = 0, **settings: Any
) -> tuple[Tensor, AttentionMaps]:
    """Show a pipeline one scene through noise, beside a caption, in one call of its denoiser.

    Args:
        pipeline: one that draws the built-in world.
        scene: what it is shown.
        caption: what is said of it, true or not.
        timestep: the noise level, as in `noise_levels`.
        seed: chooses the noise.
        settings: of `attach`.

    Returns:
        The masks of the things, (things, height, width) bool, and what the words and places attended to.
    """
    from promptweight.attention import attach

    picture, masks = render(scene)
    clean = encoded(pipeline, picture)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed)).to(clean)
    (level,) = noise_levels(pipeline.scheduler, (timestep,))
    with attach(pipeline, caption, **settings) as session:
        predict(pipeline, level.signal * clean + level.noise * noise, level.timestep, session.inputs)
    return torch.from_numpy(masks) > 0.5, session.maps


def encoded(pipeline: Any, picture: np.ndarray) -> Tensor:
    """The latents of a picture (height, width, 3), as the denoiser takes them."""
    factor, shift = pipeline.vae.config.scaling_factor, pipeline.vae.config.shift_factor or 0.0
    pixels = to_pixels([picture]).to(pipeline.device, pipeline.vae.dtype)
    latents: Tensor = (pipeline.vae.encode(pixels).latent_dist.mode() - shift) * factor
    return latents


def own_latents(pipeline: Any, caption: str, seed: int) -> Tensor:
    """The latents of the picture that the model makes of a caption in 25 steps."""
    from promptweight.models import default_guidance_scale

    latents: Tensor = pipeline(
        caption,
        num_inference_steps=25,
        guidance_scale=default_guidance_scale(pipeline),
        generator=torch.Generator().manual_seed(seed),
        output_type="latent",
    ).images
    return latents


def is_called_plainly(pipeline: Any) -> bool:
    """Whether `predict` can call the denoiser: one of Stable Diffusion 1, 2 or 3, with nothing added."""
    unet = getattr(pipeline, "unet", None)
    if unet is not None:
        return unet.config.addition_embed_type is None
    return type(getattr(pipeline, "transformer", None)).__name__ == "SD3Transformer2DModel"


def scenes(number: int, seed: int) -> Iterator[Scene]:
    """Yield scenes of one and two things, side by side or one above the other, that no training drew."""
    rng = Random(f"localisation/{seed}")
    while number:
        scene = random_scene(rng)
        if len(scene.things) <= 2 and scene.relation not in ("ride", "mirror"):
            number -= 1
            yield scene


@dataclass(frozen=True)
class NoiseLevel:
    """How much of picture and noise a noised latent holds, and the timestep the denoiser is told."""

    name: int
    """The timestep of Stable Diffusion's schedule with this ratio of signal to noise."""
    timestep: float
    signal: float
    noise: float


def noise_levels(scheduler: Any, timesteps: tuple[int, ...] = TIMESTEPS) -> list[NoiseLevel]:
    """Return the noise levels of a scheduler, variance preserving or flow matching."""
    if hasattr(scheduler, "alphas_cumprod"):
        shares = [float(scheduler.alphas_cumprod[timestep]) for timestep in timesteps]
        return [
            NoiseLevel(timestep, timestep, share**0.5, (1 - share) ** 0.5)
            for timestep, share in zip(timesteps, shares, strict=True)
        ]
    levels = []
    for level in noise_levels(unet.scheduler(), timesteps):
        sigma = level.noise / (level.signal + level.noise)
        end = scheduler.config.num_train_timesteps
        levels.append(NoiseLevel(level.name, end * sigma, 1 - sigma, sigma))
    return levels


def _predict(pipeline: Any, noisy: Tensor, timestep: float, inputs: dict[str, Any]) -> None:
    """Run the denoiser once, for what its attention shows."""
    time = torch.tensor([timestep], device=noisy.device)
    if hasattr(pipeline, "unet"):
        pipeline.unet(noisy, time, encoder_hidden_states=inputs["prompt_embeds"])
    else:
        pipeline.transformer(
            noisy, inputs["prompt_embeds"], inputs["pooled_prompt_embeds"], time.to(noisy.dtype)
        )
