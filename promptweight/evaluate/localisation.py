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

from promptweight.evaluate.statistics import Mean, Share
from promptweight.mini.captions import LANGUAGES, phrase, plainly
from promptweight.mini.learn_autoencoder import to_pixels
from promptweight.mini.scenes import Scene, random_scene, render

TIMESTEPS = (100, 200, 300, 400, 500, 600)
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


@torch.no_grad()
def samples(
    pipeline: Any, *, number: int = 60, seed: int = 0, timesteps: tuple[int, ...] = TIMESTEPS
) -> Iterator[Sample]:
    """Yields a sample for every scene, language, timestep, thing and part of its phrase."""
    from promptweight.attention import attach

    generator = torch.Generator().manual_seed(seed)
    signal = pipeline.scheduler.alphas_cumprod
    factor = pipeline.vae.config.scaling_factor
    for scene in scenes(number, seed):
        picture, masks = render(scene)
        pixels = to_pixels([picture]).to(pipeline.device, pipeline.vae.dtype)
        latents = pipeline.vae.encode(pixels).latent_dist.mode() * factor
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        solid = torch.from_numpy(masks) > 0.5
        for language in LANGUAGES:
            with attach(pipeline, plainly(scene, language)) as session:
                for timestep in timesteps:
                    session.reset()
                    alpha = signal[timestep].to(latents)
                    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
                    pipeline.unet(noisy, timestep, encoder_hidden_states=session.inputs["prompt_embeds"])
                    yield from _read(session.maps, scene, solid, language, timestep)


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
