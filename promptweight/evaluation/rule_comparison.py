"""Localization by map rule, noise level and kind of word, with the comparison of layers on the same calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from promptweight.evaluation.layer_comparison import (
    GridBound,
    LayerSample,
    measure_grid_bounds,
    measure_layers,
)
from promptweight.evaluation.localization import PARTS
from promptweight.evaluation.map_metrics import (
    average_precision,
    best_iou,
    iou_at_threshold,
    is_peak_inside,
    mass_shares,
)
from promptweight.evaluation.map_rules import RULES, apply_rule
from promptweight.evaluation.noising import TIMESTEPS, NoisedScene, run_noised_scenes
from promptweight.mini import RELATION_WORDS, phrase

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline

METRICS = ("iou", "iou at 0.4", "precision", "pointing", "inside", "leaked", "elsewhere")


@dataclass(frozen=True)
class RuleSample:
    """Metrics of one map against its object, or for relation words against both objects."""

    scene: int
    language: str
    level: int
    part: str
    """One of `localization.PARTS`, or "relation"."""
    rule: str
    values: dict[str, float]
    """By metric; "leaked" is NaN if there is no other object."""
    objects: int = 1


@dataclass(frozen=True)
class LocalizationResult:
    """All samples of `measure_localization`."""

    rules: tuple[RuleSample, ...]
    layers: tuple[LayerSample, ...]
    bounds: tuple[GridBound, ...] = ()


def measure_localization(
    pipeline: Pipeline, *, number: int, seed: int, timesteps: tuple[int, ...] = TIMESTEPS
) -> LocalizationResult:
    """Measure rules, layers and grids on noised scenes, and rules on a third as many wide scenes.

    Args:
        pipeline: a pipeline of the built-in world.
        number: number of square scenes; wide scenes are measured at timestep 300 only.
        seed: selects scenes and noise.
        timesteps: noise levels, as in `noising.noise_levels`.
    """
    from promptweight.attention import Record

    record = Record(heads="keep", refine=True, trace=True)
    square: list[RuleSample] = []
    layers: list[LayerSample] = []
    bounds: list[GridBound] = []
    for noised in run_noised_scenes(pipeline, number=number, seed=seed, timesteps=timesteps, record=record):
        square += measure_rules(noised)
        layers += measure_layers(noised)
        bounds += measure_grid_bounds(noised)
    wide = [
        sample
        for noised in run_noised_scenes(
            pipeline, number=max(1, number // 3), seed=seed + 1, is_wide=True, timesteps=(300,), record=record
        )
        for sample in measure_rules(noised, ", wide")
    ]
    return LocalizationResult((*square, *wide), tuple(layers), tuple(bounds))


def measure_rules(noised: NoisedScene, suffix: str = "") -> Iterator[RuleSample]:
    """Yield a sample of every object, part and rule of one call of the model.

    Args:
        noised: the scene and its session.
        suffix: text that is appended to the names of the rules.
    """
    scene = noised.scene
    empty = torch.zeros_like(noised.masks[0])
    targets: list[tuple[str, str, Tensor, Tensor]] = []
    for index, thing in enumerate(scene.things):
        words = phrase(thing, noised.language)
        others = [mask for other, mask in enumerate(noised.masks) if other != index]
        other_mask = torch.stack(others).any(0) if others else empty
        for part, text in zip(PARTS, (words.noun, words.adjective, words.core), strict=True):
            targets.append((part, text, noised.masks[index], other_mask))
    relation = RELATION_WORDS[noised.language].get(scene.relation, ("",))[0]
    if relation and len(scene.things) == 2:
        targets.append(("relation", relation, noised.masks.any(0), empty))
    for part, text, own_mask, other_mask in targets:
        heats = torch.stack([apply_rule(noised.session.maps, text, rule) for rule in RULES])
        for rule, values in zip(RULES, _compute_metrics(heats, own_mask, other_mask), strict=True):
            yield RuleSample(
                noised.number,
                noised.language,
                noised.level.name,
                part,
                f"{rule}{suffix}",
                values,
                len(scene.things),
            )


def _compute_metrics(heats: Tensor, own_mask: Tensor, other_mask: Tensor) -> list[dict[str, float]]:
    """Return all `METRICS` of every map; "leaked" is NaN if there is no other object."""
    inside, leaked = mass_shares(heats, torch.stack([own_mask, other_mask])).unbind(1)
    elsewhere = 1 - inside - leaked
    if not other_mask.any():
        leaked = torch.full_like(leaked, torch.nan)
    columns = (
        best_iou(heats, own_mask),
        iou_at_threshold(heats, own_mask),
        average_precision(heats, own_mask),
        is_peak_inside(heats, own_mask),
        inside,
        leaked,
        elsewhere,
    )
    rows = torch.stack([column.double() for column in columns], 1).tolist()
    return [dict(zip(METRICS, row, strict=True)) for row in rows]
