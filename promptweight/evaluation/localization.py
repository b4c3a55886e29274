"""Localization accuracy of word maps: IoU and pointing accuracy by language and kind of word.

The maps are those of the default view; `rule_comparison` and `layer_comparison` compare others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from promptweight.evaluation.map_metrics import best_iou, is_peak_inside
from promptweight.evaluation.noising import TIMESTEPS, NoisedScene, run_noised_scenes
from promptweight.evaluation.statistics import Mean, Proportion
from promptweight.mini import LANGUAGES, phrase

PARTS = ("noun", "color", "phrase")
"""Kinds of words: the noun and the adjective of a phrase, and both."""


@dataclass(frozen=True)
class WordSample:
    """Accuracy of one map of one word."""

    language: str
    part: str
    """One of `PARTS`."""
    timestep: int
    objects: int
    """Number of objects in the scene."""
    iou: float
    """Intersection over union at the best threshold of this map: an upper bound."""
    hit: bool
    """True if the map's maximum lies on the object."""
    astray: bool
    """True if the map's maximum lies on another object."""


def measure_words(
    pipeline: Any, *, number: int = 60, seed: int = 0, timesteps: tuple[int, ...] = TIMESTEPS
) -> Iterator[WordSample]:
    """Yield a sample for every scene, language, noise level, object and part of its phrase.

    Args:
        pipeline: a pipeline of the built-in world.
        number: number of scenes.
        seed: selects scenes and noise.
        timesteps: noise levels, as in `noising.noise_levels`.
    """
    for noised in run_noised_scenes(pipeline, number=number, seed=seed, timesteps=timesteps):
        yield from _measure_scene(noised)


def _measure_scene(noised: NoisedScene) -> Iterator[WordSample]:
    masks = noised.masks
    for index, thing in enumerate(noised.scene.things):
        words = phrase(thing, noised.language)
        others = masks[[other for other in range(len(masks)) if other != index]].any(0)
        for part, text in zip(PARTS, (words.noun, words.adjective, words.core), strict=True):
            heats = noised.session.maps.word(text).tensor.cpu()[None]
            yield WordSample(
                noised.language,
                part,
                noised.level.name,
                len(masks),
                float(best_iou(heats, masks[index])[0]),
                bool(is_peak_inside(heats, masks[index])[0]),
                bool(is_peak_inside(heats, others)[0]),
            )


def summarize_words(samples: Sequence[WordSample]) -> dict[str, dict[str, Mean | Proportion]]:
    """Return mean IoU and the proportions of hits and misses by language and part, over all noise levels."""
    table: dict[str, dict[str, Mean | Proportion]] = {}
    for language in LANGUAGES:
        for part in PARTS:
            own = [sample for sample in samples if (sample.language, sample.part) == (language, part)]
            table[f"{language} {part}"] = {
                "iou": Mean.from_samples(sample.iou for sample in own),
                "pointing": Proportion.from_outcomes(sample.hit for sample in own),
                "astray": Proportion.from_outcomes(sample.astray for sample in own if sample.objects > 1),
            }
    return table
