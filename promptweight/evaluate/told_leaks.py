"""What was measured about the early warning of things missing or mixed up, told as a section of a report."""

from __future__ import annotations

from collections.abc import Sequence

from promptweight.evaluation import missing_concepts as leaking
from promptweight.evaluation.report.document import Section, Table
from promptweight.evaluation.report.subject import Subject
from promptweight.generation.early_warning import THRESHOLD


def leakage(subject: Subject) -> Section:
    """Whether the early warning is right."""
    scenes = leaking.scenes_of(subject.part(len(leaking.PROMPTS)), subject.seed + 60)
    return told_leaks(*leaking.measure(subject.pipeline, scenes, seed=subject.seed))


def told_leaks(found: Sequence[leaking.Warned], of_phrases: Sequence[leaking.Warned]) -> Section:
    """The section about `leaking.measure`: its pictures and their phrases."""
    lines = []
    for rows, truth, name in (
        (found, "is_wrong", "a picture lacks a thing in its colour"),
        (of_phrases, "is_wrong", "the phrase's thing is not there in its colour"),
        (found, "is_mixed", "a picture has a thing in another colour"),
    ):
        for said, verdict in (
            ("as generate warns", leaking.at_threshold(rows, truth, THRESHOLD)),
            ("best F-score of the other half", leaking.judge(rows, truth)),
        ):
            lines.append((name, said, *cells(verdict)))
    columns = ("chosen", "how often", "threshold", "precision", "recall", "area under ROC")
    by_prompt = tuple(
        (prompts, verdict.base, verdict.precision, verdict.recall, verdict.area)
        for prompts in leaking.PROMPTS
        if (own := [each for each in found if each.prompts == prompts])
        for verdict in [leaking.at_threshold(own, "is_wrong", THRESHOLD)]
    )
    return Section(
        "leakage",
        "Is the warning of things missing or mixed up right?",
        f"After {leaking.WARNED_AFTER} of {leaking.STEPS} steps it is seen how focused the map of each "
        "phrase's last word is in that step, against the most focused one of the prompt "
        "(`promptweight.generation.early_warning`). Prompts name two things, two of one kind in different colours, "
        "three things, or four, a quarter each; four are more than the model ever learnt from, so that "
        "enough goes wrong. The threshold with which `generate` warns was chosen on pictures of other seeds "
        "and judged on all of these; the one with the best F-score was chosen on every second picture, "
        "judged on the others. The area under the ROC curve is of all. Phrases of one picture are counted "
        "as if they were independent.",
        (
            Table("The warning against the finished picture", ("finished picture", *columns), tuple(lines)),
            Table(
                "A picture lacks a thing, as generate warns, by what the prompt names",
                ("prompts", "how often", "precision", "recall", "area under ROC"),
                by_prompt,
            ),
        ),
    )


def cells(verdict: leaking.Verdict) -> tuple[object, ...]:
    """A verdict as cells of a table."""
    return verdict.base, verdict.threshold, verdict.precision, verdict.recall, verdict.area
