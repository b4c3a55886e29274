"""Report section of share targets and balanced shares."""

from __future__ import annotations

from collections.abc import Sequence

from promptweight.evaluation.prompt_fidelity import held_out_scenes
from promptweight.evaluation.report.document import ReportSection, Table
from promptweight.evaluation.report.subject import EvaluatedModel
from promptweight.evaluation.share_targets import (
    CONDITIONS,
    PresenceSample,
    TargetSample,
    measure_balance,
    measure_targets,
)
from promptweight.evaluation.statistics import ClusterMean, Mean


def report_share_targets(model: EvaluatedModel) -> ReportSection:
    """Measure shares against their targets, and presence with balanced shares, and return their section."""
    pairs = list(held_out_scenes(model.fraction(20), 2, False, model.seed + 80))
    targets = measure_targets(model.pipeline, pairs, seed=model.seed)
    presence: list[PresenceSample] = []
    if model.draws_builtin_world:
        number = model.fraction(2)
        scenes = [
            *held_out_scenes(number, 2, False, model.seed + 90),
            *held_out_scenes(number, 3, False, model.seed + 90),
        ]
        presence = measure_balance(model.pipeline, scenes, seed=model.seed)
    return build_targets_section(targets, presence)


def build_targets_section(
    targets: Sequence[TargetSample], presence: Sequence[PresenceSample]
) -> ReportSection:
    """Return the section of the samples of `measure_targets` and `measure_balance`."""
    rows = []
    for target in sorted({sample.target for sample in targets}):
        own = [sample for sample in targets if sample.target == target]
        rows.append(
            (
                f"{target:.0%}",
                ClusterMean.from_samples((sample.scene, sample.share) for sample in own),
                ClusterMean.from_samples((sample.scene, abs(sample.share - target)) for sample in own),
                ClusterMean.from_samples((sample.scene, sample.fixed_share) for sample in own),
                ClusterMean.from_samples((sample.scene, sample.weight) for sample in own),
            )
        )
    columns = ("target", "share", "absolute error", "share with one weight for all steps", "weight")
    tables = [Table("Shares of the words' attention", columns, tuple(rows))]
    if presence:
        tables.append(_balance_table(presence))
    return ReportSection(
        "share-targets",
        "Attention shares of phrases, and balanced shares",
        "A weight is solved at every step of a run from the recording of the step before; then the "
        "geometric mean of those weights is used for the whole run. With balanced shares all phrases of a "
        "prompt have equal shares; the noise is the same with and without.",
        tuple(tables),
    )


def _balance_table(samples: Sequence[PresenceSample]) -> Table:
    """Return the fraction of objects present by condition, and the paired difference."""
    rows = []
    for objects in sorted({sample.objects for sample in samples}):
        fractions = {
            condition: {
                sample.scene: sample.present / objects
                for sample in samples
                if (sample.objects, sample.condition) == (objects, condition)
            }
            for condition in CONDITIONS
        }
        before, after = fractions.values()
        rows.append(
            (
                str(objects),
                *(ClusterMean.from_samples(by_scene.items()) for by_scene in fractions.values()),
                Mean.from_samples(after[scene] - before[scene] for scene in before),
            )
        )
    return Table(
        "Objects of the prompt that are present in the image",
        ("objects", *CONDITIONS, "difference"),
        tuple(rows),
    )
