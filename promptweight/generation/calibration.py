"""Calibration of `presence`: the interpolations at which a model shows a given part of a phrase.

    calibration = calibrate(pipe, ["a (cat:1) on a red sofa", "a (dog:1) and a mouse"])
    calibration.weighting                   # presence dial=0.1:0.41+0.25:0.52+…
    generate(pipe, "a (cat:0.5) on a bed", weighting=calibration.weighting)

A model shows a phrase or not within a narrow range of interpolations between the prompt without the phrase
and the prompt (`promptweight.weighting.METHODS["presence"]`). The effect of an interpolation t on an image x
of one seed is

    d(t) = Σ |x(t) − x(0)| / Σ |x(1) − x(0)|,

0 without the phrase and 1 with it. The dial maps a weight w to the t at which the mean of d over prompts and
seeds is w, so that the weight is the part of the effect that a phrase has on average. The gain weakens
weights above 1 until weight 2 changes the images no more than the removal of the phrase would:

    Σ |x(2) − x(1)| / Σ |x(1) − x(0)| ≤ 1 on average.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from promptweight.errors import SettingError
from promptweight.generation.image_generation import generate_iter
from promptweight.generation.options import GenerateOptions
from promptweight.generation.pipeline_call import open_pipeline
from promptweight.messages import message
from promptweight.prompt import Prompt, as_prompt, reweight
from promptweight.validation import check_integer
from promptweight.weighting import CALIBRATED_RANGE, Weighting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptweight.protocols import Pipeline

DIAL_WEIGHTS = (0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9)
"""Weights of the points of a dial."""
GAINS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15)
"""Gains that are tried, from the strongest."""
UNCALIBRATED = ((0.5, 0.5),)
"""Dial that leaves every weight as it is, also on a model with a calibration of its own."""


@dataclass(frozen=True)
class Calibration:
    """Result of `calibrate`.

    Attributes:
        weighting: `presence` with the dial and the gain.
        effects: measured interpolations from 0 to 1 and the mean effect of each, 0 to 1, increasing.
        images: number of images of each interpolation.
    """

    weighting: Weighting
    effects: tuple[tuple[float, float], ...]
    images: int

    @property
    def usable_range(self) -> tuple[float, float]:
        """Interpolations between which the effect grows from 5 to 95 %."""
        return _invert(self.effects, 0.05), _invert(self.effects, 0.95)


def calibrate(
    pipe: Pipeline,
    prompts: Sequence[str | Prompt],
    *,
    seeds: Sequence[int] = range(4),
    evaluations: int = 9,
    options: GenerateOptions | None = None,
    progress: Callable[[float, float], object] | None = None,
    **keywords: Any,
) -> Calibration:
    """Measure the effect of phrases on the images of a model, and return the dial that makes it linear.

    The gain is the strongest of `GAINS` with which weight 2 leaves the rest of the images as it is.

    Args:
        pipe: a pipeline, or what `promptweight.load` takes.
        prompts: prompts with one weighted phrase each, whose weight itself does not matter.
        seeds: seeds of the images of each prompt.
        evaluations: number of interpolations between 0 and 1 that are measured, 3 .. 100, each where the
            effect changes most.
        options: options of the images; `num_inference_steps=12` or fewer shorten the measurement.
        progress: called with each measured interpolation and its mean effect.
        keywords: fields of `GenerateOptions` in place of those of `options`.

    Raises:
        SettingError: a prompt has no weighted phrase or several, there are no prompts or seeds, or no image
            changes without its phrase.
        ModelError: the model cannot be loaded.
    """
    check_integer("evaluations", evaluations, 3, 100)
    base = GenerateOptions.from_keywords(options, {"record": False} | keywords)
    pairs = [_weighted_phrase(as_prompt(prompt, base.dialect)) for prompt in prompts]
    if not pairs or not seeds:
        raise SettingError(message("calibration-empty"))
    opened = open_pipeline(pipe)
    weighting = replace(Weighting.of(base.weighting), name="presence", dial=UNCALIBRATED, gain=1.0)

    def draw(weight: float, gain: float = 1.0) -> list[NDArray[np.float32]]:
        weighted = [reweight(prompt, phrase, weight) for prompt, phrase in pairs]
        drawn = replace(base, weighting=replace(weighting, gain=gain))
        results = generate_iter(opened, weighted, seeds=seeds, options=drawn)
        return [_pixels(result.images[0]) for result in results]

    absent, present = draw(0), draw(1)
    ranges = [float(abs(one - zero).sum()) for zero, one in zip(absent, present, strict=True)]
    if not all(ranges):
        raise SettingError(message("calibration-no-effect"))

    def mean_change(images: list[NDArray[np.float32]], reference: list[NDArray[np.float32]]) -> float:
        changes = [
            float(abs(image - other).sum()) / whole
            for image, other, whole in zip(images, reference, ranges, strict=True)
        ]
        return sum(changes) / len(changes)

    effects = measure_effects(lambda weight: mean_change(draw(weight), absent), evaluations, progress)
    gain = choose_gain(lambda gain: mean_change(draw(CALIBRATED_RANGE[1], gain), present) <= 1)
    return Calibration(replace(weighting, dial=fit_dial(effects), gain=gain), effects, len(absent))


def measure_effects(
    measure: Callable[[float], float],
    evaluations: int,
    progress: Callable[[float, float], object] | None = None,
) -> tuple[tuple[float, float], ...]:
    """Measure the effect of interpolations, each in the middle of the range in which the effect changes most.

    Args:
        measure: returns the effect of an interpolation, 0 at 0 and 1 at 1.
        evaluations: number of interpolations that are measured.
        progress: called with each interpolation and its effect.

    Returns:
        Interpolations from 0 to 1 with their effects, none smaller than one before.
    """
    effects = {0.0: 0.0, 1.0: 1.0}
    for _ in range(evaluations):
        known = _increasing(effects)
        _, low, high = max((after[1] - before[1], before[0], after[0]) for before, after in pairwise(known))
        middle = (low + high) / 2
        effects[middle] = min(1.0, max(0.0, measure(middle)))
        if progress is not None:
            progress(middle, effects[middle])
    return _increasing(effects)


def fit_dial(effects: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Return the dial that maps each of `DIAL_WEIGHTS` to the interpolation with that effect."""
    dial = [(0.0, 0.0)]
    for weight in DIAL_WEIGHTS:
        interpolation = round(_invert(effects, weight), 3)
        if dial[-1][1] < interpolation < 1:
            dial.append((weight, interpolation))
    return tuple(dial[1:])


def choose_gain(is_harmless: Callable[[float], bool]) -> float:
    """Return the first of `GAINS` for which `is_harmless` returns true, else the last."""
    return next((gain for gain in GAINS if is_harmless(gain)), GAINS[-1])


def _weighted_phrase(prompt: Prompt) -> tuple[Prompt, str]:
    phrases = {span.text.strip() for span in prompt.spans if span.origin not in ("none", "gap")}
    if len(phrases) != 1:
        raise SettingError(message("calibration-phrase", prompt=prompt.source, number=len(phrases)))
    return prompt, phrases.pop()


def _pixels(image: Any) -> NDArray[np.float32]:
    import numpy as np

    return np.asarray(image, dtype=np.float32) / np.float32(255)


def _increasing(effects: dict[float, float]) -> tuple[tuple[float, float], ...]:
    """Return the effects by interpolation, none smaller than one before."""
    highest, points = 0.0, []
    for interpolation, effect in sorted(effects.items()):
        highest = max(highest, effect)
        points.append((interpolation, highest))
    return tuple(points)


def _invert(effects: Sequence[tuple[float, float]], effect: float) -> float:
    """Return the interpolation with that effect, linear between measured ones."""
    for (first, low), (second, high) in pairwise(effects):
        if low <= effect <= high and high > low:
            return first + (second - first) * (effect - low) / (high - low)
    return 1.0
