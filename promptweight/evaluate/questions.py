"""The questions of a report: each measures something and tells it as a section.

Every question takes a `Subject` and gives a `Section`. What a model is asked depends on whether it draws the
built-in world, whose masks are known: see `Question.needs_masks`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptweight.evaluate.page import Section


@dataclass(frozen=True)
class Subject:
    """A model, and how thoroughly it is asked."""

    name: str
    pipeline: Any
    number: int
    """Prompts of the largest question; the others take a part of it."""
    seed: int
    draws_world: bool
    """Whether it draws the built-in world, so that masks are known."""
    ways: tuple[str, ...] = ()
    """Ways in which weights act, or spaces, that `response` is asked of; all when empty."""
    folder: Path | None = None
    """Where what was measured is kept, so that a run that was stopped goes on."""

    def part(self, divisor: int) -> int:
        """So many prompts as a costly question gets, 1 or more."""
        return max(1, self.number // divisor)


@dataclass(frozen=True)
class Question:
    """What can be asked."""

    name: str
    ask: Callable[[Subject], Section]
    needs_masks: bool
    """Whether it is asked only of models that draw the built-in world."""


def draws_world(pipeline: Any) -> bool:
    """Whether a pipeline's own pictures have the 64 pixels a side of the built-in world."""
    model = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    size = getattr(getattr(model, "config", None), "sample_size", None)
    return isinstance(size, int) and size * getattr(pipeline, "vae_scale_factor", 8) == 64


def questions() -> tuple[Question, ...]:
    """All questions, in the order of a report."""
    from promptweight.evaluate import told_leaks, told_maps, told_pictures

    return (
        Question("drawing", told_pictures.drawing, True),
        Question("localisation", told_maps.localisation, True),
        Question("faithfulness", told_maps.faithfulness, False),
        Question("response", told_pictures.response, False),
        Question("targets", told_pictures.targets, False),
        Question("leakage", told_leaks.leakage, True),
    )


NAMES = ("drawing", "localisation", "faithfulness", "response", "targets", "leakage")
