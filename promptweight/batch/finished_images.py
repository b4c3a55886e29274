"""Check of image files that are in an output folder: complete, and of the job that their name belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from promptweight.batch.image_ids import describe_prompt
from promptweight.batch.jobs import Job
from promptweight.batch.parsed_prompts import ParsedPrompts
from promptweight.errors import FileFormatError
from promptweight.metadata import read_metadata


def is_finished_image(path: Path, job: Job, prompts: ParsedPrompts, sidecars: tuple[str, ...] = ()) -> bool:
    """Return True if a file is the complete image of a job, with all its sidecar files.

    Args:
        path: the file.
        job: the job.
        prompts: the parsed prompts.
        sidecars: suffixes of the names of the sidecar files.
    """
    if not path.is_file() or not all(path.with_name(path.stem + suffix).is_file() for suffix in sidecars):
        return False
    return is_complete_image(path) and _has_record_of(path, job, prompts)


def is_complete_image(path: Path) -> bool:
    """Return True if an image file can be read to its end: a PNG by its checksums, others by decoding."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.format == "PNG":
                image.verify()
            else:
                image.load()
    except Exception:  # decoders raise nearly any exception on a damaged file
        return False
    return True


def _has_record_of(path: Path, job: Job, prompts: ParsedPrompts) -> bool:
    """Return True if the record in a file is of a job, or if it has none.

    A copy of another image under this name has the record of that one.
    """
    try:
        record = read_metadata(path).record
    except (OSError, FileFormatError):
        return False
    if record is None:
        return True
    options = job.options
    expected: dict[str, Any] = {
        "seed": job.seed,
        "dialect": options.dialect,
        "weighting": str(options.weighting),
        "clip_skip": options.clip_skip,
        "num_inference_steps": options.num_inference_steps,
    }
    for name in ("guidance_scale", "height", "width"):
        if getattr(options, name) is not None:
            expected[name] = getattr(options, name)
    if any(record.get(name, value) != value for name, value in expected.items()):
        return False
    # The same prompt may be spelled in another way.
    pairs = ((record.get("prompt"), job.prompt), (record.get("negative_prompt"), job.negative_prompt))
    return all(
        found == wanted
        or not isinstance(found, str)
        or _describe(found, job, prompts) == _describe(wanted, job, prompts)
        for found, wanted in pairs
    )


def _describe(text: str, job: Job, prompts: ParsedPrompts) -> list[Any]:
    options = job.options
    return describe_prompt(prompts.get(text, options.dialect), options.num_inference_steps)
