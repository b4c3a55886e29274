"""Drawn scenes, noised and shown to a model once: what its attention shows where the truth is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from promptweight.evaluate.localisation import TIMESTEPS, NoiseLevel, noise_levels, scenes
from promptweight.mini.captions import LANGUAGES, plainly
from promptweight.mini.learn_autoencoder import to_pixels
from promptweight.mini.scenes import Scene, render

WIDER = 16
"""Pixels of ground that a wide picture has more on each side."""


@dataclass(frozen=True)
class Noised:
    """A scene, its words, and the session in which the model has just been called for one noise level."""

    number: int
    scene: Scene
    language: str
    masks: Tensor
    """One for each thing, (things, height, width) bool."""
    level: NoiseLevel
    session: Any
    latents: Tensor
    """The noised latents."""
    predicted: Tensor
    """What the model made of them."""


def predict(pipeline: Any, noisy: Tensor, timestep: float, inputs: dict[str, Any]) -> Tensor:
    """Calls the denoiser once, for the prompt alone; returns its prediction in the shape of the latents."""
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
    **settings: Any,
) -> Iterator[Noised]:
    """Yields every scene in every language at every noise level, inside its session.

    Args:
        pipeline: one that draws the built-in world.
        number: how many scenes; none of them was drawn in training.
        seed: chooses scenes and noises.
        timesteps: noise levels, as in `noise_levels`.
        languages: those of the captions.
        wide: whether the pictures are half as wide again as high.
        settings: of `attach`.
    """
    from promptweight.attention import attach

    generator = torch.Generator().manual_seed(seed)
    levels = noise_levels(pipeline.scheduler, timesteps)
    factor, shift = pipeline.vae.config.scaling_factor, pipeline.vae.config.shift_factor or 0.0
    for place, drawn in enumerate(scenes(number, seed)):
        scene = replace(drawn, background="plain") if wide else drawn
        picture, masks = render(scene)
        if wide:
            picture, masks = widened(picture, masks)
        pixels = to_pixels([picture]).to(pipeline.device, pipeline.vae.dtype)
        latents = (pipeline.vae.encode(pixels).latent_dist.mode() - shift) * factor
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        for language in languages:
            with attach(pipeline, plainly(scene, language), **settings) as session:
                for level in levels:
                    session.reset()
                    noisy = level.signal * latents + level.noise * noise
                    predicted = predict(pipeline, noisy, level.timestep, session.inputs)
                    solid = torch.from_numpy(masks) > 0.5
                    yield Noised(place, scene, language, solid, level, session, noisy, predicted)
