"""Parts of a report: metrics with acceptance bars, tables, plots and sections, and cells as text or JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Metric:
    """A measured value with its 95 % interval and, if there is one, its acceptance bar."""

    name: str
    value: float
    low: float
    high: float
    samples: int
    bar: float | None = None
    smaller_is_better: bool = False
    unit: str = ""

    @property
    def met(self) -> bool | None:
        """True if the value meets the bar; None without a bar."""
        if self.bar is None:
            return None
        return self.value <= self.bar if self.smaller_is_better else self.value >= self.bar


@dataclass(frozen=True)
class Table:
    """A table; cells with a `value` and an `interval` show both."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Curve:
    """A curve of a plot, with an interval at every point."""

    name: str
    x: tuple[float, ...]
    y: tuple[Any, ...]


@dataclass(frozen=True)
class Plot:
    """A line plot, or a bar plot if `is_bars`: then every curve is one bar with its name."""

    file: str
    title: str
    x: str
    y: str
    curves: tuple[Curve, ...]
    is_bars: bool = False


@dataclass(frozen=True)
class ReportSection:
    """The result of one measurement."""

    name: str
    title: str
    description: str
    """Method and meaning of the values, as a paragraph."""
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    metrics: tuple[Metric, ...] = ()
    """Values with an acceptance bar."""


def format_cell(value: Any) -> str:
    """Return a cell as text; NaN is a dash."""
    if hasattr(value, "interval"):
        if math.isnan(value.value):
            return "–"
        low, high = value.interval
        return f"{value.value:.3f}" + ("" if math.isnan(low) else f" ({format_interval(low, high)})")
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.3f}"
    return str(value)


def format_interval(low: float, high: float) -> str:
    """Return an interval as text; NaN is a dash."""
    return "–" if math.isnan(low) else f"{low:.2f} – {high:.2f}"


def to_json_value(value: Any) -> Any:
    """Return a cell as JSON data; NaN and infinities are null."""
    if hasattr(value, "interval"):
        low, high = value.interval
        return {
            "value": to_json_value(value.value),
            "low": to_json_value(low),
            "high": to_json_value(high),
            "count": value.count,
        }
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def metrics_to_list(metrics: list[Metric]) -> list[dict[str, Any]]:
    """Return metrics as plain data, for JSON."""
    return [
        {
            "name": metric.name,
            "value": round(metric.value, 4),
            "low": round(metric.low, 4),
            "high": round(metric.high, 4),
            "samples": metric.samples,
            "bar": metric.bar,
            "met": metric.met,
        }
        for metric in metrics
    ]
