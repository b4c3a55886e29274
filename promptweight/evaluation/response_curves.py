"""Response curves of one weighting: monotonicity, smoothness and usable range of the area by weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from promptweight.evaluation.statistics import ClusterMean, spearman
from promptweight.evaluation.weight_response import WeightSample

MIN_RELATIVE_PRESENCE = 0.8
"""Usable weights keep both objects at least this often, relative to weight 1."""


def correlate_by_scene(samples: Sequence[WeightSample]) -> list[tuple[int, float]]:
    """Return (scene, rank correlation of weight and area) for weights of 0 and above.

    Scenes with a constant area are omitted.
    """
    return [
        (scene, spearman(weights, areas))
        for scene, (weights, areas) in area_curves(samples).items()
        if np.ptp(areas)
    ]


def correlate_mean_curve(samples: Sequence[WeightSample], resamples: int = 500) -> ClusterMean:
    """Return the rank correlation of weight and mean area over the scenes, for weights of 0 and above.

    The interval (95 %) is a bootstrap over scenes.
    """
    curves = list(area_curves(samples).values())
    if not curves:
        return ClusterMean(np.nan, np.nan, np.nan, 0)
    weights, areas = curves[0][0], np.array([areas for _, areas in curves])
    draws = np.random.default_rng(0).integers(0, len(areas), (resamples, len(areas)))
    correlations = [spearman(weights, areas[draw].mean(0)) for draw in draws]
    has_interval = len(areas) > 1 and not np.isnan(correlations).all()
    low, high = np.nanquantile(correlations, [0.025, 0.975]) if has_interval else (np.nan, np.nan)
    return ClusterMean(spearman(weights, areas.mean(0)), float(low), float(high), len(areas))


def linearity_of_presence(samples: Sequence[WeightSample], resamples: int = 500) -> ClusterMean:
    """Return R² of the line p = w for the fraction p of scenes that contain the object, weights from 0 to 1.

    R² is 1 − Σ (p − w)² / Σ (w − mean w)². The interval (95 %) is a bootstrap over scenes.
    """
    chosen = select_weights(samples, 0, 1)
    weights = np.array(sorted({sample.weight for sample in chosen}))
    scenes = sorted({sample.scene for sample in chosen})
    if len(weights) < 3:
        return ClusterMean(np.nan, np.nan, np.nan, 0)
    by_key = {(sample.scene, sample.weight): sample.present for sample in chosen}
    present = np.array([[by_key[scene, weight] for weight in weights] for scene in scenes])
    spread = float(((weights - weights.mean()) ** 2).sum())

    def linearity(rows: NDArray[np.float64]) -> float:
        return 1 - float(((rows.mean(0) - weights) ** 2).sum()) / spread

    draws = np.random.default_rng(0).integers(0, len(scenes), (resamples, len(scenes)))
    low, high = np.quantile([linearity(present[draw]) for draw in draws], [0.025, 0.975])
    return ClusterMean(linearity(present), float(low), float(high), len(scenes))


def relative_areas(samples: Sequence[WeightSample]) -> list[tuple[int, float, float]]:
    """Return (scene, weight, area relative to weight 1) of the images that contain the object.

    These areas separate growth of an object from a change in how often it is present.
    """
    baseline = {sample.scene: sample.area for sample in samples if sample.weight == 1}
    return [
        (sample.scene, sample.weight, sample.area / baseline[sample.scene])
        for sample in samples
        if sample.present and baseline.get(sample.scene)
    ]


def select_weights(samples: Sequence[WeightSample], low: float, high: float) -> list[WeightSample]:
    """Return the samples whose weight lies in a range."""
    return [sample for sample in samples if low <= sample.weight <= high]


def smoothness_by_scene(samples: Sequence[WeightSample]) -> list[tuple[int, float]]:
    """Return (scene, 1 − largest jump of the area between neighboring weights / range of the area)."""
    return [
        (scene, 1 - float(np.abs(np.diff(areas)).max() / np.ptp(areas)))
        for scene, (_, areas) in area_curves(samples).items()
        if np.ptp(areas)
    ]


def area_curves(samples: Sequence[WeightSample]) -> dict[int, tuple[list[float], list[float]]]:
    """Return the weights of 0 and above in ascending order, and the area at each, by scene."""
    by_scene: dict[int, dict[float, float]] = {}
    for sample in samples:
        if sample.weight >= 0:
            by_scene.setdefault(sample.scene, {})[sample.weight] = sample.area
    return {
        scene: (sorted(areas), [areas[weight] for weight in sorted(areas)])
        for scene, areas in by_scene.items()
    }


def usable_weights(samples: Sequence[WeightSample]) -> tuple[float, float]:
    """Return the range of weights around 1 that keeps both objects.

    Their presence is at least `MIN_RELATIVE_PRESENCE` of that at weight 1.
    """
    by_weight: dict[float, list[float]] = {}
    for sample in samples:
        by_weight.setdefault(sample.weight, []).append(sample.present * sample.other_present)
    presence = {weight: float(np.mean(values)) for weight, values in sorted(by_weight.items())}
    weights, limit = list(presence), MIN_RELATIVE_PRESENCE * presence[1.0]
    low = high = weights.index(1.0)
    while low > 0 and presence[weights[low - 1]] >= limit:
        low -= 1
    while high < len(weights) - 1 and presence[weights[high + 1]] >= limit:
        high += 1
    return weights[low], weights[high]
