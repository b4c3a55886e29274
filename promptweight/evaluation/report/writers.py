"""A report as files: Markdown for people, JSON for programs, every plot as SVG and PNG.

Plots are drawn with matplotlib, which `pip install "promptweight[report]"` brings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from promptweight.errors import SettingError
from promptweight.evaluation.report.document import Plot, Section, between, cell, plain, to_list

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#000000")
"""Told apart by people who see colours differently (Okabe and Ito, 2008)."""
DASHES = ("-", "--", ":")


def write(
    folder: Path, title: str, said: str, sections: Sequence[Section], settings: dict[str, Any]
) -> list[Path]:
    """Write `report.md`, `report.json` and the plots; returns the files.

    Raises:
        SettingError: matplotlib is not installed.
        OSError: the disk's own error.
    """
    check_plots()
    folder.mkdir(parents=True, exist_ok=True)
    files = [path for section in sections for plot in section.plots for path in draw(plot, folder)]
    texts = {
        "report.md": "\n".join(markdown(title, said, sections)) + "\n",
        "report.json": json.dumps(as_data(settings, sections), indent=1, ensure_ascii=False) + "\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [*(folder / name for name in texts), *files]


def check_plots() -> None:
    """Raise `SettingError` where matplotlib is missing."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise SettingError('plots need matplotlib; pip install "promptweight[report]" brings it')


def markdown(title: str, said: str, sections: Sequence[Section]) -> Iterator[str]:
    """The lines of the report."""
    yield from (f"# {title}", "", said, "")
    figures = [figure for section in sections for figure in section.figures]
    if figures:
        yield from ("| figure | measured | 95 % | n | bar | |", "|---|---|---|---|---|---|")
        for figure in figures:
            verdict = {True: "met", False: "**missed**", None: ""}[figure.met]
            sign = "≤" if figure.smaller_is_better else "≥"
            bar = "" if figure.bar is None else f"{sign} {figure.bar:.2f}"
            cells = (
                figure.name,
                f"{figure.value:.3f}{figure.unit}",
                between(figure.low, figure.high),
                str(figure.samples),
                bar,
                verdict,
            )
            yield f"| {' | '.join(cells)} |"
        yield ""
    for section in sections:
        yield from (f"## {section.title}", "", section.said, "")
        for plot in section.plots:
            yield from (f"![{plot.title}]({plot.file}.svg)", "")
        for table in section.tables:
            yield from (f"### {table.title}", "", f"| {' | '.join(table.columns)} |")
            yield "|" + "---|" * len(table.columns)
            for row in table.rows:
                yield f"| {' | '.join(map(cell, row))} |"
            yield ""


def as_data(settings: dict[str, Any], sections: Sequence[Section]) -> dict[str, Any]:
    """The whole report as plain data."""
    return {
        "settings": settings,
        "sections": {
            section.name: {
                "title": section.title,
                "figures": [
                    {key: plain(value) for key, value in figure.items()}
                    for figure in to_list(list(section.figures))
                ],
                "tables": {
                    table.title: [
                        dict(zip(table.columns, map(plain, row), strict=True)) for row in table.rows
                    ]
                    for table in section.tables
                },
                "plots": {
                    plot.file: {
                        curve.name: {"x": list(curve.x), "y": [plain(each) for each in curve.y]}
                        for curve in plot.curves
                    }
                    for plot in section.plots
                },
            }
            for section in sections
        },
    }


def draw(plot: Plot, folder: Path) -> list[Path]:
    """Draw one plot as SVG and PNG; the same data give the same SVG, byte for byte."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context({"svg.hashsalt": plot.file, "svg.fonttype": "none", "font.size": 9}):
        canvas = Canvas(figsize=(7.2, 0.9 + 0.24 * len(plot.curves) if plot.is_bars else 4.2))
        axes = canvas.add_subplot()
        if plot.is_bars:
            draw_bars(axes, plot)
        else:
            draw_curves(axes, plot)
        axes.set_title(plot.title, loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, axis="x" if plot.is_bars else "both")
        files = [folder / f"{plot.file}.{ending}" for ending in ("svg", "png")]
        for file in files:
            metadata = {"Date": None} if file.suffix == ".svg" else None
            canvas.savefig(file, metadata=metadata, dpi=160, bbox_inches="tight")
    return files


def draw_curves(axes: Any, plot: Plot) -> None:
    """Lines with bands for their intervals; the names stand outside, on the right."""
    for number, curve in enumerate(plot.curves):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]
        values = [each.value if hasattr(each, "interval") else each for each in curve.y]
        axes.plot(curve.x, values, dash, color=colour, label=curve.name, linewidth=1.6, marker=".")
        if curve.y and hasattr(curve.y[0], "interval"):
            low, high = zip(*(each.interval for each in curve.y), strict=True)
            axes.fill_between(curve.x, low, high, color=colour, alpha=0.1, linewidth=0)
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)


def draw_bars(axes: Any, plot: Plot) -> None:
    """One horizontal bar for each curve, with its interval."""
    values = [curve.y[0].value for curve in plot.curves]
    errors = [
        [max(0.0, value - curve.y[0].interval[0]) for value, curve in zip(values, plot.curves, strict=True)],
        [max(0.0, curve.y[0].interval[1] - value) for value, curve in zip(values, plot.curves, strict=True)],
    ]
    places = range(len(values))
    axes.barh(places, values, xerr=errors, color=COLOURS[0], height=0.7, error_kw={"linewidth": 0.8})
    axes.set_yticks(places, [curve.name for curve in plot.curves])
    axes.invert_yaxis()
    axes.set_xlabel(plot.y)
