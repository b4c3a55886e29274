"""Writers of a report: Markdown, JSON, and every plot as SVG.

Plots need matplotlib and statistics need scipy, which `pip install "promptweight[report]"` installs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from promptweight.errors import SettingError
from promptweight.evaluation.report.document import (
    Plot,
    ReportSection,
    format_cell,
    format_interval,
    metrics_to_list,
    to_json_value,
)
from promptweight.messages import message

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#000000")
"""Colors of curves, distinguishable with color vision deficiencies (Okabe and Ito, 2008)."""
DASHES = ("-", "--", ":")


def write(
    folder: Path, title: str, description: str, sections: Sequence[ReportSection], settings: dict[str, Any]
) -> list[Path]:
    """Write `report.md`, `report.json` and the plots; return the files.

    Args:
        folder: output folder; created if it does not exist.
        title: title of the report.
        description: paragraph below the title.
        sections: the sections.
        settings: the settings of the measurements, for `report.json`.

    Raises:
        SettingError: matplotlib or scipy is not installed.
        OSError: a file cannot be written.
    """
    require_report_extra()
    folder.mkdir(parents=True, exist_ok=True)
    plots = [draw_plot(plot, folder) for section in sections for plot in section.plots]
    texts = {
        "report.md": "\n".join(to_markdown(title, description, sections)) + "\n",
        "report.json": json.dumps(to_json_data(settings, sections), indent=1, ensure_ascii=False) + "\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [*(folder / name for name in texts), *plots]


def require_report_extra() -> None:
    """Raise `SettingError` if matplotlib or scipy is not installed."""
    missing = [package for package in ("matplotlib", "scipy") if find_spec(package) is None]
    if missing:
        raise SettingError(message("report-packages", missing=", ".join(missing)))


def to_markdown(title: str, description: str, sections: Sequence[ReportSection]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield from (f"# {title}", "", description, "")
    metrics = [metric for section in sections for metric in section.metrics]
    if metrics:
        yield from ("| metric | value | 95 % | n | bar | |", "|---|---|---|---|---|---|")
        for metric in metrics:
            verdict = {True: "met", False: "**missed**", None: ""}[metric.met]
            sign = "≤" if metric.smaller_is_better else "≥"
            bar = "" if metric.bar is None else f"{sign} {metric.bar:.2f}"
            cells = (
                metric.name,
                f"{metric.value:.3f}{metric.unit}",
                format_interval(metric.low, metric.high),
                str(metric.samples),
                bar,
                verdict,
            )
            yield f"| {' | '.join(cells)} |"
        yield ""
    for section in sections:
        yield from (f"## {section.title}", "", section.description, "")
        for plot in section.plots:
            yield from (f"![{plot.title}]({plot.file}.svg)", "")
        for table in section.tables:
            yield from (f"### {table.title}", "", f"| {' | '.join(table.columns)} |")
            yield "|" + "---|" * len(table.columns)
            for row in table.rows:
                yield f"| {' | '.join(map(format_cell, row))} |"
            yield ""


def to_json_data(settings: dict[str, Any], sections: Sequence[ReportSection]) -> dict[str, Any]:
    """Return the whole report as plain data."""
    return {
        "settings": settings,
        "sections": {
            section.name: {
                "title": section.title,
                "metrics": [
                    {key: to_json_value(value) for key, value in metric.items()}
                    for metric in metrics_to_list(list(section.metrics))
                ],
                "tables": {
                    table.title: [
                        dict(zip(table.columns, map(to_json_value, row), strict=True)) for row in table.rows
                    ]
                    for table in section.tables
                },
                "plots": {
                    plot.file: {
                        curve.name: {"x": list(curve.x), "y": [to_json_value(value) for value in curve.y]}
                        for curve in plot.curves
                    }
                    for plot in section.plots
                },
            }
            for section in sections
        },
    }


def draw_plot(plot: Plot, folder: Path) -> Path:
    """Draw one plot as SVG and return the file; equal data give equal bytes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": plot.file, "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(7.2, 0.9 + 0.24 * len(plot.curves) if plot.is_bars else 4.2))
        axes = figure.add_subplot()
        if plot.is_bars:
            _draw_bars(axes, plot)
        else:
            _draw_curves(axes, plot)
        axes.set_title(plot.title, loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, axis="x" if plot.is_bars else "both")
        file = folder / f"{plot.file}.svg"
        figure.savefig(file, metadata={"Date": None}, bbox_inches="tight")
    return file


def _draw_curves(axes: Any, plot: Plot) -> None:
    """Draw lines with bands for their intervals, and a legend on the right."""
    for number, curve in enumerate(plot.curves):
        color, dash = COLORS[number % len(COLORS)], DASHES[number // len(COLORS) % len(DASHES)]
        values = [each.value if hasattr(each, "interval") else each for each in curve.y]
        axes.plot(curve.x, values, dash, color=color, label=curve.name, linewidth=1.6, marker=".")
        if curve.y and hasattr(curve.y[0], "interval"):
            low, high = zip(*(each.interval for each in curve.y), strict=True)
            axes.fill_between(curve.x, low, high, color=color, alpha=0.1, linewidth=0)
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)


def _draw_bars(axes: Any, plot: Plot) -> None:
    """Draw one horizontal bar with its interval for each curve."""
    values = [curve.y[0].value for curve in plot.curves]
    errors = [
        [max(0.0, value - curve.y[0].interval[0]) for value, curve in zip(values, plot.curves, strict=True)],
        [max(0.0, curve.y[0].interval[1] - value) for value, curve in zip(values, plot.curves, strict=True)],
    ]
    positions = range(len(values))
    axes.barh(positions, values, xerr=errors, color=COLORS[0], height=0.7, error_kw={"linewidth": 0.8})
    axes.set_yticks(positions, [curve.name for curve in plot.curves])
    axes.invert_yaxis()
    axes.set_xlabel(plot.y)
