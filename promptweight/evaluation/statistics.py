"""Shares and means with the uncertainty that their number of samples leaves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z = 1.96  # two-sided 95 %


@dataclass(frozen=True)
class Share:
    """How many of how many, with the Wilson score interval (95 %)."""

    hits: int
    of: int

    @staticmethod
    def of_all(outcomes: Iterable[bool]) -> Share:
        """Count outcomes."""
        counted = [bool(outcome) for outcome in outcomes]
        return Share(sum(counted), len(counted))

    @property
    def value(self) -> float:
        """The share itself, 0 to 1; not a number when nothing was counted."""
        return self.hits / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson score interval (Wilson, 1927)."""
        if not self.of:
            return 0.0, 1.0
        share, n = self.value, self.of
        middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
        half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Mean:
    """A mean over samples with its normal interval (95 %)."""

    value: float
    half_width: float
    of: int

    @staticmethod
    def of_all(samples: Iterable[float]) -> Mean:
        """Average samples."""
        values = list(samples)
        n = len(values)
        if n == 0:
            return Mean(math.nan, math.nan, 0)
        mean = sum(values) / n
        variance = sum((value - mean) ** 2 for value in values) / max(1, n - 1)
        return Mean(mean, Z * math.sqrt(variance / n), n)

    @property
    def interval(self) -> tuple[float, float]:
        """The interval around the mean."""
        return self.value - self.half_width, self.value + self.half_width


@dataclass(frozen=True)
class Clustered:
    """A mean with its bootstrap interval (95 %): whole clusters, such as scenes, are drawn again.

    Samples of one scene, at several noise levels say, are alike; to draw them one by one would make the
    interval too narrow. One cluster has no interval.
    """

    value: float
    low: float
    high: float
    of: int
    """How many clusters."""

    @staticmethod
    def of_all(samples: Iterable[tuple[object, float]], resamples: int = 2000) -> Clustered:
        """Average (cluster, value) pairs; values that are not numbers do not count."""
        sums: dict[object, list[float]] = {}
        for cluster, value in samples:
            if not math.isnan(value):
                sums.setdefault(cluster, []).append(value)
        if not sums:
            return Clustered(math.nan, math.nan, math.nan, 0)
        totals = np.array([[sum(values), len(values)] for values in sums.values()])
        value = float(totals[:, 0].sum() / totals[:, 1].sum())
        if len(totals) == 1:  # nothing can be said of how clusters differ
            return Clustered(value, math.nan, math.nan, 1)
        drawn = np.random.default_rng(0).multinomial(
            len(totals), np.full(len(totals), 1 / len(totals)), resamples
        )
        means = (drawn @ totals[:, 0]) / (drawn @ totals[:, 1])
        low, high = np.quantile(means, [0.025, 0.975])
        return Clustered(value, float(low), float(high), len(totals))

    @property
    def interval(self) -> tuple[float, float]:
        """The interval."""
        return self.low, self.high


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation, ties sharing their ranks; not a number where one does not vary."""
    one, other = ranks(first), ranks(second)
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return math.nan
    return float(np.corrcoef(one, other)[0, 1])


def ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """The ranks of values, equal ones sharing the mean of theirs."""
    array = np.asarray(values, np.float64)
    _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    return ((last - counts + last - 1) / 2)[inverse]
