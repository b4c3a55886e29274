"""Effect of a weight confined to one half of the image: fraction of its object that lies in that half."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from promptweight.evaluation.caption_images import generate_images
from promptweight.evaluation.checkpoint import Checkpoint
from promptweight.evaluation.recognizer import SceneAnalysis, analyze_image
from promptweight.evaluation.weight_response import Baseline, weight_caption
from promptweight.mini import Scene
from promptweight.weighting import KEY_WEIGHTINGS, KeyWeighting

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline

REGION_WEIGHT = 2.5


@dataclass(frozen=True)
class RegionSample:
    """Fraction of the weighted object in the region of its weight, with and without the weight."""

    scene: int
    weighting: str
    region: str
    inside: float
    inside_baseline: float
    """The same in the image at weight 1."""


def measure_region_response(
    pipeline: Pipeline,
    scenes: Sequence[Scene],
    baseline: Baseline,
    *,
    steps: int = 25,
    checkpoint: Checkpoint | None = None,
) -> list[RegionSample]:
    """Generate every scene with a high weight on its first phrase, in the half without its object.

    Args:
        pipeline: a pipeline of the built-in world.
        scenes: pairs of objects.
        baseline: the result of `weight_response.generate_baseline` for these scenes and steps.
        steps: steps of each image.
        checkpoint: store of finished weightings; None to measure all.
    """
    halves = ["right" if left_half_share(analysis) > 0.5 else "left" for analysis in baseline.analyses]

    def measure(weighting: KeyWeighting) -> list[dict[str, Any]]:
        prompts = [
            weight_caption(scene, language, REGION_WEIGHT, f"region={half}")
            for scene, language, half in zip(scenes, baseline.languages, halves, strict=True)
        ]
        images = generate_images(pipeline, prompts, baseline.seeds, steps=steps, weighting=weighting)
        rows = []
        for index, image in enumerate(images):
            inside = left_half_share(analyze_image(image, scenes[index]))
            before = left_half_share(baseline.analyses[index])
            if halves[index] == "right":
                inside, before = 1 - inside, 1 - before
            rows.append(asdict(RegionSample(index, weighting, halves[index], inside, before)))
        return rows

    by_weighting = [
        measure(weighting)
        if checkpoint is None
        else checkpoint.get_or_measure(("region", weighting), partial(measure, weighting))
        for weighting in KEY_WEIGHTINGS
    ]
    return [RegionSample(**row) for rows in by_weighting for row in rows]


def left_half_share(analysis: SceneAnalysis) -> float:
    """Return the fraction of the first object's pixels in the left half; 0.5 if it has none."""
    mask = analysis.color_masks[0]
    return float(mask[:, : mask.shape[1] // 2].sum() / mask.sum()) if mask.any() else 0.5
