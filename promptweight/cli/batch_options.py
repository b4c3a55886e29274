"""Options of `promptweight batch`, checked and turned into a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from promptweight.batch import (
    JOB_OPTIONS,
    Plan,
    PlannedImage,
    RandomSeeds,
    Row,
    Shard,
    Sweep,
    find_shard,
    parse_seeds,
    parse_weightings,
    parse_weights,
    plan_batch,
    read_styles,
)
from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.metadata import IMAGE_FORMATS
from promptweight.models import ModelIdentity
from promptweight.prompt import Prompt
from promptweight.validation import check_choice

_OPTION_NAMES = {
    "negative_prompt": "negative",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
}
"""Names of options that differ from the field of a job."""


def build_plan(
    rows: Sequence[Row],
    *,
    model: ModelIdentity,
    defaults: Mapping[str, Any],
    seeds: str | None,
    weights: Sequence[str],
    weightings: str | None,
    wildcards: Path | None,
    styles: Path | None,
    random_seeds: RandomSeeds,
    lora_dir: Path | None,
    embeddings_dir: Path | None,
    on_image: Callable[[PlannedImage, Prompt], None],
) -> Plan:
    """Return the plan of some rows under the options of the command.

    Args:
        rows: the rows of the job file.
        model: the identity of the model.
        defaults: values of fields that a row does not set; None sets none.
        seeds: seeds of a sweep as text.
        weights: for each phrase of a sweep, its weights as text.
        weightings: weightings of a sweep as text.
        wildcards: as in `plan_batch`.
        styles: the file of styles.
        random_seeds: as in `plan_batch`.
        lora_dir: as in `plan_batch`.
        embeddings_dir: as in `plan_batch`.
        on_image: as in `plan_batch`.

    Raises:
        SettingError: a value is not valid.
        OSError: the file of styles cannot be opened.
    """
    parsers = {option.field: option.parse for option in JOB_OPTIONS}
    checked = {
        field: parsers[field](_OPTION_NAMES.get(field, field), value)
        for field, value in defaults.items()
        if value is not None
    }
    sweep = Sweep(
        parse_seeds("--seeds", seeds) if seeds is not None else (),
        tuple(parse_weights(each) for each in weights),
        parse_weightings(weightings) if weightings is not None else (),
    )
    return plan_batch(
        rows,
        model=model,
        defaults=checked,
        sweep=sweep,
        wildcards=wildcards,
        styles=None if styles is None else read_styles(styles),
        random_seeds=random_seeds,
        lora_dir=None if lora_dir is None else str(lora_dir),
        embeddings_dir=None if embeddings_dir is None else str(embeddings_dir),
        on_image=on_image,
    )


def parse_image_format(name: str) -> str:
    """Return the name of an image format in `promptweight.metadata.IMAGE_FORMATS`.

    Raises:
        SettingError: it is not one of them.
    """
    known = {"jpg": "jpeg"}.get(name.lower(), name.lower())
    check_choice("--format", known, tuple(IMAGE_FORMATS))
    return known


def choose_shard(given: str | None, *, uses_ray: bool) -> Shard:
    """Return the shard of this process; with Ray, which distributes the work itself, the whole plan.

    Raises:
        SettingError: `given` is not valid, or combined with Ray.
    """
    if uses_ray:
        if given is not None:
            raise SettingError(message("cli-shard-ray"))
        return Shard(1, 1)
    return find_shard(given)
