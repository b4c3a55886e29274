"""Asks a model the questions of a report, one after the other, and writes what was found."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptweight import validation
from promptweight.errors import SettingError
from promptweight.evaluation.report import map_sections, picture_sections
from promptweight.evaluation.report.document import Section
from promptweight.evaluation.report.subject import Subject, draws_world


def report(
    model: Any,
    folder: str | os.PathLike[str],
    *,
    chosen: Sequence[str] = (),
    number: int = 200,
    seed: int = 0,
    ways: Sequence[str] = (),
    follow: Callable[[str], None] | None = None,
) -> tuple[list[Section], list[Path]]:
    """Measure a model and writes `report.md`, `report.json` and plots.

    What is written after each question is complete, so that a long run that is stopped leaves a report.

    Args:
        model: a pipeline, or what `promptweight.load` takes. One that does not draw the built-in world is
            asked only what needs no masks.
        folder: where to.
        chosen: names of some of `QUESTIONS`; all that can be asked of the model when empty.
        number: prompts of the largest question; costly questions get a part of it.
        seed: chooses the held-out prompts, scenes and noises.
        ways: of the question `response`: some ways in which weights act, by name or by space ("embedding",
            "attention"); all when empty. What it measures is kept in the folder's `pictures.jsonl`; asked
            again with the same settings of the same model it goes on from there.
        follow: told the name of each question before it is asked.

    Returns:
        The sections of the report, and the files.

    Raises:
        SettingError: an unknown question or way, one that cannot be asked of this model, nothing to draw
            plots with, or a folder that holds what was measured with other settings.
        ModelError: the model cannot be loaded.
    """
    from promptweight.evaluation.report.writers import check_plots, write
    from promptweight.evaluation.weight_response import chosen_ways
    from promptweight.models import get_origin, load

    for name in chosen:
        validation.check_choice("question", name, tuple(question.name for question in QUESTIONS))
    chosen_ways(ways)
    check_plots()
    pipeline: Any = load(model) if isinstance(model, (str, os.PathLike)) else model
    pipeline.set_progress_bar_config(disable=True)
    subject = Subject(
        get_origin(pipeline).model, pipeline, number, seed, draws_world(pipeline), tuple(ways), Path(folder)
    )
    asked = [each for each in QUESTIONS if not chosen or each.name in chosen]
    if not subject.draws_world:
        unknown = [each.name for each in asked if each.needs_masks]
        if chosen and unknown:
            raise SettingError(
                f"{', '.join(unknown)} needs pictures whose masks are known; {subject.name} does not draw "
                "the built-in world"
            )
        asked = [each for each in asked if not each.needs_masks]
    settings: dict[str, Any] = {
        "model": subject.name,
        "number": number,
        "seed": seed,
        "questions": [q.name for q in asked],
    }
    if ways:
        settings["ways"] = list(ways)
    sections: list[Section] = []
    files: list[Path] = []
    for question in asked:
        if follow is not None:
            follow(question.name)
        sections.append(question.ask(subject))
        files = write(Path(folder), f"{subject.name}, measured", said(subject, chosen), sections, settings)
    return sections, files


def said(subject: Subject, chosen: Sequence[str]) -> str:
    """How the report was made, in a paragraph."""
    questions = f"--questions {','.join(chosen)} " if chosen else ""
    ways = "".join(f"--way {shlex.quote(way)} " for way in subject.ways)
    return (
        f"Made by `promptweight evaluate {subject.name} --report DIR {questions}{ways}"
        f"--number {subject.number} --seed {subject.seed}`. "
        "Prompts, scenes and noises come from seeds that no training used. "
        "Intervals are of 95 %; n counts scenes or pictures."
    )


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
    Question("leakage", map_sections.leakage, True),
)
"""In the order of a report."""
