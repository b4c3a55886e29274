"""Effect of negative prompts: how often an object of the prompt vanishes if the negative prompt names it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from promptweight.attention import NegativeGuidance
from promptweight.evaluation.caption_images import alternate_languages, generate_images, write_captions
from promptweight.evaluation.recognizer import analyze_image
from promptweight.mini import Scene, phrase

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline


@dataclass(frozen=True)
class NegativeCase:
    """A way in which the negative prompt acts.

    Attributes:
        name: its name in reports.
        guidance: the negative guidance.
        guidance_scale: the scale of classifier-free guidance; None for the model's default.
    """

    name: str
    guidance: NegativeGuidance
    guidance_scale: float | None = 1.0


NEGATIVE_CASES = (
    NegativeCase("none", NegativeGuidance("cfg")),
    NegativeCase("nag", NegativeGuidance("nag")),
    NegativeCase("vsf", NegativeGuidance("vsf")),
    NegativeCase("cfg", NegativeGuidance("cfg"), None),
    NegativeCase("cfg + nag", NegativeGuidance("nag"), None),
    NegativeCase("cfg + vsf", NegativeGuidance("vsf"), None),
)
"""Guidance scale 1, at which the negative prompt does nothing by itself, and the model's default."""


@dataclass(frozen=True)
class NegativeSample:
    """Objects of one image whose negative prompt names the first one."""

    scene: int
    case: str
    """Name of a `NegativeCase`."""
    named_present: bool
    """True if the named object is present in its color."""
    named_kind_present: bool
    """True if an object of its kind is present in any color."""
    other_present: bool
    """True if the other object is present in its color."""


def measure_negative_prompts(
    pipeline: Pipeline,
    scenes: Sequence[Scene],
    *,
    seed: int,
    steps: int = 25,
    cases: Sequence[NegativeCase] = NEGATIVE_CASES,
) -> list[NegativeSample]:
    """Generate pairs of objects with a negative prompt that names the first, from the same noise.

    Scenes are omitted in a guidance scale at which the image without a negative prompt lacks an object: there
    is nothing that could vanish or stay.

    Args:
        pipeline: a pipeline of the built-in world.
        scenes: pairs of objects; their captions alternate between Portuguese and English.
        seed: selects the noise.
        steps: steps of each image.
        cases: the ways in which the negative prompt acts.
    """
    captions = write_captions(scenes)
    names = [
        phrase(scene.things[0], language).core
        for scene, language in zip(scenes, alternate_languages(len(scenes)), strict=True)
    ]
    seeds = [1_000_000 * (seed + 61) + index for index in range(len(scenes))]

    def draw(
        chosen: Sequence[int], negative_prompts: Sequence[str], case: NegativeCase
    ) -> Iterator[NDArray[np.uint8]]:
        return generate_images(
            pipeline,
            [captions[index] for index in chosen],
            [seeds[index] for index in chosen],
            negative_prompts=negative_prompts,
            steps=steps,
            guidance_scale=case.guidance_scale,
            negative_guidance=case.guidance,
        )

    complete: dict[float | None, list[int]] = {}
    samples: list[NegativeSample] = []
    for case in cases:
        if case.guidance_scale not in complete:
            plain = NegativeCase("plain", NegativeGuidance("cfg"), case.guidance_scale)
            images = draw(range(len(scenes)), [""] * len(scenes), plain)
            analyses = [analyze_image(image, scene) for image, scene in zip(images, scenes, strict=True)]
            complete[case.guidance_scale] = [
                index for index, analysis in enumerate(analyses) if analysis.has(0) and analysis.has(1)
            ]
        chosen = complete[case.guidance_scale]
        images = draw(chosen, [names[index] for index in chosen], case)
        for index, image in zip(chosen, images, strict=True):
            analysis = analyze_image(image, scenes[index])
            samples.append(
                NegativeSample(index, case.name, analysis.has(0), bool(analysis.has_kind[0]), analysis.has(1))
            )
    return samples
