"""Plan of a batch: rows multiplied by seeds and sweeps into images with stable ids.

An id is a digest of all that determines an image (`promptweight.batch.image_ids`), so the file name that
contains it identifies a finished image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from promptweight.batch.image_ids import ImageIds
from promptweight.batch.job_rows import Problem, Row
from promptweight.batch.jobs import Job
from promptweight.batch.parsed_prompts import ParsedPrompts
from promptweight.batch.random_seeds import RandomSeeds
from promptweight.batch.row_expansion import MAX_PLANNED_IMAGES, RowExpander, StyleError
from promptweight.batch.styles import StyleSheet
from promptweight.batch.sweep import Sweep
from promptweight.errors import PromptweightError, SettingError
from promptweight.messages import message
from promptweight.models import ModelIdentity, identify_model
from promptweight.prompt import Prompt, find_phrase


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """One image of a plan.

    Attributes:
        job: its settings.
        id: hexadecimal digits; see `promptweight.batch.image_ids`.
        index: its number in the plan, from 1.
        row: the row of the job file that it comes from.
        labels: the varied settings of a sweep as text, the seed last; empty without a sweep.
    """

    job: Job
    id: str
    index: int
    row: Row
    labels: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """The name of its files without the suffix."""
        return f"{self.index:05d}-{self.job.seed}-{self.id}"


@dataclass(frozen=True)
class Plan:
    """All images of a batch.

    Attributes:
        images: the images, in order.
        model: the identity of the model.
        problems: errors and warnings about the rows and their prompts.
        sweep: the sweep.
        prompts: the parsed prompts.
    """

    images: tuple[PlannedImage, ...]
    model: ModelIdentity
    problems: tuple[Problem, ...] = ()
    sweep: Sweep = field(default_factory=Sweep)
    prompts: ParsedPrompts = field(default_factory=ParsedPrompts, repr=False, compare=False)

    def with_images(self, images: Sequence[PlannedImage]) -> Plan:
        """Return the same plan with other images."""
        return replace(self, images=tuple(images))


def plan_batch(
    rows: Sequence[Row],
    *,
    model: str | ModelIdentity = "mini",
    defaults: Mapping[str, Any] | None = None,
    sweep: Sweep = Sweep(),  # noqa: B008 - frozen
    wildcards: str | Path | None = None,
    styles: StyleSheet | None = None,
    random_seeds: RandomSeeds | None = None,
    lora_dir: str | None = None,
    embeddings_dir: str | None = None,
    offline: bool = False,
    on_image: Callable[[PlannedImage, Prompt], None] | None = None,
) -> Plan:
    """Return the plan of some rows; errors in them are among its `problems`.

    A row without seeds gets one from its prompt and negative prompt, a different one for each repetition,
    whatever else is in the file; the seed -1 is a random one. Choices such as `{a|b}` are made with the seed
    of the image.

    Args:
        rows: as `read_jobs` returns them.
        model: what `promptweight.load` takes, or its identity.
        defaults: values of fields that a row does not set; also `seeds` and `count`.
        sweep: the axes that vary.
        wildcards: folder of the files that `__name__` refers to.
        styles: the styles that rows may name.
        random_seeds: those of the output folder; None for seeds that the next plan does not have.
        lora_dir: folder of LoRAs; with `embeddings_dir` as in `promptweight.generate`.
        embeddings_dir: folder of textual inversions.
        offline: whether a model that is not on this machine is not downloaded.
        on_image: called with each image and its parsed prompt when it is planned.

    Raises:
        ModelError: the model cannot be found.
        SettingError: the plan has more than a million images, or no prompt contains a phrase of the sweep.
    """
    identity = model if isinstance(model, ModelIdentity) else identify_model(model, offline=offline)
    prompts, ids = ParsedPrompts(), ImageIds(identity)
    adapters = {"lora_dir": lora_dir, "embeddings_dir": embeddings_dir}
    expander = RowExpander(
        prompts,
        defaults=defaults or {},
        common=adapters,
        sweep=sweep,
        wildcards=wildcards,
        styles=styles,
        random_seeds=random_seeds or RandomSeeds(),
    )
    problems: dict[Problem, None] = {}
    by_id: dict[str, PlannedImage] = {}
    unused_phrases = {phrase for phrase, _ in sweep.weights}
    for row in rows:
        try:
            for job, labels in expander.expand(row):
                prompt = prompts.get(job.prompt, job.options.dialect)
                image_id = ids.of(job, prompt, prompts.get(job.negative_prompt, job.options.dialect))
                if image_id in by_id:
                    text = f"the same image as line {by_id[image_id].row.line}"
                    problems[row.problem("prompt", text, is_warning=True)] = None
                    continue
                if len(by_id) >= MAX_PLANNED_IMAGES:
                    raise SettingError(message("plan-too-large", most=MAX_PLANNED_IMAGES))
                unused_phrases -= {phrase for phrase in unused_phrases if find_phrase(prompt, phrase)}
                image = by_id[image_id] = PlannedImage(job, image_id, len(by_id) + 1, row, labels)
                problems |= dict.fromkeys(find_diagnostics(image, prompt))
                if on_image is not None:
                    on_image(image, prompt)
        except StyleError as error:
            problems[row.problem("styles", str(error))] = None
        except PromptweightError as error:
            if len(by_id) >= MAX_PLANNED_IMAGES:
                raise
            problems[row.problem("prompt", str(error))] = None
    for phrase in sorted(unused_phrases):
        raise SettingError(message("plan-phrase", phrase=phrase))
    return Plan(tuple(by_id.values()), identity, tuple(problems), sweep, prompts)


def find_diagnostics(image: PlannedImage, prompt: Prompt) -> Iterator[Problem]:
    """Yield the diagnostics of a prompt as warnings, at their positions in the file where it is unchanged."""
    is_source = image.job.prompt == image.row.values.get("prompt")
    for diagnostic in prompt.diagnostics:
        if diagnostic.severity != "info":
            offset = diagnostic.start if is_source else 0
            yield image.row.problem("prompt", diagnostic.message, offset=offset, is_warning=True)
