"""Shares and means with the uncertainty that their number of samples leaves."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

Z = 1.96  # two-sided 95 %


@dataclass(frozen=True)
class Share:
    """How many of how many, with the Wilson score interval (95 %)."""

    hits: int
    of: int

    @staticmethod
    def of_all(outcomes: Iterable[bool]) -> Share:
        """Counts outcomes."""
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
        """Averages samples."""
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
