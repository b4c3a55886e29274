"""Attention shares against their targets, and presence of objects with and without balanced shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from promptweight.evaluation.recognizer import recognize
from promptweight.mini import Scene, phrase, plainly

TARGETS = (0.1, 0.25, 0.4, 0.55, 0.7)
CONDITIONS: dict[str, dict[str, Any]] = {"unbalanced": {}, "balanced": {"balance": True}}
"""Arguments of `attach` by condition of `measure_balance`."""


@dataclass(frozen=True)
class TargetSample:
    """Target and shares of one phrase."""

    scene: int
    target: float
    share: float
    """Share while the weight is solved at every step."""
    weight: float
    """Geometric mean of the solved weights."""
    fixed_share: float
    """Share with this weight at all steps."""


@dataclass(frozen=True)
class PresenceSample:
    """Number of a prompt's objects that are present in the image."""

    scene: int
    condition: str
    """A key of `CONDITIONS`."""
    objects: int
    present: int


def measure_targets(
    pipeline: Any, scenes: Sequence[Scene], *, seed: int, steps: int = 25, targets: Sequence[float] = TARGETS
) -> list[TargetSample]:
    """Measure the share of the first object's phrase for every target, with solved and with fixed weights.

    Args:
        pipeline: a text-to-image pipeline.
        scenes: the scenes; their captions alternate between Portuguese and English.
        seed: selects the noise.
        steps: steps of each image.
        targets: shares of the words' attention, 0 to 1.
    """
    from promptweight.attention import attach
    from promptweight.models import get_default_guidance_scale

    samples: list[TargetSample] = []
    for index, scene in enumerate(scenes):
        language = ("pt", "en")[index % 2]
        prompt, core = plainly(scene, language), phrase(scene.things[0], language).core
        call = {
            "num_inference_steps": steps,
            "guidance_scale": get_default_guidance_scale(pipeline),
            "output_type": "latent",
        }
        for target in targets:
            generator = torch.Generator().manual_seed(1_000_000 * (seed + 31) + index)
            with attach(pipeline, prompt, targets={core: target}, record=False) as session:
                pipeline(**session.inputs, **call, generator=generator)
                (solved,) = session.share_results[0]
            weighted = prompt.replace(core, f"({core}:{solved.weight:.6f})", 1)
            generator = torch.Generator().manual_seed(1_000_000 * (seed + 31) + index)
            with attach(
                pipeline, weighted, space="attention", targets={core: target}, record=False
            ) as session:
                session.freeze_weights()
                pipeline(**session.inputs, **call, generator=generator)
                (fixed,) = session.share_results[0]
            fixed_share = sum(fixed.shares[1:]) / max(1, len(fixed.shares) - 1)
            samples.append(TargetSample(index, target, solved.share, solved.weight, fixed_share))
    return samples


def measure_balance(
    pipeline: Any, scenes: Sequence[Scene], *, seed: int, steps: int = 25
) -> list[PresenceSample]:
    """Count the objects of scenes that are present with and without balanced shares, from the same noise."""
    from promptweight.evaluation.weight_response import generate_weighted_images

    languages = [("pt", "en")[index % 2] for index in range(len(scenes))]
    prompts = [plainly(scene, language) for scene, language in zip(scenes, languages, strict=True)]
    seeds = [1_000_000 * (seed + 41) + index for index in range(len(scenes))]
    samples: list[PresenceSample] = []
    for condition, settings in CONDITIONS.items():
        images = generate_weighted_images(pipeline, prompts, seeds, steps=steps, **settings)
        for index, image in enumerate(images):
            detected = {(each.kind, each.color) for each in recognize(np.asarray(image))}
            things = scenes[index].things
            present = sum((thing.kind, thing.color) in detected for thing in things)
            samples.append(PresenceSample(index, condition, len(things), present))
    return samples
