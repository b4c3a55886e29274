"""From what a person asks of `promptweight batch` to a plan: values checked, warnings gathered, previews."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from promptweight import validation
from promptweight.batch import (
    OPTIONS,
    Folder,
    Plan,
    Problem,
    Row,
    Saving,
    Shard,
    Sweep,
    diagnostics,
    endings,
    find_shard,
    held,
    is_whole,
    make_plan,
    read_methods,
    read_seeds,
    read_weights,
)
from promptweight.errors import SettingError
from promptweight.metadata import FORMATS
from promptweight.models import Count, Counter
from promptweight.prompt import parse

Counts = Mapping[tuple[str, str], list[Count]]
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
    """Returns the plan of some rows under the options of a command; None among `asked` asks for nothing.

    Raises:
        SettingError: an option has a value outside its range.
        ModelError: the model cannot be found.
    """
    readers = {option.field: option.read for option in OPTIONS}
    defaults = {name: readers[name](_said(name), value) for name, value in asked.items() if value is not None}
    sweep = Sweep(
        read_seeds("seeds", seeds) if seeds is not None else (),
        tuple(read_weights(each) for each in weights),
        read_methods(methods) if methods is not None else (),
    )
    return make_plan(
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
    """Returns the name of a picture format as `metadata.FORMATS` has it; raises `SettingError`."""
    known = {"jpg": "jpeg"}.get(name.lower(), name.lower())
    validation.choice("format", known, tuple(FORMATS))
    return known


def shard_of(given: str | None, *, is_shared: bool) -> Shard:
    """Returns the part of this process; with Ray, which deals the work out itself, the whole."""
    if is_shared:
        if given is not None:
            raise SettingError("shard and ray are two ways to share the work; give one of them")
        return Shard(1, 1)
    return find_shard(given)


def remarks(plan: Plan, saving: Saving, *, wanted: bool) -> tuple[list[Problem], Counts]:
    """Returns warnings about the prompts, and their tokens where the model's tokenizers are on this machine.

    Raises:
        SettingError: no prompt holds a phrase that is to be overlaid.
    """
    prompts = {(each.job.prompt, each.job.dialect): each for each in plan.pictures}
    said = list(diagnostics(plan)) if wanted else []
    for phrase in saving.overlays:
        without = [
            each
            for key, each in prompts.items()
            if not held(parse(*key), [phrase], each.job.num_inference_steps)
        ]
        if plan.pictures and len(without) == len(prompts):
            raise SettingError(f"overlay is {phrase!r}, but no prompt holds it")
        rows = {each.row.line: each.row for each in without}
        said += [
            row.problem("prompt", f"the prompt does not hold {phrase!r}: no overlay", is_warning=True)
            for row in rows.values()
        ]
    counts: dict[tuple[str, str], list[Count]] = {}
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
    plan: Plan, output: Path, saving: Saving, shard: Shard, counts: Counts, *, overwrite: bool
) -> list[dict[str, Any]]:
    """Returns what a run would do, a dictionary for each picture; nothing is written, not even the folder."""
    folder = Folder(output, format=saving.format)
    there = folder.pictures() if output.is_dir() else {}
    lines = []
    for picture in shard.of(plan.pictures):
        job = picture.job
        path = there.get(picture.id, output / f"{picture.stem}.{saving.format}")
        ends = endings(saving, parse(job.prompt, job.dialect), job.num_inference_steps)
        beside = [path.with_name(path.stem + ending) for ending in ends]
        is_there = path.is_file() and is_whole(path) and all(each.is_file() for each in beside)
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


def sheets(plan: Plan, output: Path, saving: Saving) -> Iterable[Path]:
    """Writes the contact sheets of a sweep; returns the files."""
    from promptweight.batch import save_sheets

    with Folder(output, format=saving.format) as folder:
        return list(save_sheets(plan, folder))


def _said(field: str) -> str:
    names = {"negative_prompt": "negative", "num_inference_steps": "steps", "guidance_scale": "guidance"}
    return names.get(field, field)
