"""The plan of a batch: rows multiplied by seeds and sweeps, each picture with an id that it keeps for ever.

The id is a digest of all that decides how the picture looks: the model and its revision or the fingerprint
of its files, the prompt as it is understood, every setting, the seed, and the version of promptweight. The
same job has the same id in any order, shard or file, so that a finished picture is known by its name.
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

from promptweight.batch.job_rows import Problem, Row
from promptweight.batch.jobs import Job
from promptweight.batch.sweep import Sweep, sweep_points
from promptweight.errors import PromptweightError, SettingError
from promptweight.generation import MAX_SEED
from promptweight.models import ModelIdentity, fingerprint_files, identify_model
from promptweight.prompt import Prompt, expand, parse, places

MAX_PLANNED_IMAGES = 1_000_000
ID_DIGITS = 12
_JOB_FIELDS = tuple(each.name for each in fields(Job))


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """One picture of a plan.

    Attributes:
        job: how it is made.
        id: `ID_DIGITS` hexadecimal digits.
        index: its number in the plan, from 1.
        row: the row of the job file that it comes from.
        labels: what a sweep varies, in words, the seed last; empty without a sweep.
    """

    job: Job
    id: str
    index: int
    row: Row
    labels: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """The name of its files without their ending."""
        return f"{self.index:05d}-{self.job.seed}-{self.id}"


@dataclass(frozen=True)
class Plan:
    """All pictures of a batch, and what should be known about them before they are made."""

    pictures: tuple[PlannedImage, ...]
    model: ModelIdentity
    problems: tuple[Problem, ...] = ()
    sweep: Sweep = field(default_factory=Sweep)
    lora_dir: str | None = None
    embeddings_dir: str | None = None

    def taking(self, pictures: Sequence[PlannedImage]) -> Plan:
        """The same plan with only some of its pictures."""
        return replace(self, pictures=tuple(pictures))


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
    """Return the plan of some rows; mistakes are among its `problems`.

    A row without seeds gets one from its prompt and negative prompt, another for each repetition: the same
    whatever else is in the file. Choices such as `{a|b}` are made with the picture's own seed.

    Args:
        rows: as `sources.read` returns them.
        model: what `promptweight.load` takes.
        defaults: values for what a row leaves open, by field; also `seeds` and `count`.
        sweep: what is varied.
        wildcards: the folder of the files that `__name__` stands for.
        lora_dir: the folder of LoRAs; with `embeddings_dir` as in `promptweight.generate`.
        offline: whether a model that is not on this machine is left alone instead of fetched.

    Raises:
        ModelError: the model cannot be found.
        SettingError: more than a million pictures.
    """
    identity = identify_model(model, offline=offline)
    problems: list[Problem] = []
    pictures: list[PlannedImage] = []
    seen: dict[str, PlannedImage] = {}
    repeated: Counter[tuple[str, str]] = Counter()
    unused = {phrase for phrase, _ in sweep.weights}
    common = {
        "version": _version(),
        "model": [identity.name, identity.revision, identity.fingerprint],
    }
    for row in rows:
        values = {
            **(defaults or {}),
            **{name: value for name, value in row.values.items() if value is not None},
        }
        try:
            for job, labels in _jobs_of(values, sweep, repeated, wildcards):
                prompt = _parsed(job.prompt, job.dialect)
                adapters = _adapters(job, lora_dir, embeddings_dir)
                picture_id = _digest({**common, **_described(job), **adapters})
                if picture_id in seen:
                    same = f"the same picture as line {seen[picture_id].row.line}"
                    told = row.problem("prompt", same, is_warning=True)
                    if told not in problems[-1:]:
                        problems.append(told)
                    continue
                if len(pictures) >= MAX_PLANNED_IMAGES:
                    raise SettingError(f"the plan has more than {MAX_PLANNED_IMAGES} pictures")
                unused -= {phrase for phrase in unused if places(prompt, phrase)} if unused else set()
                seen[picture_id] = PlannedImage(job, picture_id, len(pictures) + 1, row, labels)
                pictures.append(seen[picture_id])
        except PromptweightError as error:
            if len(pictures) >= MAX_PLANNED_IMAGES:
                raise
            problems.append(row.problem("prompt", str(error)))
    for phrase in sorted(unused):
        raise SettingError(f"weights are given for {phrase!r}, but no prompt holds it")
    return Plan(tuple(pictures), identity, tuple(problems), sweep, lora_dir, embeddings_dir)


def prompt_diagnostics(plan: Plan) -> Iterator[Problem]:
    """Yield what the prompt language finds odd in the prompts of a plan, once for each row and remark."""
    told: set[tuple[int, int, str]] = set()
    for picture in plan.pictures:
        prompt = _parsed(picture.job.prompt, picture.job.dialect)
        for remark in prompt.diagnostics:
            key = (picture.row.line, remark.start, remark.message)
            if remark.severity != "info" and key not in told:
                told.add(key)
                is_source = picture.job.prompt == picture.row.values.get("prompt")
                offset = remark.start if is_source else 0
                yield picture.row.problem("prompt", remark.message, offset=offset, is_warning=True)


def default_seed(prompt: str, negative_prompt: str, repetition: int) -> int:
    """Return the seed of a row that names none: 0 .. 2³² − 1, from its prompts alone."""
    text = json.dumps([prompt, negative_prompt, repetition])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _jobs_of(
    values: Mapping[str, Any],
    sweep: Sweep,
    repeated: Counter[tuple[str, str]],
    wildcards: str | Path | None,
) -> Iterator[tuple[Job, tuple[str, ...]]]:
    settings = {name: value for name, value in values.items() if name in _JOB_FIELDS and name != "prompt"}
    prompt, negative = values["prompt"], values.get("negative_prompt", "")
    seeds: Sequence[int] = sweep.seeds or values.get("seeds") or ()
    count = values.get("count") or 1
    if seeds and count > 1:
        if len(seeds) * count > MAX_PLANNED_IMAGES:
            raise SettingError(f"{len(seeds)} seeds times {count} are more than {MAX_PLANNED_IMAGES} pictures")
        seeds = list(dict.fromkeys(seed + number for seed in seeds for number in range(count)))
        if max(seeds) > MAX_SEED:
            raise SettingError(f"the last of {count} pictures has the seed {max(seeds)}; at most {MAX_SEED}")
    if not seeds:
        first = repeated[prompt, negative]
        repeated[prompt, negative] += count
        seeds = [default_seed(prompt, negative, first + number) for number in range(count)]
    for variant in sweep_points(prompt, settings.get("dialect", "pw"), sweep):
        for seed in seeds:
            job = Job(
                expand(variant.prompt, seed, wildcards),
                **{**settings, **variant.settings, "seed": seed},
            )
            if negative:
                job = replace(job, negative_prompt=expand(negative, seed, wildcards))
            yield job, (*variant.labels, f"seed {seed}") if sweep else ()


def _described(job: Job) -> dict[str, Any]:
    """Return a job with its prompts as they are understood: spelling that changes nothing is left out."""
    return {
        **asdict(job),
        "prompt": str(_parsed(job.prompt, job.dialect)),
        "negative_prompt": str(_parsed(job.negative_prompt, job.dialect)),
    }


def _adapters(job: Job, lora_dir: str | None, embeddings_dir: str | None) -> dict[str, Any]:
    """Return the files that the prompts name, by what identifies them; empty for most prompts."""
    if lora_dir is None and embeddings_dir is None:
        return {}
    from promptweight.models import find_adapters

    prompts = _parsed(job.prompt, job.dialect), _parsed(job.negative_prompt, job.dialect)
    chosen = find_adapters(
        *prompts,
        lora_dir=lora_dir,
        embeddings_dir=embeddings_dir,
        num_inference_steps=job.num_inference_steps,
    )
    return {
        "loras": {name: [lora.weight, fingerprint_files([lora.path])] for name, lora in chosen.loras.items()},
        "embeddings": {name: fingerprint_files([path]) for name, path in chosen.embeddings.items()},
    }


@lru_cache(maxsize=1024)
def _parsed(text: str, dialect: str) -> Prompt:
    return parse(text, dialect)


def _digest(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]


def _version() -> str:
    from promptweight import __version__

    return __version__
