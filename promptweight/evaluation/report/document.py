"""What a report is made of: figures held against bars, tables, plots, sections, and their cells as text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured figure: its 95 % interval, and the bar it is held against where there is one."""

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
        """Whether the bar is met; None when there is none."""
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
    """One line of a plot, with its interval at every point."""

    name: str
    x: tuple[float, ...]
    y: tuple[Any, ...]


@dataclass(frozen=True)
class Plot:
    """A plot of curves, or of bars where `is_bars`: then every curve is one bar, named by its name."""

    file: str
    title: str
    x: str
    y: str
    curves: tuple[Curve, ...]
    is_bars: bool = False


@dataclass(frozen=True)
class Section:
    """What was measured for one question."""

    name: str
    title: str
    said: str
    """What was done and how to read it, as a paragraph."""
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    figures: tuple[Figure, ...] = ()
    """What is held against a bar."""


def cell(value: Any) -> str:
    """A cell as text."""
    if hasattr(value, "interval"):
        if math.isnan(value.value):
            return "–"
        low, high = value.interval
        return f"{value.value:.3f}" + ("" if math.isnan(low) else f" ({between(low, high)})")
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.3f}"
    return str(value)


def between(low: float, high: float) -> str:
    """An interval as text."""
    return "–" if math.isnan(low) else f"{low:.2f} – {high:.2f}"


def plain(value: Any) -> Any:
    """A cell as JSON; what is no number is null."""
    if hasattr(value, "interval"):
        low, high = value.interval
        return {"value": plain(value.value), "low": plain(low), "high": plain(high), "of": value.of}
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def to_list(figures: list[Figure]) -> list[dict[str, Any]]:
    """Return the figures as plain data, for JSON."""
    return [
        {
            "name": figure.name,
            "value": round(figure.value, 4),
            "low": round(figure.low, 4),
            "high": round(figure.high, 4),
            "samples": figure.samples,
            "bar": figure.bar,
            "met": figure.met,
        }
        for figure in figures
    ]
