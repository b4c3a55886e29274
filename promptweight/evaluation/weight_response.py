"""Response of images to the weight of a phrase: the same seeds at every weight, for every weighting.

The first object of a pair carries the weight, as a phrase. The metrics of an image are the presence of the
object, the area of its colors, the part of the other object's square that they cover, and the change outside
the object.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from promptweight.evaluation.caption_images import alternate_languages, generate_images, write_captions
from promptweight.evaluation.checkpoint import Checkpoint
from promptweight.evaluation.recognizer import SceneAnalysis, analyze_image, reduce_image
from promptweight.mini import Scene, phrase, plainly
from promptweight.weighting import WEIGHTING_NAMES, Weighting

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline

WEIGHTS = (-1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5)


WEIGHTINGS = (
    *(Weighting(name) for name in WEIGHTING_NAMES if name != "none"),
    *(Weighting("attention", steps=steps) for steps in ((0, 0.2), (0, 0.5), (0.5, 1))),
)
"""Every weighting, and `attention` in parts of the run."""


def select_weightings(texts: Sequence[str]) -> tuple[Weighting, ...]:
    """Return the weightings of these texts, each once; `WEIGHTINGS` if there are none.

    Raises:
        SettingError: a text is not a weighting.
    """
    return tuple(dict.fromkeys(map(Weighting.parse, texts))) or WEIGHTINGS


@dataclass(frozen=True)
class WeightSample:
    """Metrics of one image at one weight, relative to the image of the same seed at weight 1."""

    scene: int
    weighting: str
    weight: float
    present: float
    """1 if the weighted object is present in its color, else 0."""
    right_color: float
    """1 if an object of its kind is present in its color, 0 in another color; NaN if the kind is missing."""
    other_present: float
    area: float
    """Fraction of the image in the weighted object's colors."""
    spill: float
    """Fraction of the other object's square, as at weight 1, in these colors."""
    outside: float
    """Mean difference of pixels (0 to 1) outside the squares of the object at both weights."""


@dataclass(frozen=True)
class Baseline:
    """Images of scenes at weight 1, generated once for all comparisons."""

    languages: list[str]
    seeds: list[int]
    images: list[NDArray[np.uint8]]
    analyses: list[SceneAnalysis]

    @property
    def digest(self) -> str:
        """SHA-256 of the images, which identifies the model: other weights generate other images."""
        return hashlib.sha256(b"".join(image.tobytes() for image in self.images)).hexdigest()


@dataclass(frozen=True)
class ChangeSample:
    """Change of one image by a weight, independent of its content."""

    scene: int
    weighting: str
    weight: float
    change: float
    """Mean difference of pixels (0 to 1) from the image of the same seed at weight 1."""


def weight_caption(scene: Scene, language: str, weight: float, options: str = "") -> str:
    """Return the scene's caption with a weight, and options without braces, on its first phrase."""
    caption, core = plainly(scene, language), phrase(scene.things[0], language).core
    if weight == 1 and not options:
        return caption
    braces = f"{{{options}}}" if options else ""
    return re.sub(re.escape(core), lambda match: f"({match[0]}:{weight:g}{braces})", caption, count=1)


def generate_baseline(pipeline: Pipeline, scenes: Sequence[Scene], seed: int, steps: int = 25) -> Baseline:
    """Generate every scene without weights; captions alternate between Portuguese and English."""
    seeds = _scene_seeds(scenes, seed)
    images = list(generate_images(pipeline, write_captions(scenes), seeds, steps=steps))
    analyses = [analyze_image(image, scene) for image, scene in zip(images, scenes, strict=True)]
    return Baseline(alternate_languages(len(scenes)), seeds, images, analyses)


def measure_weight_response(
    pipeline: Pipeline,
    scenes: Sequence[Scene],
    baseline: Baseline,
    *,
    steps: int = 25,
    weightings: Sequence[Weighting] = WEIGHTINGS,
    weights: Sequence[float] = WEIGHTS,
    checkpoint: Checkpoint | None = None,
) -> list[WeightSample]:
    """Generate every scene with every weighting at every weight.

    Args:
        pipeline: a pipeline of the built-in world.
        scenes: pairs of objects. Scenes whose baseline image lacks an object are omitted: they have nothing
            to compare with.
        baseline: the result of `generate_baseline` for these scenes and steps.
        steps: steps of each image.
        weightings: the weightings.
        weights: the weights.
        checkpoint: store of the finished weightings and weights; None to measure all.
    """
    complete = [i for i, analysis in enumerate(baseline.analyses) if analysis.has(0) and analysis.has(1)]

    def measure(weighting: Weighting, weight: float) -> list[dict[str, Any]]:
        if weight == 1:
            images = [baseline.images[i] for i in complete]
        else:
            prompts = [weight_caption(scenes[i], baseline.languages[i], weight) for i in complete]
            seeds = [baseline.seeds[i] for i in complete]
            images = list(generate_images(pipeline, prompts, seeds, steps=steps, weighting=weighting))
        rows = []
        for i, image in zip(complete, images, strict=True):
            analysis = analyze_image(image, scenes[i])
            metrics = compare_with_baseline(image, analysis, baseline.images[i], baseline.analyses[i])
            rows.append(asdict(WeightSample(i, str(weighting), weight, **metrics)))
        return rows

    samples: list[WeightSample] = []
    for weighting in weightings:
        for weight in weights:
            measure_case = partial(measure, weighting, weight)
            rows = (
                measure_case()
                if checkpoint is None
                else checkpoint.get_or_measure((str(weighting), weight), measure_case)
            )
            samples += [WeightSample(**row) for row in rows]
    return samples


def compare_with_baseline(
    image: NDArray[np.uint8],
    analysis: SceneAnalysis,
    baseline_image: NDArray[np.uint8],
    baseline_analysis: SceneAnalysis,
) -> dict[str, float]:
    """Return the metrics of an image relative to the image at weight 1."""
    other_box = baseline_analysis.box(1)
    outside = ~(baseline_analysis.box(0) | analysis.box(0))
    after, before = (reduce_image(each).astype(np.float32) for each in (image, baseline_image))
    change = np.abs(after - before).mean(-1) / 255
    return {
        "present": float(analysis.has(0)),
        "right_color": float(analysis.has(0)) if analysis.has_kind[0] else float("nan"),
        "other_present": float(analysis.has(1)),
        "area": analysis.area(0),
        "spill": float(analysis.color_masks[0][other_box].mean()) if other_box.any() else float("nan"),
        "outside": float(change[outside].mean()),
    }


def measure_image_change(
    pipeline: Pipeline,
    scenes: Sequence[Scene],
    *,
    seed: int,
    steps: int = 25,
    weightings: Sequence[Weighting] = WEIGHTINGS,
    weights: Sequence[float] = WEIGHTS,
) -> list[ChangeSample]:
    """Measure the change of images by weights for any model, without analysis of the content.

    Args:
        pipeline: a text-to-image pipeline.
        scenes: the scenes, with English captions.
        seed: selects the noise.
        steps: steps of each image.
        weightings: the weightings.
        weights: the weights.
    """
    seeds = _scene_seeds(scenes, seed)
    captions = write_captions(scenes, ("en",))
    baseline = list(generate_images(pipeline, captions, seeds, steps=steps, batch_size=1))
    samples: list[ChangeSample] = []
    for weighting in weightings:
        for weight in weights:
            images = baseline
            if weight != 1:
                prompts = [weight_caption(scene, "en", weight) for scene in scenes]
                images = list(
                    generate_images(pipeline, prompts, seeds, steps=steps, batch_size=1, weighting=weighting)
                )
            for index, (image, before) in enumerate(zip(images, baseline, strict=True)):
                change = float(np.abs(image.astype(np.float32) - before).mean() / 255)
                samples.append(ChangeSample(index, str(weighting), weight, change))
    return samples


def _scene_seeds(scenes: Sequence[Scene], seed: int) -> list[int]:
    return [1_000_000 * (seed + 11) + index for index in range(len(scenes))]
