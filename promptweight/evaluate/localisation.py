"""Do a word's maps find the thing it names? Drawn scenes are noised, passed through the model, and compared.

Nothing is generated: the masks are exact because the scenes were drawn. Maps are read for the noun alone,
the colour alone and the whole noun phrase (a causal text encoder puts what it knows of a phrase on its last
word).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor

from promptweight.evaluation.statistics import Mean, Share
from promptweight.mini.captions import LANGUAGES, phrase, plainly
from promptweight.mini.scenes import Scene, random_scene, render
from promptweight.mini.training import unet
from promptweight.mini.training.autoencoder import to_pixels

TIMESTEPS = (100, 200, 300, 400, 500, 600)
"""Of Stable Diffusion's noise schedule; other schedules are asked at the same ratios of signal to noise."""
PARTS = ("noun", "colour", "phrase")
THRESHOLDS = torch.linspace(0, 1, 51)[1:-1]


@dataclass(frozen=True)
class Sample:
    """How one map of one word found its thing."""

    language: str
    part: str
    timestep: int
    things: int
    iou: float
    """Intersection over union at the best threshold of this map: an upper bound."""
    hit: bool
    """The map's maximum lies on the thing."""
    astray: bool
    """The map's maximum lies on another thing."""


def best_iou(heat: Tensor, mask: Tensor) -> float:
    """The largest intersection over union of a mask (height, width; bool) with the map above a threshold."""
    low, high = heat.min(), heat.max()
    above = (heat - low) / (high - low).clamp_min(1e-12) > THRESHOLDS[:, None, None]
    union = (above | mask).sum((1, 2))
    return float(((above & mask).sum((1, 2)) / union.clamp_min(1)).max())


def points_at(heat: Tensor, mask: Tensor) -> bool:
    """Tells whether the map's maximum lies on the mask (the pointing game; Zhang et al., 2016)."""
    return bool(mask.flatten()[heat.argmax()])


def scenes(number: int, seed: int) -> Iterator[Scene]:
    """Yields scenes of one and two things, side by side or one above the other, that no training drew."""
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
    """Returns the noise levels of a scheduler, variance preserving or flow matching."""
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
    """Runs the denoiser once, for what its attention shows."""
    time = torch.tensor([timestep], device=noisy.device)
    if hasattr(pipeline, "unet"):
        pipeline.unet(noisy, time, encoder_hidden_states=inputs["prompt_embeds"])
    else:
        pipeline.transformer(
            noisy, inputs["prompt_embeds"], inputs["pooled_prompt_embeds"], time.to(noisy.dtype)
        )


@torch.no_grad()
def samples(
    pipeline: Any, *, number: int = 60, seed: int = 0, timesteps: tuple[int, ...] = TIMESTEPS
) -> Iterator[Sample]:
    """Yields a sample for every scene, language, noise level, thing and part of its phrase."""
    from promptweight.attention import attach

    generator = torch.Generator().manual_seed(seed)
    levels = noise_levels(pipeline.scheduler, timesteps)
    factor, shift = pipeline.vae.config.scaling_factor, pipeline.vae.config.shift_factor or 0.0
    for scene in scenes(number, seed):
        picture, masks = render(scene)
        pixels = to_pixels([picture]).to(pipeline.device, pipeline.vae.dtype)
        latents = pipeline.vae.encode(pixels).latent_dist.mode()
        latents = (latents - shift) * factor
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        solid = torch.from_numpy(masks) > 0.5
        for language in LANGUAGES:
            with attach(pipeline, plainly(scene, language)) as session:
                for level in levels:
                    session.reset()
                    noisy = level.signal * latents + level.noise * noise
                    _predict(pipeline, noisy, level.timestep, session.inputs)
                    yield from _read(session.maps, scene, solid, language, level.name)


def _read(maps: Any, scene: Scene, solid: Tensor, language: str, timestep: int) -> Iterator[Sample]:
    for index, thing in enumerate(scene.things):
        words = phrase(thing, language)
        others = solid[[other for other in range(len(scene.things)) if other != index]].any(0)
        for part, text in zip(PARTS, (words.noun, words.adjective, words.core), strict=True):
            heat = maps.word(text).tensor.cpu()
            yield Sample(
                language,
                part,
                timestep,
                len(scene.things),
                best_iou(heat, solid[index]),
                points_at(heat, solid[index]),
                points_at(heat, others),
            )


def summarise(measured: list[Sample]) -> dict[str, dict[str, Mean | Share]]:
    """Returns mean IoU and pointing shares by language and part, over timesteps and things."""
    table: dict[str, dict[str, Mean | Share]] = {}
    for language in LANGUAGES:
        for part in PARTS:
            own = [s for s in measured if (s.language, s.part) == (language, part)]
            table[f"{language} {part}"] = {
                "iou": Mean.of_all(s.iou for s in own),
                "pointing": Share.of_all(s.hit for s in own),
                "astray": Share.of_all(s.astray for s in own if s.things > 1),
            }
    return table
