"""Plan of a batch: rows multiplied by seeds and sweeps into images with stable ids.

An id is a digest of all that determines an image: the model and its revision or the fingerprint of its files,
the parsed prompt, every setting, the seed, and the version of promptweight. The same job has the same id in
any order, shard or file, so its file name identifies a finished image.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from promptweight._version import __version__
from promptweight.batch.job_rows import Problem, Row
from promptweight.batch.jobs import Job
from promptweight.batch.sweep import Sweep, sweep_points
from promptweight.errors import PromptweightError, SettingError
from promptweight.generation import MAX_SEED
from promptweight.models import ModelIdentity, fingerprint_files, identify_model
from promptweight.prompt import ParseTree, expand, find_phrase, parse, write

MAX_PLANNED_IMAGES = 1_000_000
ID_DIGITS = 12
_JOB_FIELDS = tuple(each.name for each in fields(Job))


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """One image of a plan.

    Attributes:
        job: its settings.
        id: `ID_DIGITS` hexadecimal digits.
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
        problems: errors and warnings about the rows.
        sweep: the sweep.
        lora_dir: as in `promptweight.generate`, like `embeddings_dir`.
        embeddings_dir: likewise.
    """

    images: tuple[PlannedImage, ...]
    model: ModelIdentity
    problems: tuple[Problem, ...] = ()
    sweep: Sweep = field(default_factory=Sweep)
    lora_dir: str | None = None
    embeddings_dir: str | None = None

    def with_images(self, images: Sequence[PlannedImage]) -> Plan:
        """Return the same plan with other images."""
        return replace(self, images=tuple(images))


def plan_batch(
    rows: Sequence[Row],
    *,
    model: str = "mini",
    defaults: Mapping[str, Any] | None = None,
    sweep: Sweep = Sweep(),  # noqa: B008 - frozen
    wildcards: str | Path | None = None,
    lora_dir: str | None = None,
    embeddings_dir: str | None = None,
    offline: bool = False,
) -> Plan:
    """Return the plan of some rows; errors in them are among its `problems`.

    A row without seeds gets one from its prompt and negative prompt, a different one for each repetition,
    whatever else is in the file. Choices such as `{a|b}` are made with the seed of the image.

    Args:
        rows: as `read_jobs` returns them.
        model: what `promptweight.load` takes.
        defaults: values of fields that a row does not set; also `seeds` and `count`.
        sweep: the axes that vary.
        wildcards: folder of the files that `__name__` refers to.
        lora_dir: folder of LoRAs; with `embeddings_dir` as in `promptweight.generate`.
        embeddings_dir: folder of textual inversions.
        offline: whether a model that is not on this machine is not downloaded.

    Raises:
        ModelError: the model cannot be found.
        SettingError: the plan has more than a million images, or no prompt contains a phrase of the sweep.
    """
    identity = identify_model(model, offline=offline)
    problems: list[Problem] = []
    images: list[PlannedImage] = []
    by_id: dict[str, PlannedImage] = {}
    repetitions: Counter[tuple[str, str]] = Counter()
    unused_phrases = {phrase for phrase, _ in sweep.weights}
    common = {
        "version": __version__,
        "model": [identity.name, identity.revision, identity.fingerprint],
    }
    for row in rows:
        values = {
            **(defaults or {}),
            **{name: value for name, value in row.values.items() if value is not None},
        }
        try:
            for job, labels in _expand_row(values, sweep, repetitions, wildcards):
                adapters = _adapter_fingerprints(job, lora_dir, embeddings_dir)
                image_id = _digest({**common, **_normalized(job), **adapters})
                if image_id in by_id:
                    text = f"the same image as line {by_id[image_id].row.line}"
                    duplicate = row.problem("prompt", text, is_warning=True)
                    if duplicate not in problems[-1:]:
                        problems.append(duplicate)
                    continue
                if len(images) >= MAX_PLANNED_IMAGES:
                    raise SettingError(f"the plan must have at most {MAX_PLANNED_IMAGES} images; got more")
                if unused_phrases:
                    prompt = _parse_cached(job.prompt, job.dialect).at()
                    unused_phrases -= {phrase for phrase in unused_phrases if find_phrase(prompt, phrase)}
                by_id[image_id] = PlannedImage(job, image_id, len(images) + 1, row, labels)
                images.append(by_id[image_id])
        except PromptweightError as error:
            if len(images) >= MAX_PLANNED_IMAGES:
                raise
            problems.append(row.problem("prompt", str(error)))
    for phrase in sorted(unused_phrases):
        raise SettingError(f"weights must be of a phrase in a prompt; no prompt contains {phrase!r}")
    return Plan(tuple(images), identity, tuple(problems), sweep, lora_dir, embeddings_dir)


def prompt_diagnostics(plan: Plan) -> Iterator[Problem]:
    """Yield the diagnostics of the prompts of a plan as warnings, each once for each row."""
    reported: set[tuple[int, int, str]] = set()
    for image in plan.images:
        prompt = _parse_cached(image.job.prompt, image.job.dialect)
        for diagnostic in prompt.diagnostics:
            key = (image.row.line, diagnostic.start, diagnostic.message)
            if diagnostic.severity != "info" and key not in reported:
                reported.add(key)
                is_source = image.job.prompt == image.row.values.get("prompt")
                offset = diagnostic.start if is_source else 0
                yield image.row.problem("prompt", diagnostic.message, offset=offset, is_warning=True)


def default_seed(prompt: str, negative_prompt: str, repetition: int) -> int:
    """Return the seed of a row without seeds: 0 .. 2³² - 1, from its prompts alone."""
    text = json.dumps([prompt, negative_prompt, repetition])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _expand_row(
    values: Mapping[str, Any],
    sweep: Sweep,
    repetitions: Counter[tuple[str, str]],
    wildcards: str | Path | None,
) -> Iterator[tuple[Job, tuple[str, ...]]]:
    """Yield the jobs of a row with the labels of the sweep."""
    settings = {name: value for name, value in values.items() if name in _JOB_FIELDS and name != "prompt"}
    prompt, negative = values["prompt"], values.get("negative_prompt", "")
    seeds: Sequence[int] = sweep.seeds or values.get("seeds") or ()
    count = values.get("count") or 1
    if seeds and count > 1:
        if len(seeds) * count > MAX_PLANNED_IMAGES:
            raise SettingError(
                f"seeds × count must be at most {MAX_PLANNED_IMAGES}; got {len(seeds)} × {count}"
            )
        seeds = list(dict.fromkeys(seed + number for seed in seeds for number in range(count)))
        if max(seeds) > MAX_SEED:
            raise SettingError(
                f"the last seed of {count} images must be at most {MAX_SEED}; got {max(seeds)}"
            )
    if not seeds:
        first = repetitions[prompt, negative]
        repetitions[prompt, negative] += count
        seeds = [default_seed(prompt, negative, first + number) for number in range(count)]
    for point in sweep_points(prompt, settings.get("dialect", "pw"), sweep):
        for seed in seeds:
            job = Job(
                expand(point.prompt, seed, wildcards),
                **{**settings, **point.settings, "seed": seed},
            )
            if negative:
                job = replace(job, negative_prompt=expand(negative, seed, wildcards))
            yield job, (*point.labels, f"seed {seed}") if sweep else ()


def _normalized(job: Job) -> dict[str, Any]:
    """Return a job with its prompts in a form that does not depend on their spelling."""
    return {
        **asdict(job),
        "prompt": write(_parse_cached(job.prompt, job.dialect)),
        "negative_prompt": write(_parse_cached(job.negative_prompt, job.dialect)),
    }


def _adapter_fingerprints(job: Job, lora_dir: str | None, embeddings_dir: str | None) -> dict[str, Any]:
    """Return the fingerprints of the files that the prompts name; empty for most prompts."""
    if lora_dir is None and embeddings_dir is None:
        return {}
    from promptweight.models import find_adapters

    trees = _parse_cached(job.prompt, job.dialect), _parse_cached(job.negative_prompt, job.dialect)
    adapters = find_adapters(
        *(tree.at() for tree in trees),
        lora_dir=lora_dir,
        embeddings_dir=embeddings_dir,
        num_inference_steps=job.num_inference_steps,
    )
    return {
        "loras": {
            name: [lora.weight, fingerprint_files([lora.path])] for name, lora in adapters.loras.items()
        },
        "embeddings": {name: fingerprint_files([path]) for name, path in adapters.embeddings.items()},
    }


@lru_cache(maxsize=1024)
def _parse_cached(text: str, dialect: str) -> ParseTree:
    return parse(text, dialect)


def _digest(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]
