"""Runs every measurement on a built-in model, holds it against its bar, and prints or returns the figures."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

from promptweight.evaluation.report.document import Figure, between

if TYPE_CHECKING:
    from rich.table import Table

    from promptweight.evaluation.statistics import Share


DRAWING_BARS = {
    "one thing: colour": 0.98,
    "one thing: kind": 0.97,
    "two things: both, each in its colour": 0.90,
    "relation: both things and the relation": 0.85,
    "the sentence": 0.90,
}
POINTING_BAR, IOU_BAR = 0.95, 0.6
SECONDS_BAR = 2.0


def run(model: str = "mini", *, number: int = 200, seed: int = 0) -> list[Figure]:
    """Measure a built-in model.

    Args:
        model: a name that `promptweight.load` knows; it must draw the built-in world.
        number: prompts per question about drawing; a third as many scenes are used for the maps.
        seed: chooses the held-out prompts, scenes and noises.

    Returns:
        The figures, in the order in which `table` shows them.
    """
    from promptweight.evaluation import localization
    from promptweight.models import load

    pipeline: Any = load(model)
    pipeline.set_progress_bar_config(disable=True)
    figures = drawing_figures(pipeline, number=number, seed=seed)
    measured = list(localization.samples(pipeline, number=max(1, number // 3), seed=seed))
    for name, row in localization.summarise(measured).items():
        held = name.endswith("phrase")
        for measure, bar in (("pointing", POINTING_BAR), ("iou", IOU_BAR), ("astray", None)):
            found = row[measure]
            figures.append(
                Figure(
                    f"maps, {name}: {measure}", found.value, *found.interval, found.of, bar if held else None
                )
            )
    figures.append(_seconds_figure(pipeline))
    return figures


def drawing_figures(pipeline: Any, *, number: int, seed: int) -> list[Figure]:
    """Measure whether a model draws what is said, and how often the recogniser errs."""
    from promptweight.evaluation import prompt_fidelity
    from promptweight.evaluation.recognizer import recogniser_error
    from promptweight.models import default_guidance_scale

    figures = [_recogniser_figure(recogniser_error()["things"])]
    guidance = default_guidance_scale(pipeline)
    for name, share in prompt_fidelity.measure(
        pipeline, number=number, seed=seed, guidance_scale=guidance
    ).items():
        figures.append(
            Figure(f"drawn right, {name}", share.value, *share.interval, share.of, DRAWING_BARS.get(name))
        )
    return figures


def _recogniser_figure(share: Share) -> Figure:
    return Figure("recogniser, things on drawn scenes", share.value, *share.interval, share.of)


def _seconds_figure(pipeline: Any, runs: int = 5) -> Figure:
    """Time a 25-step picture, batch of one, recorded; wall seconds, median of `runs` after one warm-up."""
    from promptweight import generate

    seconds = []
    for index in range(runs + 1):
        started = time.perf_counter()
        generate("um (gato:1.4) vermelho persegue um rato cinza", model=pipeline, seed=index)
        seconds.append(time.perf_counter() - started)
    seconds = seconds[1:]
    return Figure(
        "seconds per recorded picture of 25 steps",
        statistics.median(seconds),
        min(seconds),
        max(seconds),
        runs,
        SECONDS_BAR,
        smaller_is_better=True,
        unit="s",
    )


def table(figures: list[Figure]) -> Table:
    """Return the figures as a table for the terminal."""
    from rich.table import Table
    from rich.text import Text

    view = Table(title="measured on held-out prompts and scenes")
    for column, justify in (
        ("figure", "left"),
        ("value", "right"),
        ("95 %", "right"),
        ("n", "right"),
        ("bar", "right"),
        ("", "left"),
    ):
        view.add_column(column, justify=justify)  # type: ignore[arg-type]
    for figure in figures:
        verdict = {True: Text("met", "green"), False: Text("missed", "red"), None: Text("")}[figure.met]
        bar = "" if figure.bar is None else f"{'≤' if figure.smaller_is_better else '≥'} {figure.bar:.2f}"
        value = f"{figure.value:.3f}{figure.unit}"
        view.add_row(figure.name, value, between(figure.low, figure.high), str(figure.samples), bar, verdict)
    return view
