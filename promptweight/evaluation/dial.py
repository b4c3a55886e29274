"""Dial of a built-in model: the interpolations at which a given fraction of weighted objects is present."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from promptweight.errors import SettingError
from promptweight.evaluation.caption_images import generate_images
from promptweight.evaluation.prompt_fidelity import held_out_scenes
from promptweight.evaluation.recognizer import analyze_image
from promptweight.evaluation.weight_response import generate_baseline, weight_caption
from promptweight.generation import UNCALIBRATED, Calibration, choose_gain, fit_dial, measure_effects
from promptweight.messages import message
from promptweight.mini.worlds import world_of
from promptweight.models import get_origin
from promptweight.weighting import CALIBRATED_RANGE, Weighting

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline

SEED_OFFSET = 7001
"""Distance from the seeds of the reports, so that a dial is measured on scenes that no report has."""


def calibrate_objects(
    pipeline: Pipeline,
    *,
    number: int = 40,
    seed: int = 0,
    steps: int = 25,
    evaluations: int = 9,
    progress: Callable[[float, float], object] | None = None,
) -> Calibration:
    """Calibrate `presence` for a model of the built-in world by the presence of objects.

    The effect of an interpolation is the fraction of pairs whose first object is present, among the pairs
    with both objects present at weight 1. The gain is the strongest of `GAINS` with which all second objects
    are present at weight 2.

    Args:
        pipeline: a pipeline of the built-in world.
        number: number of pairs of objects.
        seed: selects the pairs and the noise.
        steps: steps of each image.
        evaluations: number of interpolations that are measured.
        progress: called with each measured interpolation and its effect.

    Raises:
        SettingError: the pipeline does not draw the built-in world, or no image has both objects of its pair.
    """
    if world_of(pipeline) is None:
        raise SettingError(message("calibration-objects", name=get_origin(pipeline).model))
    scenes = list(held_out_scenes(number, 2, False, seed + SEED_OFFSET))
    baseline = generate_baseline(pipeline, scenes, seed + SEED_OFFSET, steps)
    complete = [i for i, analysis in enumerate(baseline.analyses) if analysis.has(0) and analysis.has(1)]

    if not complete:
        raise SettingError(message("calibration-objects-absent", number=number, steps=steps))

    def measure(weight: float, index: int, gain: float = 1.0) -> float:
        """Return the fraction of images that contain the object at this index of their scenes."""
        prompts = [weight_caption(scenes[i], baseline.languages[i], weight) for i in complete]
        seeds = [baseline.seeds[i] for i in complete]
        weighting = Weighting("presence", dial=UNCALIBRATED, gain=gain)
        images = generate_images(pipeline, prompts, seeds, steps=steps, weighting=weighting)
        found = [
            analyze_image(image, scenes[i]).has(index) for i, image in zip(complete, images, strict=True)
        ]
        return sum(found) / len(found)

    effects = measure_effects(lambda weight: measure(weight, 0), evaluations, progress)
    gain = choose_gain(lambda gain: measure(CALIBRATED_RANGE[1], 1, gain) == 1)
    return Calibration(Weighting("presence", dial=fit_dial(effects), gain=gain), effects, len(complete))
