"""From what a person asks of `promptweight batch` to a plan: values checked, warnings gathered, previews."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from promptweight import validation
from promptweight.batch import (
    JOB_OPTIONS,
    OutputFolder,
    OutputOptions,
    Plan,
    Problem,
    Row,
    Shard,
    Sweep,
    find_shard,
    is_complete_image,
    parse_methods,
    parse_seeds,
    parse_weights,
    phrases_in_prompt,
    plan_batch,
    prompt_diagnostics,
    sidecar_suffixes,
)
from promptweight.errors import SettingError
from promptweight.metadata import IMAGE_FORMATS
from promptweight.models import Counter, TokenCount
from promptweight.prompt import parse

Counts = Mapping[tuple[str, str], list[TokenCount]]
"""The tokens of prompts, by text and dialect."""


def plan_command(
    rows: Sequence[Row],
    *,
    model: str,
    asked: Mapping[str, Any],
    seeds: str | None,
    weights: Sequence[str],
    methods: str | None,
    wildcards: Path | None,
    lora_dir: Path | None,
    embeddings_dir: Path | None,
    offline: bool,
) -> Plan:
    """Return the plan of some rows under the options of a command; None among `asked` asks for nothing.

    Raises:
        SettingError: an option has a value outside its range.
        ModelError: the model cannot be found.
    """
    readers = {option.field: option.read for option in JOB_OPTIONS}
    defaults = {name: readers[name](_said(name), value) for name, value in asked.items() if value is not None}
    sweep = Sweep(
        parse_seeds("seeds", seeds) if seeds is not None else (),
        tuple(parse_weights(each) for each in weights),
        parse_methods(methods) if methods is not None else (),
    )
    return plan_batch(
        rows,
        model=model,
        defaults=defaults,
        sweep=sweep,
        wildcards=wildcards,
        lora_dir=None if lora_dir is None else str(lora_dir),
        embeddings_dir=None if embeddings_dir is None else str(embeddings_dir),
        offline=offline,
    )


def picture_format(name: str) -> str:
    """Return the name of a picture format as `metadata.FORMATS` has it; raises `SettingError`."""
    known = {"jpg": "jpeg"}.get(name.lower(), name.lower())
    validation.check_choice("format", known, tuple(IMAGE_FORMATS))
    return known


def shard_of(given: str | None, *, is_shared: bool) -> Shard:
    """Return the part of this process; with Ray, which deals the work out itself, the whole."""
    if is_shared:
        if given is not None:
            raise SettingError("shard and ray are two ways to share the work; give one of them")
        return Shard(1, 1)
    return find_shard(given)


def remarks(plan: Plan, saving: OutputOptions, *, wanted: bool) -> tuple[list[Problem], Counts]:
    """Return warnings about the prompts, and their tokens where the model's tokenizers are on this machine.

    Raises:
        SettingError: no prompt holds a phrase that is to be overlaid.
    """
    prompts = {(each.job.prompt, each.job.dialect): each for each in plan.pictures}
    said = list(prompt_diagnostics(plan)) if wanted else []
    for phrase in saving.overlays:
        without = [
            each
            for key, each in prompts.items()
            if not phrases_in_prompt(parse(*key), [phrase], each.job.num_inference_steps)
        ]
        if plan.pictures and len(without) == len(prompts):
            raise SettingError(f"overlay is {phrase!r}, but no prompt holds it")
        rows = {each.row.line: each.row for each in without}
        said += [
            row.problem("prompt", f"the prompt does not hold {phrase!r}: no overlay", is_warning=True)
            for row in rows.values()
        ]
    counts: dict[tuple[str, str], list[TokenCount]] = {}
    if wanted and plan.model.folder is not None:
        counter = Counter(plan.model.folder)
        for key, picture in prompts.items():
            counts[key] = counter.count(parse(*key))
            said += [
                picture.row.problem("prompt", f"{count.tokenizer} cuts off {count.cut!r}", is_warning=True)
                for count in counts[key]
                if count.cut
            ]
    return said, counts


def preview(
    plan: Plan, output: Path, saving: OutputOptions, shard: Shard, counts: Counts, *, overwrite: bool
) -> list[dict[str, Any]]:
    """Return what a run would do, a dictionary for each picture; nothing is written, not even the folder."""
    folder = OutputFolder(output, format=saving.format)
    there = folder.pictures() if output.is_dir() else {}
    lines = []
    for picture in shard.of(plan.pictures):
        job = picture.job
        path = there.get(picture.id, output / f"{picture.stem}.{saving.format}")
        ends = sidecar_suffixes(saving, parse(job.prompt, job.dialect), job.num_inference_steps)
        beside = [path.with_name(path.stem + ending) for ending in ends]
        is_there = path.is_file() and is_complete_image(path) and all(each.is_file() for each in beside)
        lines.append(
            {
                "id": picture.id,
                "status": "there already" if is_there and not overwrite else "to make",
                "file": path.name,
                "line": picture.row.line,
                **{name: getattr(job, name) for name in job.__slots__},
                "sweep": list(picture.labels),
                "tokens": [count._asdict() for count in counts.get((job.prompt, job.dialect), [])],
            }
        )
    return lines


def sheets(plan: Plan, output: Path, saving: OutputOptions) -> Iterable[Path]:
    """Write the contact sheets of a sweep; returns the files."""
    from promptweight.batch import save_contact_sheets

    with OutputFolder(output, format=saving.format) as folder:
        return list(save_contact_sheets(plan, folder))


def _said(field: str) -> str:
    names = {"negative_prompt": "negative", "num_inference_steps": "steps", "guidance_scale": "guidance"}
    return names.get(field, field)
