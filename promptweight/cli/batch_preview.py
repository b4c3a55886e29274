"""Warnings about a batch before it runs, and the preview of its plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptweight.batch import (
    OutputFolder,
    OutputOptions,
    Plan,
    Problem,
    Shard,
    is_complete_image,
    phrases_in_prompt,
    prompt_diagnostics,
    sidecar_suffixes,
)
from promptweight.errors import SettingError
from promptweight.models import TokenCount, count_tokens, load_tokenizers
from promptweight.prompt import parse

TokenCounts = Mapping[tuple[str, str], list[TokenCount]]
"""Token counts of prompts, by text and dialect."""


def collect_warnings(
    plan: Plan, output_options: OutputOptions, *, wanted: bool
) -> tuple[list[Problem], TokenCounts]:
    """Return warnings about the prompts, and their token counts if the tokenizers are on this machine.

    Args:
        plan: the plan.
        output_options: the files written for each image.
        wanted: whether diagnostics and token counts are wanted; overlays are checked in any case.

    Raises:
        SettingError: no prompt contains a phrase of an overlay.
    """
    prompts = {(each.job.prompt, each.job.dialect): each for each in plan.images}
    warnings = list(prompt_diagnostics(plan)) if wanted else []
    for phrase in output_options.overlays:
        without = [
            each
            for key, each in prompts.items()
            if not phrases_in_prompt(parse(*key).at(), [phrase], each.job.num_inference_steps)
        ]
        if plan.images and len(without) == len(prompts):
            raise SettingError(f"overlay must be a phrase in a prompt; no prompt contains {phrase!r}")
        rows = {each.row.line: each.row for each in without}
        text = f"the prompt does not contain {phrase!r}; it gets no overlay"
        warnings += [row.problem("prompt", text, is_warning=True) for row in rows.values()]
    counts: dict[tuple[str, str], list[TokenCount]] = {}
    if wanted and plan.model.folder is not None:
        tokenizers = load_tokenizers(plan.model.folder)
        for key, image in prompts.items():
            counts[key] = count_tokens(tokenizers, parse(*key).at())
            warnings += [
                image.row.problem(
                    "prompt", f"{count.tokenizer} cuts off {count.truncated_text!r}", is_warning=True
                )
                for count in counts[key]
                if count.truncated_text
            ]
    return warnings, counts


def preview_plan(
    plan: Plan,
    output: Path,
    output_options: OutputOptions,
    shard: Shard,
    counts: TokenCounts,
    *,
    overwrite: bool,
) -> list[dict[str, Any]]:
    """Return a dictionary about each image of a run; no file or folder is written."""
    folder = OutputFolder(output, format=output_options.format)
    existing = folder.list_images() if output.is_dir() else {}
    lines = []
    for image in shard.of(plan.images):
        job = image.job
        path = existing.get(image.id, output / f"{image.stem}.{output_options.format}")
        suffixes = sidecar_suffixes(
            output_options, parse(job.prompt, job.dialect).at(), job.num_inference_steps
        )
        is_finished = (
            path.is_file()
            and is_complete_image(path)
            and all(path.with_name(path.stem + suffix).is_file() for suffix in suffixes)
        )
        lines.append(
            {
                "id": image.id,
                "status": "finished" if is_finished and not overwrite else "to draw",
                "file": path.name,
                "line": image.row.line,
                **{name: getattr(job, name) for name in job.__slots__},
                "sweep": list(image.labels),
                "tokens": [count._asdict() for count in counts.get((job.prompt, job.dialect), [])],
            }
        )
    return lines
