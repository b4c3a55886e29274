"""Precision and recall of the early warning of missing or mixed-up objects, against the finished images.

`generate` checks the maps after a fifth of the steps and warns above `LEAK_THRESHOLD`, which was selected on
other images. `assess_threshold` measures that threshold; `assess_selected_threshold` measures one that half
of these images select.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from promptweight.evaluation.prompt_fidelity import SceneDetections, held_out_scenes
from promptweight.evaluation.recognizer import recognize
from promptweight.evaluation.statistics import Proportion, area_under_roc
from promptweight.mini import COLORS, GROUP_SIDE, KINDS, Scene, Thing, phrase, plainly

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline

STEPS, WARNING_STEP = 25, 5
PROMPT_TYPES = ("two objects", "two of one kind", "three objects", "four objects")
"""Types of prompts. Training scenes have up to three objects, of different kinds."""


@dataclass(frozen=True)
class WarningSample:
    """Early score of an image or of one of its phrases, and the state of the finished image."""

    scene: int
    prompt_type: str
    """One of `PROMPT_TYPES`."""
    score: float
    """Score of the phrase, or the highest of the image; see `promptweight.generation.early_warning`."""
    is_missing: bool
    """True if the phrase's object, or any of the image's, is not present in its color."""
    is_misbound: bool
    """True if its kind, or any kind of the prompt, is present in a color that the prompt does not give it."""


@dataclass(frozen=True)
class WarningQuality:
    """Quality of the warning at one threshold."""

    threshold: float
    precision: Proportion
    recall: Proportion
    base_rate: Proportion
    """Proportion of samples with the fault."""
    area: float
    """Area under the ROC curve: the probability that a faulty sample has a higher score than another."""


def sample_scenes(number: int, seed: int) -> list[tuple[str, Scene]]:
    """Return `number` held-out scenes of each prompt type; positions and sizes are not used."""
    rng = Random(f"leakage/{seed}")  # this key selects the scenes of the published reports
    scenes: dict[str, list[Scene]] = {
        "two objects": list(held_out_scenes(number, 2, False, seed)),
        "three objects": list(held_out_scenes(number, 3, False, seed)),
    }
    for name, objects in (("two of one kind", 2), ("four objects", 4)):
        scenes[name] = []
        for _ in range(number):
            kinds = [rng.choice(KINDS)] * 2 if objects == 2 else rng.sample(KINDS, objects)
            pairs = zip(kinds, rng.sample(list(COLORS), objects), strict=True)
            scenes[name].append(Scene(tuple(Thing(kind, color, 0, 0, GROUP_SIDE) for kind, color in pairs)))
    return [(name, scene) for name in PROMPT_TYPES for scene in scenes[name]]


def write_caption(scene: Scene, language: str) -> str:
    """Return the scene's caption; four objects or more are listed as three are."""
    if len(scene.things) < 4:
        return plainly(scene, language)
    *first, last = [str(phrase(thing, language)) for thing in scene.things]
    return f"{', '.join(first)} {'e' if language == 'pt' else 'and'} {last}"


def has_misbound_object(result: SceneDetections, thing: Thing | None = None) -> bool:
    """Return True if an object, or any if None, has a color that the prompt does not give its kind."""
    pairs = {(each.kind, each.color) for each in result.scene.things}
    kinds = {each.kind for each in result.scene.things} if thing is None else {thing.kind}
    is_present = thing is not None and result.match(thing) is not None
    return not is_present and any(
        each.kind in kinds and (each.kind, each.color) not in pairs for each in result.detections
    )


def measure_missing_concepts(
    pipeline: Pipeline,
    scenes: Sequence[tuple[str, Scene]],
    *,
    seed: int,
    batch_size: int = 8,
    steps: int = STEPS,
) -> tuple[list[WarningSample], list[WarningSample]]:
    """Generate scenes of two objects or more, and score their maps after a fifth of the steps.

    Args:
        pipeline: a pipeline of the built-in world.
        scenes: the result of `sample_scenes`. Two captions in Portuguese alternate with two in English.
        seed: selects the noise.
        batch_size: images per batch.
        steps: steps of each image.

    Returns:
        The samples of the images and those of their phrases.
    """
    from promptweight.attention import attach
    from promptweight.generation import score_leaks

    of_images: list[WarningSample] = []
    of_phrases: list[WarningSample] = []
    for first in range(0, len(scenes), batch_size):
        batch = scenes[first : first + batch_size]
        numbers = range(first, first + len(batch))
        prompts = [
            write_caption(scene, ("pt", "en")[number // 2 % 2])  # both languages in either half of the scenes
            for number, (_, scene) in zip(numbers, batch, strict=True)
        ]
        generators = [torch.Generator().manual_seed(1_000_000 * (seed + 21) + number) for number in numbers]
        with attach(pipeline, prompts) as session:
            images, maps = generate_with_early_maps(pipeline, session, generators, steps)
        for index, ((prompt_type, scene), image) in enumerate(zip(batch, images, strict=True)):
            pixels = (image * 255).round().astype(np.uint8)
            detections = tuple(recognize(pixels, max(4, len(scene.things))))
            result = SceneDetections(scene, prompts[index], detections)
            scores = [leak.score for leak in score_leaks(maps, index)]
            rows = [
                WarningSample(
                    first + index,
                    prompt_type,
                    score,
                    result.match(thing) is None,
                    has_misbound_object(result, thing),
                )
                for score, thing in zip(scores, scene.things, strict=True)
            ]
            of_phrases += rows
            of_images.append(
                WarningSample(
                    first + index,
                    prompt_type,
                    max(scores),
                    any(row.is_missing for row in rows),
                    has_misbound_object(result),
                )
            )
    return of_images, of_phrases


def generate_with_early_maps(
    pipeline: Pipeline, session: Any, generators: list[torch.Generator], steps: int
) -> tuple[NDArray[np.float32], Any]:
    """Run the pipeline; return its images, 0 to 1, and the maps that `generate` would check."""
    from promptweight.generation import EarlyLeakCheck
    from promptweight.models import get_default_guidance_scale

    check = EarlyLeakCheck(session, len(generators))

    def on_step_end(_pipe: Any, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        check.on_step_end(step + 1, steps)
        return tensors

    output = pipeline(
        **session.inputs,
        num_inference_steps=steps,
        guidance_scale=get_default_guidance_scale(pipeline),
        generator=generators,
        output_type="np",
        callback_on_step_end=on_step_end,
    )
    return output.images, check.maps


def assess_selected_threshold(samples: Sequence[WarningSample], fault: str) -> WarningQuality:
    """Select the threshold with the best F-score on every second scene, and assess it on the others.

    Args:
        samples: samples of images or of phrases.
        fault: "is_misbound" or "is_missing".
    """
    selection, evaluation = ([each for each in samples if each.scene % 2 == half] for half in (0, 1))
    threshold = max(
        (each.score for each in selection),
        key=lambda limit: f_score([(each.score >= limit, getattr(each, fault)) for each in selection]),
        default=0.0,
    )
    pairs = [(each.score >= threshold, bool(getattr(each, fault))) for each in evaluation]
    return _summarize(pairs, threshold, samples, fault)


def assess_threshold(samples: Sequence[WarningSample], fault: str, threshold: float) -> WarningQuality:
    """Assess a given threshold on all samples; arguments as in `assess_selected_threshold`."""
    pairs = [(each.score > threshold, bool(getattr(each, fault))) for each in samples]
    return _summarize(pairs, threshold, samples, fault)


def f_score(pairs: Sequence[tuple[bool, bool]]) -> float:
    """Return the harmonic mean of precision and recall of (warned, faulty) pairs."""
    correct = sum(warned and faulty for warned, faulty in pairs)
    either = sum(warned for warned, _ in pairs) + sum(faulty for _, faulty in pairs)
    return 2 * correct / either if either else 0.0


def _summarize(
    pairs: Sequence[tuple[bool, bool]], threshold: float, samples: Sequence[WarningSample], fault: str
) -> WarningQuality:
    """Return the quality of (warned, faulty) pairs; the area is that of all samples."""
    return WarningQuality(
        threshold,
        Proportion.from_outcomes(faulty for warned, faulty in pairs if warned),
        Proportion.from_outcomes(warned for warned, faulty in pairs if faulty),
        Proportion.from_outcomes(faulty for _, faulty in pairs),
        area_under_roc(
            [each.score for each in samples if getattr(each, fault)],
            [each.score for each in samples if not getattr(each, fault)],
        ),
    )
