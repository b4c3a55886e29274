"""Report section of prompt fidelity, and its metrics with acceptance bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptweight.evaluation.prompt_fidelity import measure_prompt_fidelity
from promptweight.evaluation.recognizer import recognizer_accuracy
from promptweight.evaluation.report.document import Metric, ReportSection
from promptweight.evaluation.report.subject import EvaluatedModel

if TYPE_CHECKING:
    from promptweight.mini.worlds import World
    from promptweight.protocols import Pipeline

FIDELITY_BARS = {
    "one object: color": 0.98,
    "one object: kind": 0.97,
    "two objects: both, each in its color": 0.90,
    "relation: both objects and the relation": 0.85,
    "the sentence": 0.90,
}


def report_prompt_fidelity(model: EvaluatedModel) -> ReportSection:
    """Measure prompt fidelity and return its section."""
    metrics = measure_fidelity_metrics(model.pipeline, number=model.number, seed=model.seed)
    return ReportSection(
        "prompt-fidelity",
        "Prompt fidelity",
        "Images of held-out prompts, half in Portuguese and half in English, are compared with their "
        "scenes by a recognizer that matches every icon in every size and color. The values are in the "
        "table at the top.",
        metrics=tuple(metrics),
    )


def measure_fidelity_metrics(pipeline: Pipeline, *, number: int, seed: int) -> list[Metric]:
    """Return the prompt fidelity of a model and the accuracy of the recognizer."""
    from promptweight.mini.worlds import FIRST, world_of
    from promptweight.models import get_default_guidance_scale

    world = world_of(pipeline)
    if world is not None and world != FIRST:
        return _measure_world_metrics(pipeline, world, number=number, seed=seed)
    accuracy = recognizer_accuracy()["objects"]
    metrics = [
        Metric("recognizer, objects in rendered scenes", accuracy.value, *accuracy.interval, accuracy.count)
    ]
    proportions = measure_prompt_fidelity(
        pipeline, number=number, seed=seed, guidance_scale=get_default_guidance_scale(pipeline)
    )
    for name, value in proportions.items():
        bar = FIDELITY_BARS.get(name)
        metrics.append(Metric(f"prompt fidelity, {name}", value.value, *value.interval, value.count, bar))
    return metrics


def _measure_world_metrics(pipeline: Pipeline, world: World, *, number: int, seed: int) -> list[Metric]:
    """Return the prompt fidelity of a model of a larger world and the accuracy of the reader."""
    from promptweight.evaluation import world_fidelity
    from promptweight.models import get_default_guidance_scale

    metrics = [
        Metric(f"reader, {name} in rendered scenes", value.value, *value.interval, value.count)
        for name, value in world_fidelity.reader_accuracy(world).items()
    ]
    measured = world_fidelity.measure(
        pipeline, world, number=number, seed=seed, guidance_scale=get_default_guidance_scale(pipeline)
    )
    for name, (value, bar) in measured.items():
        metrics.append(Metric(f"prompt fidelity, {name}", value.value, *value.interval, value.count, bar))
    return metrics
