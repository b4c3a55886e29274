"""Attention shares of phrases against their targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from promptweight.evaluation.caption_images import alternate_languages
from promptweight.mini import Scene, phrase, plainly

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline

TARGETS = (0.1, 0.25, 0.4, 0.55, 0.7)


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


def measure_targets(
    pipeline: Pipeline,
    scenes: Sequence[Scene],
    *,
    seed: int,
    steps: int = 25,
    targets: Sequence[float] = TARGETS,
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
    from promptweight.generation import generate
    from promptweight.models import get_default_guidance_scale

    samples: list[TargetSample] = []
    for index, (scene, language) in enumerate(zip(scenes, alternate_languages(len(scenes)), strict=True)):
        prompt, core = plainly(scene, language), phrase(scene.things[0], language).core
        seed_of_scene = 1_000_000 * (seed + 31) + index
        for target in targets:
            result = generate(
                pipeline,
                prompt,
                targets={core: target},
                seed=seed_of_scene,
                num_inference_steps=steps,
                record=False,
            )
            ((solved,),) = result.shares
            weighted = prompt.replace(core, f"({core}:{solved.weight:.6f})", 1)
            with attach(
                pipeline, weighted, weighting="attention", targets={core: target}, record=False
            ) as session:
                session.freeze_weights()
                pipeline(
                    **session.inputs,
                    num_inference_steps=steps,
                    guidance_scale=get_default_guidance_scale(pipeline),
                    generator=torch.Generator().manual_seed(seed_of_scene),
                    output_type="latent",
                )
                (fixed,) = session.share_results[0]
            fixed_share = sum(fixed.shares[1:]) / max(1, len(fixed.shares) - 1)
            samples.append(TargetSample(index, target, solved.share, solved.weight, fixed_share))
    return samples
