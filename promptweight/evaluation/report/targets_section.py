"""Report section of share targets."""

from __future__ import annotations

from collections.abc import Sequence

from promptweight.evaluation.prompt_fidelity import held_out_scenes
from promptweight.evaluation.report.document import ReportSection, Table
from promptweight.evaluation.report.subject import EvaluatedModel
from promptweight.evaluation.share_targets import TargetSample, measure_targets
from promptweight.evaluation.statistics import ClusterMean


def report_share_targets(model: EvaluatedModel) -> ReportSection:
    """Measure shares against their targets, and return their section."""
    pairs = list(held_out_scenes(model.fraction(20), 2, False, model.seed + 80))
    return build_targets_section(measure_targets(model.pipeline, pairs, seed=model.seed))


def build_targets_section(targets: Sequence[TargetSample]) -> ReportSection:
    """Return the section of the samples of `measure_targets`."""
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
    return ReportSection(
        "share-targets",
        "Attention shares of phrases",
        "A weight is solved at every step of a run from the recording of the step before; then the "
        "geometric mean of those weights is used for the whole run.",
        (Table("Shares of the words' attention", columns, tuple(rows)),),
    )
