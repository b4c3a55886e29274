"""Runs the measurements of a report one after the other and writes the report after each."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptweight import validation
from promptweight.errors import SettingError
from promptweight.evaluation.degree_response import list_words
from promptweight.evaluation.report.degree_section import report_degree_response
from promptweight.evaluation.report.document import ReportSection
from promptweight.evaluation.report.faithfulness_section import report_faithfulness
from promptweight.evaluation.report.fidelity_section import report_prompt_fidelity
from promptweight.evaluation.report.localization_section import report_localization
from promptweight.evaluation.report.negative_section import report_negative_prompts
from promptweight.evaluation.report.reach_section import report_weight_reach
from promptweight.evaluation.report.response_section import report_weight_response
from promptweight.evaluation.report.subject import EvaluatedModel
from promptweight.evaluation.report.targets_section import report_share_targets
from promptweight.evaluation.report.warning_section import report_missing_concepts
from promptweight.messages import message

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline


@dataclass(frozen=True)
class Measurement:
    """A measurement of a report."""

    name: str
    run: Callable[[EvaluatedModel], ReportSection]
    needs_masks: bool
    """True if it requires a model of the built-in world."""
    needs_degrees: bool = False
    """True if this world must have words of degree, such as sizes."""

    def is_possible(self, model: EvaluatedModel) -> bool:
        """Return True if the measurement can be made with a model."""
        if self.needs_degrees:
            return model.world is not None and bool(list_words(model.world))
        return model.world is not None or not self.needs_masks


MEASUREMENTS = (
    Measurement("prompt-fidelity", report_prompt_fidelity, True),
    Measurement("localization", report_localization, True),
    Measurement("faithfulness", report_faithfulness, False),
    Measurement("weight-reach", report_weight_reach, True),
    Measurement("weight-response", report_weight_response, False),
    Measurement("degree-response", report_degree_response, True, True),
    Measurement("share-targets", report_share_targets, False),
    Measurement("negative-prompts", report_negative_prompts, True),
    Measurement("missing-concepts", report_missing_concepts, True),
)
"""In the order of a report."""


def write_report(
    model: Any,
    folder: str | os.PathLike[str],
    *,
    only: Sequence[str] = (),
    number: int = 200,
    seed: int = 0,
    weightings: Sequence[str] = (),
    progress: Callable[[str], None] | None = None,
) -> tuple[list[ReportSection], list[Path]]:
    """Measure a model and write `report.md`, `report.json` and plots.

    The report is complete after each measurement, so that a stopped run leaves a valid one.

    Args:
        model: a pipeline, or any model that `promptweight.load` accepts. Measurements that need masks are
            omitted for a model that does not generate the built-in world.
        folder: output folder.
        only: names of some of `MEASUREMENTS`; all that are possible for the model if empty.
        number: prompts of the largest measurement; expensive measurements use a fraction.
        seed: selects the held-out prompts, scenes and noise.
        weightings: weightings of the measurement `weight-response`, as text; all if empty. Its samples are
            stored in `images.jsonl` in the folder, from which a run with the same settings and model resumes.
        progress: called with the name of each measurement before it starts.

    Returns:
        The sections of the report, and the files.

    Raises:
        SettingError: an unknown measurement or weighting, one that is not possible for this model, a missing
            package of the extra `report`, or a folder with samples of other settings.
        ModelError: the model cannot be loaded.
    """
    from promptweight.evaluation.report.writers import require_report_extra, write
    from promptweight.evaluation.weight_response import select_weightings
    from promptweight.mini.worlds import world_of
    from promptweight.models import get_origin, load

    for name in only:
        validation.check_choice("only", name, tuple(measurement.name for measurement in MEASUREMENTS))
    select_weightings(weightings)
    require_report_extra()
    pipeline: Pipeline = load(model) if isinstance(model, (str, os.PathLike)) else model
    pipeline.set_progress_bar_config(disable=True)
    subject = EvaluatedModel(
        get_origin(pipeline).model,
        pipeline,
        number,
        seed,
        world_of(pipeline),
        tuple(weightings),
        Path(folder),
    )
    selected = [measurement for measurement in MEASUREMENTS if not only or measurement.name in only]
    impossible = [measurement for measurement in selected if not measurement.is_possible(subject)]
    if only and impossible:
        names = ", ".join(measurement.name for measurement in impossible)
        if subject.draws_builtin_world:
            raise SettingError(message("report-degrees-model", measurements=names, model=subject.name))
        raise SettingError(message("report-masks-model", measurements=names, model=subject.name))
    selected = [measurement for measurement in selected if measurement not in impossible]
    settings: dict[str, Any] = {
        "model": subject.name,
        "number": number,
        "seed": seed,
        "measurements": [measurement.name for measurement in selected],
    }
    if weightings:
        settings["weightings"] = list(weightings)
    sections: list[ReportSection] = []
    files: list[Path] = []
    for measurement in selected:
        if progress is not None:
            progress(measurement.name)
        sections.append(measurement.run(subject))
        title, description = f"Evaluation of {subject.name}", _describe_command(subject, only)
        files = write(Path(folder), title, description, sections, settings)
    return sections, files


def _describe_command(subject: EvaluatedModel, only: Sequence[str]) -> str:
    """Return a paragraph with the command that writes the report."""
    selection = f"--only {','.join(only)} " if only else ""
    weightings = "".join(f"--weighting {shlex.quote(weighting)} " for weighting in subject.weightings)
    return (
        f"Written by `promptweight evaluate {subject.name} --report DIR {selection}{weightings}"
        f"--number {subject.number} --seed {subject.seed}`. "
        "Prompts, scenes and noise come from seeds that training does not use. "
        "Intervals are 95 % intervals; n is the number of scenes or images."
    )
