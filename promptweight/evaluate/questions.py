"""The questions of a report: each measures something and tells it as a section.

Every question takes a `Subject` and gives a `Section`. What a model is asked depends on whether it draws the
built-in world, whose masks are known: see `Question.needs_masks`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from promptweight.evaluate import told_leaks, told_maps, told_pictures
from promptweight.evaluate.subject import Subject
from promptweight.evaluate.telling import Section


@dataclass(frozen=True)
class Question:
    """What can be asked."""

    name: str
    ask: Callable[[Subject], Section]
    needs_masks: bool
    """Whether it is asked only of models that draw the built-in world."""


QUESTIONS = (
    Question("drawing", told_pictures.drawing, True),
    Question("localisation", told_maps.localisation, True),
    Question("faithfulness", told_maps.faithfulness, False),
    Question("response", told_pictures.response, False),
    Question("targets", told_pictures.targets, False),
    Question("leakage", told_leaks.leakage, True),
)
"""In the order of a report."""
