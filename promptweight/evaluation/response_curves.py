"""What is read from the areas of things at many weights: do they rise, in which steps, up to which weight?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from promptweight.evaluation.statistics import Clustered, spearman
from promptweight.evaluation.weight_response import Drawn

KEPT = 0.8
"""Weights are of use while both things are found at least so often as at weight 1."""


def monotone(found: Sequence[Drawn]) -> list[tuple[int, float]]:
    """For each scene of one way the rank correlation of weight, from 0 up, and area."""
    return [
        (scene, spearman(weights, areas))
        for scene, (weights, areas) in curves(found).items()
        if np.ptp(areas)
    ]


def monotone_mean(found: Sequence[Drawn], resamples: int = 500) -> Clustered:
    """The rank correlation of weight, from 0 up, and the mean area over the scenes of one way.

    The interval (95 %) comes from drawing whole scenes again.
    """
    of_scenes = list(curves(found).values())
    if not of_scenes:
        return Clustered(np.nan, np.nan, np.nan, 0)
    weights, areas = of_scenes[0][0], np.array([areas for _, areas in of_scenes])
    draws = np.random.default_rng(0).integers(0, len(areas), (resamples, len(areas)))
    again = [spearman(weights, areas[draw].mean(0)) for draw in draws]
    several = len(areas) > 1 and not np.isnan(again).all()
    low, high = np.nanquantile(again, [0.025, 0.975]) if several else (np.nan, np.nan)
    return Clustered(spearman(weights, areas.mean(0)), float(low), float(high), len(areas))


def grown(found: Sequence[Drawn]) -> list[tuple[int, float, float]]:
    """Scene, weight and area, in parts of that at weight 1, of the pictures of one way that hold the thing.

    Tells a thing that grows with its weight from one that is only drawn more or less often.
    """
    before = {each.scene: each.area for each in found if each.weight == 1}
    return [
        (each.scene, each.weight, each.area / before[each.scene])
        for each in found
        if each.present and before.get(each.scene)
    ]


def part_of(found: Sequence[Drawn], low: float, high: float) -> list[Drawn]:
    """What was drawn at weights of a range."""
    return [each for each in found if low <= each.weight <= high]


def smooth(found: Sequence[Drawn]) -> list[tuple[int, float]]:
    """For each scene 1 less the largest jump of the area between neighbouring weights, of its whole range."""
    return [
        (scene, 1 - float(np.abs(np.diff(areas)).max() / np.ptp(areas)))
        for scene, (_, areas) in curves(found).items()
        if np.ptp(areas)
    ]


def curves(found: Sequence[Drawn]) -> dict[int, tuple[list[float], list[float]]]:
    """The areas of each scene at the weights from 0 up, in the order of the weights."""
    by_scene: dict[int, dict[float, float]] = {}
    for each in found:
        if each.weight >= 0:
            by_scene.setdefault(each.scene, {})[each.weight] = each.area
    return {
        scene: (sorted(areas), [areas[weight] for weight in sorted(areas)])
        for scene, areas in by_scene.items()
    }


def usable(found: Sequence[Drawn]) -> tuple[float, float]:
    """The weights round 1 at which both things are there at least `KEPT` as often as at 1."""
    at: dict[float, list[float]] = {}
    for each in found:
        at.setdefault(each.weight, []).append(each.present * each.other_present)
    shares = {weight: float(np.mean(values)) for weight, values in sorted(at.items())}
    weights, limit = list(shares), KEPT * shares[1.0]
    low = high = weights.index(1.0)
    while low > 0 and shares[weights[low - 1]] >= limit:
        low -= 1
    while high < len(weights) - 1 and shares[weights[high + 1]] >= limit:
        high += 1
    return weights[low], weights[high]
