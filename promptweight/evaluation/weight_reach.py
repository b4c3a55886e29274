"""Reach of weights: what is left of a word at weight 0, in the prediction of the denoiser.

The numbers are those of `promptweight.generation.measure_reach`, for the noun, the color and the whole phrase
of an object, in both languages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptweight.evaluation.localization import PARTS
from promptweight.generation import measure_reach
from promptweight.mini import LANGUAGES, Scene, phrase, plainly
from promptweight.weighting import Weighting

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline


@dataclass(frozen=True)
class ReachSample:
    """Residual of one word or phrase of a scene at weight 0."""

    scene: int
    weighting: str
    language: str
    part: str
    """One of `PARTS`."""
    residual: float
    """Distance to the prediction without the word, as a part of the distance that the word makes."""


def measure_residuals(
    pipeline: Pipeline,
    scenes: Sequence[Scene],
    weightings: Sequence[Weighting],
    *,
    seed: int = 0,
    steps: int = 25,
) -> list[ReachSample]:
    """Measure the residual of the first object's noun, color and phrase in every scene and language.

    Args:
        pipeline: a text-to-image pipeline.
        scenes: the scenes; every word of the first object occurs once in its caption.
        weightings: the weightings.
        seed: seed of the noise of the first scene; each scene has the next one.
        steps: steps of the run.
    """
    samples = []
    for index, scene in enumerate(scenes):
        for language in LANGUAGES:
            words = phrase(scene.things[0], language)
            for weighting in weightings:
                report = measure_reach(
                    pipeline,
                    plainly(scene, language),
                    phrases=(words.noun, words.adjective, words.core),
                    weighting=weighting,
                    seed=seed + index,
                    num_inference_steps=steps,
                )
                samples += [
                    ReachSample(index, str(weighting), language, part, found.residual)
                    for part, found in zip(PARTS, report.phrases, strict=True)
                    if found.residual is not None
                ]
    return samples
