"""Report section of the reach of weights: what is left of nouns, colors and phrases at weight 0."""

from __future__ import annotations

from collections.abc import Sequence

from promptweight.evaluation.localization import PARTS
from promptweight.evaluation.prompt_fidelity import held_out_scenes
from promptweight.evaluation.report.document import Metric, ReportSection, Table
from promptweight.evaluation.report.subject import EvaluatedModel
from promptweight.evaluation.statistics import ClusterMean
from promptweight.evaluation.weight_reach import ReachSample, measure_residuals
from promptweight.evaluation.weight_response import select_weightings
from promptweight.mini import LANGUAGES
from promptweight.weighting import Weighting

RESIDUAL_BAR = 0.1


def report_weight_reach(model: EvaluatedModel) -> ReportSection:
    """Measure residuals at weight 0, and return their section."""
    scenes = list(held_out_scenes(model.fraction(10), 2, False, model.seed + 120))
    # weights limited to some steps do not act at the measured one
    weightings = [each for each in select_weightings(model.weightings) if each.steps is None]
    return build_reach_section(measure_residuals(model.pipeline, scenes, weightings, seed=model.seed))


def build_reach_section(samples: Sequence[ReachSample]) -> ReportSection:
    """Return the section of the samples of `measure_residuals`."""
    cells = [(language, part) for part in PARTS for language in LANGUAGES]
    rows, metrics = [], []
    for weighting in dict.fromkeys(sample.weighting for sample in samples):
        means = [
            ClusterMean.from_samples(
                (sample.scene, sample.residual)
                for sample in samples
                if (sample.weighting, sample.language, sample.part) == (weighting, language, part)
            )
            for language, part in cells
        ]
        rows.append((weighting, *means))
        if Weighting.parse(weighting).name == "presence":
            worst = max(means, key=lambda mean: mean.value)
            metrics.append(
                Metric(
                    f"{weighting}: residual at weight 0, largest of words and languages",
                    worst.value,
                    *worst.interval,
                    worst.count,
                    RESIDUAL_BAR,
                    smaller_is_better=True,
                )
            )
    columns = ("weighting", *(f"{part}, {language}" for language, part in cells))
    return ReportSection(
        "weight-reach",
        "What is left of a word at weight 0",
        "The prediction of the denoiser with the weight 0 is compared with that for the prompt without the "
        "word: their distance, as a part of the distance that the word makes. At 0 the word is gone; at 1 it "
        "is there as before. The prompts describe two objects; the word belongs to the first.",
        (Table("Residual at weight 0", columns, tuple(rows)),),
        metrics=tuple(metrics),
    )
