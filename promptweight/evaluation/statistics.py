"""Proportions, means and rank correlations with 95 % confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

Z = 1.96  # two-sided 95 %


@dataclass(frozen=True)
class Proportion:
    """A proportion of outcomes with its Wilson score interval (95 %)."""

    hits: int
    count: int
    """Number of outcomes."""

    @classmethod
    def from_outcomes(cls, outcomes: Iterable[bool]) -> Proportion:
        """Count the true outcomes."""
        values = [bool(outcome) for outcome in outcomes]
        return cls(sum(values), len(values))

    @property
    def value(self) -> float:
        """The proportion, 0 to 1; NaN without outcomes."""
        return self.hits / self.count if self.count else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson score interval (Wilson, 1927)."""
        if not self.count:
            return 0.0, 1.0
        p, n = self.value, self.count
        center = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
        half = Z / (1 + Z * Z / n) * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
        return max(0.0, center - half), min(1.0, center + half)


@dataclass(frozen=True)
class Mean:
    """A mean over samples with its normal interval (95 %)."""

    value: float
    half_width: float
    count: int
    """Number of samples."""

    @classmethod
    def from_samples(cls, samples: Iterable[float]) -> Mean:
        """Compute the mean and its standard error; NaN without samples."""
        values = list(samples)
        n = len(values)
        if n == 0:
            return cls(math.nan, math.nan, 0)
        mean = sum(values) / n
        variance = sum((value - mean) ** 2 for value in values) / max(1, n - 1)
        return cls(mean, Z * math.sqrt(variance / n), n)

    @property
    def interval(self) -> tuple[float, float]:
        """The interval around the mean."""
        return self.value - self.half_width, self.value + self.half_width


@dataclass(frozen=True)
class ClusterMean:
    """A mean with its cluster bootstrap interval (95 %): whole clusters, such as scenes, are resampled.

    Samples of one scene, for example at several noise levels, are correlated; resampling single samples would
    give too narrow an interval. One cluster has no interval.
    """

    value: float
    low: float
    high: float
    count: int
    """Number of clusters."""

    @classmethod
    def from_samples(cls, samples: Iterable[tuple[object, float]], resamples: int = 2000) -> ClusterMean:
        """Compute the mean of (cluster, value) pairs; NaN values are ignored."""
        by_cluster: dict[object, list[float]] = {}
        for cluster, value in samples:
            if not math.isnan(value):
                by_cluster.setdefault(cluster, []).append(value)
        if not by_cluster:
            return cls(math.nan, math.nan, math.nan, 0)
        totals = np.array([[sum(values), len(values)] for values in by_cluster.values()])
        mean = float(totals[:, 0].sum() / totals[:, 1].sum())
        if len(totals) == 1:  # the variance between clusters is unknown
            return cls(mean, math.nan, math.nan, 1)
        counts = np.random.default_rng(0).multinomial(
            len(totals), np.full(len(totals), 1 / len(totals)), resamples
        )
        means = (counts @ totals[:, 0]) / (counts @ totals[:, 1])
        low, high = np.quantile(means, [0.025, 0.975])
        return cls(mean, float(low), float(high), len(totals))

    @property
    def interval(self) -> tuple[float, float]:
        """The interval; NaN with fewer than two clusters."""
        return self.low, self.high


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Spearman's rank correlation; NaN if either sequence is constant."""
    from scipy.stats import spearmanr  # of the extra "report"

    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(spearmanr(first, second).statistic)


def area_under_roc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Return the probability that a positive has a higher score than a negative; ties count half.

    The U statistic of Mann and Whitney (1947) per pair; NaN if either sequence is empty.
    """
    from scipy.stats import mannwhitneyu  # of the extra "report"

    if not positive or not negative:
        return math.nan
    return float(mannwhitneyu(positive, negative, method="asymptotic").statistic) / (
        len(positive) * len(negative)
    )
