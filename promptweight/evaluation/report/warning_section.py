"""Report section of the early warning of missing concepts."""

from __future__ import annotations

from collections.abc import Sequence

from promptweight.evaluation.missing_concepts import (
    PROMPT_TYPES,
    STEPS,
    WARNING_STEP,
    WarningSample,
    assess_selected_threshold,
    assess_threshold,
    measure_missing_concepts,
    sample_scenes,
)
from promptweight.evaluation.report.document import ReportSection, Table
from promptweight.evaluation.report.subject import EvaluatedModel
from promptweight.generation import LEAK_THRESHOLD


def report_missing_concepts(model: EvaluatedModel) -> ReportSection:
    """Measure the early warning and return its section."""
    scenes = sample_scenes(model.fraction(len(PROMPT_TYPES)), model.seed + 60)
    return build_warning_section(*measure_missing_concepts(model.pipeline, scenes, seed=model.seed))


def build_warning_section(
    of_images: Sequence[WarningSample], of_phrases: Sequence[WarningSample]
) -> ReportSection:
    """Return the section of the samples of `measure_missing_concepts`."""
    columns = ("threshold selected by", "base rate", "threshold", "precision", "recall", "area under ROC")
    rows = []
    for samples, fault, name in (
        (of_images, "is_missing", "an image lacks an object in its color"),
        (of_phrases, "is_missing", "the phrase's object is missing in its color"),
        (of_images, "is_misbound", "an image has an object in another color"),
    ):
        for selection, quality in (
            ("generate", assess_threshold(samples, fault, LEAK_THRESHOLD)),
            ("best F-score of the other half", assess_selected_threshold(samples, fault)),
        ):
            cells = (quality.base_rate, quality.threshold, quality.precision, quality.recall, quality.area)
            rows.append((name, selection, *cells))
    by_prompt_type = tuple(
        (prompt_type, quality.base_rate, quality.precision, quality.recall, quality.area)
        for prompt_type in PROMPT_TYPES
        if (own := [each for each in of_images if each.prompt_type == prompt_type])
        for quality in [assess_threshold(own, "is_missing", LEAK_THRESHOLD)]
    )
    return ReportSection(
        "missing-concepts",
        "Early warning of missing or mixed-up objects",
        f"After {WARNING_STEP} of {STEPS} steps the contrast of the map of each phrase's last word in that "
        "step is compared with the highest contrast in the prompt "
        "(`promptweight.generation.early_warning`). A quarter of the prompts each have two objects, two of "
        "one kind in different colors, three objects, and four; training scenes have at most three, so "
        "that enough images are faulty. The threshold of `generate` was selected on images of other seeds "
        "and is assessed on all images here; the one with the best F-score is selected on every second "
        "image and assessed on the others. The area under the ROC curve is that of all. The phrases of an "
        "image are counted as independent.",
        (
            Table("The warning against the finished image", ("finished image", *columns), tuple(rows)),
            Table(
                "An image lacks an object, with the threshold of generate, by type of prompt",
                ("prompts", "base rate", "precision", "recall", "area under ROC"),
                by_prompt_type,
            ),
        ),
    )
