"""Report section of faithfulness: maps against the effect of removing a word."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from promptweight.errors import SettingError
from promptweight.evaluation.faithfulness import (
    ABLATIONS,
    MAP_VIEWS,
    FaithfulnessSample,
    measure_faithfulness,
)
from promptweight.evaluation.noising import can_predict
from promptweight.evaluation.report.document import ReportSection, Table
from promptweight.evaluation.report.subject import EvaluatedModel
from promptweight.evaluation.statistics import ClusterMean
from promptweight.messages import message


def report_faithfulness(model: EvaluatedModel) -> ReportSection:
    """Measure faithfulness and return its section.

    Raises:
        SettingError: the model is not Stable Diffusion 1, 2 or 3.
    """
    if not can_predict(model.pipeline):
        raise SettingError(message("report-faithfulness-model", pipeline=type(model.pipeline).__name__))
    samples = measure_faithfulness(
        model.pipeline, number=model.fraction(8), seed=model.seed + 50, is_rendered=model.draws_builtin_world
    )
    return build_faithfulness_section(samples)


def build_faithfulness_section(samples: Sequence[FaithfulnessSample]) -> ReportSection:
    """Return the section of the samples of `measure_faithfulness`."""
    parts = list(dict.fromkeys(sample.part for sample in samples))
    correlations = tuple(
        (
            part,
            view,
            *(
                ClusterMean.from_samples(
                    (s.scene, s.correlation)
                    for s in samples
                    if (s.part, s.view, s.ablation) == (part, view, ablation)
                )
                for ablation in ABLATIONS
            ),
        )
        for part, view in product(parts, MAP_VIEWS)
    )
    strengths = tuple(
        (
            part,
            ClusterMean.from_samples(
                (s.scene, s.strength)
                for s in samples
                if (s.part, s.view, s.ablation) == (part, MAP_VIEWS[0], "masked")
            ),
        )
        for part in parts
    )
    return ReportSection(
        "faithfulness",
        "Faithfulness of attention maps",
        "The map of a word is compared with |ε with the word − ε without it| at every latent by Spearman's "
        "rank correlation: 1 if the map orders positions as the effect does. “masked”: the word's keys are "
        "masked in attention; “deleted”: the word is deleted from the text, which also changes the other "
        "words. If masking has a much smaller effect than deletion, other tokens, among them the end of "
        "the text and the padding, carry the meaning of the word, and a weight on its keys has little "
        "effect.",
        (
            Table("Rank correlation of map and effect", ("word", "map", *ABLATIONS), correlations),
            Table("Effect of masking a word's keys, relative to deletion", ("word", "ratio"), strengths),
        ),
    )
