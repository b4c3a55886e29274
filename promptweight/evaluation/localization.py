"""Localization accuracy of word maps: IoU and pointing accuracy by language and kind of word.

The maps are those of the default view, and the traced ones; `rule_comparison` and `layer_comparison` compare
others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from promptweight.evaluation.map_metrics import best_iou, is_peak_inside
from promptweight.evaluation.noising import TIMESTEPS, NoisedScene, run_noised_scenes
from promptweight.evaluation.statistics import Mean, Proportion
from promptweight.mini import LANGUAGES, phrase

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline

PARTS = ("noun", "color", "phrase")
"""Kinds of words: the noun and the adjective of a phrase, and both."""
VIEWS = ("plain", "traced")
"""Views of the maps: the default one, and `AttentionMaps.traced`."""


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
    view: str = "plain"
    """One of `VIEWS`."""


def measure_words(
    pipeline: Pipeline, *, number: int = 60, seed: int = 0, timesteps: tuple[int, ...] = TIMESTEPS
) -> Iterator[WordSample]:
    """Yield a sample for every scene, language, noise level, object, part of its phrase and view.

    Args:
        pipeline: a pipeline of the built-in world.
        number: number of scenes.
        seed: selects scenes and noise.
        timesteps: noise levels, as in `noising.noise_levels`.
    """
    from promptweight.attention import Record

    record = Record(trace=True)
    for noised in run_noised_scenes(pipeline, number=number, seed=seed, timesteps=timesteps, record=record):
        yield from _measure_scene(noised)


def _measure_scene(noised: NoisedScene) -> Iterator[WordSample]:
    masks, maps = noised.masks, noised.session.maps
    views = {"plain": maps, "traced": maps.traced()}
    for index, thing in enumerate(noised.scene.things):
        words = phrase(thing, noised.language)
        others = masks[[other for other in range(len(masks)) if other != index]].any(0)
        for part, text in zip(PARTS, (words.noun, words.adjective, words.core), strict=True):
            for view in VIEWS:
                heats = views[view].word(text).tensor.cpu()[None]
                yield WordSample(
                    noised.language,
                    part,
                    noised.level.name,
                    len(masks),
                    float(best_iou(heats, masks[index])[0]),
                    bool(is_peak_inside(heats, masks[index])[0]),
                    bool(is_peak_inside(heats, others)[0]),
                    view,
                )


def summarize_words(samples: Sequence[WordSample]) -> dict[str, dict[str, Mean | Proportion]]:
    """Return mean IoU and the proportions of hits and misses by language, part and view, over all levels."""
    table: dict[str, dict[str, Mean | Proportion]] = {}
    for view, language, part in product(VIEWS, LANGUAGES, PARTS):
        own = [each for each in samples if (each.view, each.language, each.part) == (view, language, part)]
        suffix = "" if view == "plain" else f", {view}"
        table[f"{language} {part}{suffix}"] = {
            "iou": Mean.from_samples(sample.iou for sample in own),
            "pointing": Proportion.from_outcomes(sample.hit for sample in own),
            "astray": Proportion.from_outcomes(sample.astray for sample in own if sample.objects > 1),
        }
    return table
