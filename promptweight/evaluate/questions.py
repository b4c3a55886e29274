"""The questions of a report: each measures something and tells it as a section.

Every question takes a `Subject` and gives a `Section`. What a model is asked depends on whether it draws the
built-in world, whose masks are known: see `Question.needs_masks`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from promptweight.evaluation import told_leaks
from promptweight.evaluation.report import map_sections, picture_sections
from promptweight.evaluation.report.document import Section
from promptweight.evaluation.report.subject import Subject


@dataclass(frozen=True)
class Question:
    """What can be asked."""

    name: str
    ask: Callable[[Subject], Section]
    needs_masks: bool
    """Whether it is asked only of models that draw the built-in world."""


QUESTIONS = (
    Question("drawing", picture_sections.drawing, True),
    Question("localisation", map_sections.localisation, True),
    Question("faithfulness", map_sections.faithfulness, False),
    Question("response", picture_sections.response, False),
    Question("targets", picture_sections.targets, False),
    Question("leakage", told_leaks.leakage, True),
)
"""In the order of a report."""
