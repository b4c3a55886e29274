"""Acceptance test of a built-in model: its metrics, their bars, and a table for the terminal."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from promptweight.evaluation.report.document import Metric, format_interval

if TYPE_CHECKING:
    from rich.table import Table

    from promptweight.protocols import Pipeline

POINTING_BAR, IOU_BAR = 0.95, 0.6
SECONDS_BAR = 2.0


def measure_acceptance(model: str = "mini", *, number: int = 200, seed: int = 0) -> list[Metric]:
    """Measure the acceptance metrics of a built-in model.

    Args:
        model: a name that `promptweight.load` accepts, of a model of the built-in world.
        number: prompts per fidelity metric; the maps use a third as many scenes.
        seed: selects the held-out prompts, scenes and noise.

    Returns:
        The metrics, in the order of `make_metric_table`.
    """
    from promptweight.evaluation.localization import measure_words, summarize_words
    from promptweight.evaluation.report.fidelity_section import measure_fidelity_metrics
    from promptweight.models import load

    pipeline: Pipeline = load(model)
    pipeline.set_progress_bar_config(disable=True)
    metrics = measure_fidelity_metrics(pipeline, number=number, seed=seed)
    samples = list(measure_words(pipeline, number=max(1, number // 3), seed=seed))
    for name, row in summarize_words(samples).items():
        has_bar = name.endswith("phrase")
        for column, bar in (("pointing", POINTING_BAR), ("iou", IOU_BAR), ("astray", None)):
            cell = row[column]
            title = f"maps, {name}: {column}"
            metrics.append(Metric(title, cell.value, *cell.interval, cell.count, bar if has_bar else None))
    metrics.append(_measure_seconds(pipeline))
    return metrics


def _measure_seconds(pipeline: Pipeline, runs: int = 5) -> Metric:
    """Time a 25-step image with recording; median wall seconds of `runs` after one warm-up."""
    from promptweight import generate

    seconds = []
    for index in range(runs + 1):
        start = time.perf_counter()
        generate(pipeline, "um (gato:1.4) vermelho persegue um rato cinza", seed=index)
        seconds.append(time.perf_counter() - start)
    seconds = seconds[1:]
    return Metric(
        "seconds per recorded image of 25 steps",
        statistics.median(seconds),
        min(seconds),
        max(seconds),
        runs,
        SECONDS_BAR,
        smaller_is_better=True,
        unit="s",
    )


def make_metric_table(metrics: list[Metric]) -> Table:
    """Return the metrics as a table for the terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Held-out prompts and scenes")
    for column, justify in (
        ("metric", "left"),
        ("value", "right"),
        ("95 %", "right"),
        ("n", "right"),
        ("bar", "right"),
        ("", "left"),
    ):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for metric in metrics:
        verdict = {True: Text("met", "green"), False: Text("missed", "red"), None: Text("")}[metric.met]
        bar = "" if metric.bar is None else f"{'≤' if metric.smaller_is_better else '≥'} {metric.bar:.2f}"
        value = f"{metric.value:.3f}{metric.unit}"
        interval = format_interval(metric.low, metric.high)
        table.add_row(metric.name, value, interval, str(metric.samples), bar, verdict)
    return table
