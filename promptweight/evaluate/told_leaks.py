"""What was measured about the early warning of leaks, told as a section of a report."""

from __future__ import annotations

from promptweight.attention.binding import THRESHOLD
from promptweight.evaluate import drawing as drawing_scenes
from promptweight.evaluate import leakage as leaking
from promptweight.evaluate.page import Section, Table
from promptweight.evaluate.questions import Subject


def leakage(subject: Subject) -> Section:
    """Whether the early warning of a leak is right."""
    number, seed = subject.part(3), subject.seed + 60
    scenes = [
        *drawing_scenes.held_out(number, 2, False, seed),
        *drawing_scenes.held_out(number, 2, True, seed),
        *drawing_scenes.held_out(number, 3, False, seed),
    ]
    return told_leaks(leaking.measure(subject.pipeline, scenes, seed=subject.seed))


def told_leaks(found: list[leaking.Warned]) -> Section:
    """The section about `leakage.measure`."""
    lines = []
    for truth, name in (
        ("is_mixed", "a thing has another's colour"),
        ("is_wrong", "not both things are right"),
    ):
        for said, verdict in (
            ("as generate warns", leaking.at_threshold(found, truth, THRESHOLD)),
            ("best F-score of the other half", leaking.judge(found, truth)),
        ):
            told = (verdict.base, verdict.threshold, verdict.precision, verdict.recall, verdict.area)
            lines.append((name, said, *told))
    columns = (
        "finished picture",
        "threshold",
        "how often",
        "its value",
        "precision",
        "recall",
        "area under ROC",
    )
    return Section(
        "leakage",
        "Is the warning of a leaking attribute right?",
        f"After {leaking.WARNED_AFTER} of {leaking.STEPS} steps the map of a phrase's last word is "
        "compared with the rest of its phrase and with the other phrase (`promptweight.attention.binding`). "
        "A third of the prompts has two things, a third two things and a relation, a third three things. "
        "The threshold with which `generate` warns was chosen on pictures of other seeds and judged on all "
        "of these; the one with the best F-score was chosen on every second picture, judged on the others. "
        "The area under the ROC curve is of all. With few bad pictures the intervals are wide.",
        (Table("The warning against the finished picture", columns, tuple(lines)),),
    )
