"""Intervals and rank statistics, against published values, counts and normal approximations."""

import math

import numpy as np
import pytest

from promptweight.evaluation.statistics import ClusterMean, Mean, Proportion, area_under_roc, spearman


def test_proportion_wilson_interval_of_8_in_10() -> None:
    low, high = Proportion(8, 10).interval  # 0.490 to 0.943 in the tables of Newcombe (1998), method 3
    assert low == pytest.approx(0.490, abs=5e-4)
    assert high == pytest.approx(0.943, abs=5e-4)
    assert math.isnan(Proportion(0, 0).value)


def test_mean_interval_is_normal() -> None:
    mean = Mean.from_samples([1.0, 2.0, 3.0, 4.0])
    assert mean.value == 2.5
    assert mean.half_width == pytest.approx(1.96 * math.sqrt(5 / 3 / 4))


def test_cluster_mean_resamples_whole_clusters() -> None:
    rng = np.random.default_rng(0)
    centers = rng.normal(0, 1, 60)
    repeated = [(scene, centers[scene]) for scene in range(60) for _ in range(20)]
    single = [(scene, centers[scene]) for scene in range(60)]
    many, few = ClusterMean.from_samples(repeated), ClusterMean.from_samples(single)
    assert (many.low, many.high) == pytest.approx((few.low, few.high))
    half = 1.96 * centers.std(ddof=1) / 60**0.5
    assert (few.high - few.low) / 2 == pytest.approx(half, rel=0.1)
    assert many.count == 60


def test_cluster_mean_ignores_nan() -> None:
    assert ClusterMean.from_samples([("a", float("nan")), ("a", 2.0)]).value == 2.0


def test_cluster_mean_of_one_cluster_has_no_interval() -> None:
    mean = ClusterMean.from_samples([("a", 1.0), ("a", 3.0)])
    assert (mean.value, mean.count) == (2.0, 1)
    assert np.isnan(mean.low)


def test_spearman_ranks_ties_by_their_mean() -> None:
    # ranks 1, 2.5, 2.5, 4 against 1, 3, 2, 4: covariance 1.5, variances 1.5 and 5/3
    assert spearman([0, 1, 1, 5], [0, 3, 2, 9]) == pytest.approx(1.5 / math.sqrt(1.5 * 5 / 3))
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_area_under_roc_counts_ordered_pairs() -> None:
    positive, negative = [0.9, 0.7, 0.5, 0.5], [0.95, 0.5, 0.1]
    pairs = [(one, other) for one in positive for other in negative]
    expected = sum((one > other) + (one == other) / 2 for one, other in pairs) / len(pairs)
    assert area_under_roc(positive, negative) == pytest.approx(expected)
    assert area_under_roc([0.5] * 3, [0.5] * 2) == 0.5
    assert math.isnan(area_under_roc([], negative))
