"""Options of `promptweight generate --from FILE` and `edit --from FILE`, read from an image file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from promptweight.cli import console, options
from promptweight.cli.image_options import ImageOptions
from promptweight.conditioning import MAX_CLIP_SKIP
from promptweight.errors import PromptweightError, SettingError
from promptweight.generation import (
    MAX_GUIDANCE,
    MAX_SEED,
    MAX_SIDE,
    MAX_STEPS,
    PromptEdit,
)
from promptweight.messages import message
from promptweight.models import BUILTIN_MODELS

if TYPE_CHECKING:
    from promptweight.metadata import GenerationInfo

_COMMON_NAMES = (
    "prompt", "negative_guidance", "weighting", "clip_skip", "dialect", "seed", "width", "height", "dtype",
)  # fmt: skip
"""Settings of a record with the name of the option."""
_OPTION_NAMES = {
    "negative_prompt": "negative",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
}
_MAXIMUMS = {
    "seed": MAX_SEED,
    "steps": MAX_STEPS,
    "guidance": MAX_GUIDANCE,
    "clip_skip": MAX_CLIP_SKIP,
    "width": MAX_SIDE,
    "height": MAX_SIDE,
}
"""Largest values of options; images of other tools may have larger ones."""


class RerunWarning(NamedTuple):
    """Setting that cannot be reproduced.

    Attributes:
        text: the warning.
        option: option that resolves it, by the name of its parameter.
    """

    text: str
    option: str | None = None


@dataclass(frozen=True)
class Rerun:
    """Options for drawing an image again.

    Attributes:
        prompt: the prompt of the file; with an edit, that of the source image.
        images: the options of the command line, and the others from the file.
        edit: the edit of the file.
    """

    prompt: str
    images: ImageOptions
    edit: PromptEdit | None


def read_rerun(context: typer.Context, images: ImageOptions) -> Rerun:
    """Return the settings of the file that `images` names, replaced by the options of the command line.

    Prints a warning for each setting of the file that cannot be reproduced.

    Raises:
        SettingError: the file has no generation settings.
        PromptweightError: the settings of the file are damaged.
    """
    from promptweight.metadata import read_metadata

    file = Path(images.from_file or "")
    metadata = read_metadata(file)
    making = metadata.generation_info()
    if making is None:
        raise SettingError(message("settings-missing-file", file=file))
    if metadata.record is not None:
        values, warnings = options_from_record(metadata.record)
    else:
        values, warnings = options_from_info(making)
    given = options.given_options(context)
    console.print_warnings(warning.text for warning in warnings if warning.option not in given)
    prompt, edit = values.pop("prompt"), values.pop("edit", None)
    from_file = {name: value for name, value in values.items() if name not in given}
    return Rerun(prompt, replace(images, **from_file), edit)


def options_from_record(record: Mapping[str, Any]) -> tuple[dict[str, Any], list[RerunWarning]]:
    """Return options and warnings for an image of promptweight.

    Raises:
        PromptweightError: the record is damaged.
    """
    values = {name: record[name] for name in _COMMON_NAMES if name in record}
    values |= {option: record[name] for name, option in _OPTION_NAMES.items() if name in record}
    values["scheduler"] = record.get("sampler") or record.get("scheduler")
    warnings = []
    model, revision = str(record.get("model", "mini")), record.get("revision")
    if model in BUILTIN_MODELS:
        values["model"] = model
    else:  # a file that anyone may have made does not choose what is loaded or downloaded
        named = f"{model}@{revision}" if revision else model
        text = f"the image was drawn by {named!r}; give it with --model"
        warnings.append(RerunWarning(text, "model"))
    if record.get("stopped_after") is not None:
        text = f"the image was stopped after {record['stopped_after']} steps; this one is finished"
        warnings.append(RerunWarning(text))
    if record.get("regions"):
        text = "the painted regions of the image are ignored; the app can draw them"
        warnings.append(RerunWarning(text))
    if record.get("vae_tiling"):
        text = "the image was decoded in tiles because memory was short; this one is not"
        warnings.append(RerunWarning(text))
    for name, option in (("loras", "lora_dir"), ("embeddings", "embeddings_dir")):
        if record.get(name):
            flag = f"--{option.replace('_', '-')}"
            text = f"the image used {name} ({', '.join(record[name])}); give their folder with {flag}"
            warnings.append(RerunWarning(text, option))
    wrong = [name for name, value in values.items() if isinstance(value, (list, dict))]
    if wrong or not isinstance(values.get("prompt"), str):
        raise _damaged((wrong or ["prompt"])[0])
    more, more_warnings = _nested_options(record)
    return values | more, warnings + more_warnings


def _nested_options(record: Mapping[str, Any]) -> tuple[dict[str, Any], list[RerunWarning]]:
    """Return options and warnings for the target shares, the edit and the pipeline arguments of a record."""
    values: dict[str, Any] = {}
    warnings = []
    for name in ("targets", "edit", "pipeline_kwargs"):
        if not isinstance(record.get(name, {}), dict):
            raise _damaged(name)
    if targets := record.get("targets"):
        values["target"] = [f"{phrase}={share}" for phrase, share in targets.items()]
    if edit := record.get("edit"):
        about = {name: value for name, value in edit.items() if name not in ("source", "edited")}
        try:
            values |= {"prompt": str(edit["source"]), "edit": PromptEdit(edit["edited"], **about)}
        except (KeyError, TypeError, SettingError) as error:
            raise _damaged("edit") from error
    arguments = dict(record.get("pipeline_kwargs", {}))
    if controlnet := record.get("controlnet"):
        text = f"the image used the ControlNet {controlnet!r}; give it with --controlnet"
        warnings.append(RerunWarning(text, "controlnet"))
        if "control_image" not in arguments and "image" in arguments:
            arguments["control_image"] = arguments.pop("image")
    for name, option in (("image", "image"), ("mask_image", "mask"), ("control_image", "control")):
        if arguments.pop(name, None) is not None:
            text = f"the image was drawn from a picture ({name}), which is not in it; give it with --{option}"
            warnings.append(RerunWarning(text, option))
            if "strength" in arguments:
                values["strength"] = arguments.pop("strength")
    for name, value in list(arguments.items()):
        if isinstance(value, str) and value.startswith("<") and value.endswith(">"):
            text = (
                f"the image used the pipeline argument {name}, whose value is not in the file; it is ignored"
            )
            warnings.append(RerunWarning(text))
            del arguments[name]
    if arguments:
        values["argument"] = [f"{name}={json.dumps(value)}" for name, value in arguments.items()]
    return values, warnings


def _damaged(name: str) -> PromptweightError:
    return PromptweightError(message("record-damaged", name=name))


def options_from_info(info: GenerationInfo) -> tuple[dict[str, Any], list[RerunWarning]]:
    """Return options and warnings for an image of another tool."""
    from promptweight.metadata import name_loras

    named = name_loras(info)
    values: dict[str, Any] = {
        "prompt": named.prompt,
        "negative": named.negative_prompt,
        "dialect": named.dialect,
        **{_OPTION_NAMES.get(name, name): value for name, value in named.options.items()},
    }
    text = f"the image is of {info.tool} with another model; the new one will be similar, not equal"
    warnings = [RerunWarning(text), *(RerunWarning(warning) for warning in info.warnings)]
    for name, maximum in _MAXIMUMS.items():
        if values.get(name) is not None and values[name] > maximum:
            text = f"--{name.replace('_', '-')} must be at most {maximum}; {values.pop(name)} is ignored"
            warnings.append(RerunWarning(text, name))
    if tagged := [lora.name for lora in info.loras if lora not in named.loras]:
        text = f"the image used loras ({', '.join(tagged)}); give their folder with --lora-dir"
        warnings.append(RerunWarning(text, "lora_dir"))
    if left := [lora.name for lora in named.loras]:
        warnings.append(RerunWarning(f"a prompt cannot name these loras; ignored: {', '.join(left)}"))
    return values, warnings
