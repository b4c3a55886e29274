"""Options of `promptweight generate --from FILE`, read from the settings in an image file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from promptweight.cli import console
from promptweight.errors import PromptweightError, SettingError
from promptweight.generation import MAX_GUIDANCE, MAX_SEED, MAX_SIDE, MAX_STEPS

if TYPE_CHECKING:
    from promptweight.metadata import GenerationInfo

_COMMON_NAMES = (
    "prompt", "method", "normalizer", "space", "mode", "clip_skip", "pooled", "dialect", "seed", "width",
    "height", "dtype",
)  # fmt: skip
"""Settings of a record with the name of the option."""
_OPTION_NAMES = {
    "negative_prompt": "negative",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
}
_DIALECTS = {"AUTOMATIC1111": "a1111", "ComfyUI": "comfy", "InvokeAI": "compel", "SwarmUI": "pw"}
_OTHER_TOOLS: dict[str, tuple[str, type[int] | type[float], int]] = {
    "steps": ("steps", int, MAX_STEPS),
    "cfg scale": ("guidance", float, MAX_GUIDANCE),
    "cfg_scale": ("guidance", float, MAX_GUIDANCE),
    "cfgscale": ("guidance", float, MAX_GUIDANCE),
    "seed": ("seed", int, MAX_SEED),
    "width": ("width", int, MAX_SIDE),
    "height": ("height", int, MAX_SIDE),
}
"""Settings of other tools in lower case: the option of `generate`, its type, and its maximum."""
_MAX_IGNORED = 20
"""Number of ignored settings in one warning."""


class RerunWarning(NamedTuple):
    """Setting that cannot be reproduced.

    Attributes:
        text: the warning.
        option: option that resolves it, by the name of its parameter.
    """

    text: str
    option: str | None = None


def rerun_options(context: typer.Context, file: Path) -> dict[str, Any]:
    """Return all options of `generate`: those on the command line, and the others from the file.

    Prints a warning for each setting of the file that cannot be reproduced.

    Raises:
        SettingError: the file has no generation settings.
    """
    from promptweight.metadata import read_metadata

    metadata = read_metadata(file)
    making = metadata.generation_info()
    if making is None:
        raise SettingError(f"{file} must have generation settings; it has none")
    if metadata.record is not None:
        values, warnings = options_from_record(metadata.record)
    else:
        values, warnings = options_from_info(making)
    given = {
        name
        for name in context.params
        if getattr(context.get_parameter_source(name), "name", "DEFAULT") != "DEFAULT"
    }
    console.print_warnings(warning.text for warning in warnings if warning.option not in given)
    from_file = {name: value for name, value in values.items() if name not in given}
    return {**context.params, **from_file, "from_file": None}


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
    if _is_loadable_name(model):
        values["model"] = f"{model}@{revision}" if revision else model
    else:
        text = f"the image was drawn by {model!r}, a folder or file; give it with --model"
        warnings.append(RerunWarning(text, "model"))
    if record.get("stopped_after") is not None:
        text = f"the image was stopped after {record['stopped_after']} steps; this one is finished"
        warnings.append(RerunWarning(text))
    if record.get("balance") is True:
        values["balance"] = True
    elif "balance" in record:
        text = "the image balanced chosen phrases, which only the Python API supports; it is ignored"
        warnings.append(RerunWarning(text))
    if record.get("targets"):
        text = "the target shares of the image are ignored; write them in the prompt: (word:=25%)"
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
        raise PromptweightError(f"the record of the file is damaged: {(wrong or ['prompt'])[0]} is not valid")
    return values, warnings


def options_from_info(info: GenerationInfo) -> tuple[dict[str, Any], list[RerunWarning]]:
    """Return options and warnings for an image of another tool."""
    from promptweight.models import is_known_sampler

    values: dict[str, Any] = {
        "prompt": info.prompt,
        "negative": info.negative_prompt,
        "dialect": _DIALECTS[info.tool],
    }
    ignored = []
    for name, value in info.settings.items():
        key = str(name).lower()
        try:
            if key in _OTHER_TOOLS:
                option, kind, maximum = _OTHER_TOOLS[key]
                number = kind(value)
                if not 0 <= number <= maximum:
                    raise ValueError
                values[option] = number
            elif key == "size":
                width, _, height = str(value).partition("x")
                values |= {"width": int(width), "height": int(height)}
            elif key == "clip skip":
                values["clip_skip"] = max(0, int(value) - 1)
            elif key == "sampler" and info.tool == "AUTOMATIC1111":
                schedule = str(info.settings.get("Schedule type", "Automatic"))
                sampler = str(value) if schedule == "Automatic" else f"{value} {schedule}"
                if not is_known_sampler(sampler):
                    raise ValueError
                values["scheduler"] = sampler
            elif key not in ("version", "model hash", "schedule type"):
                ignored.append(str(name))
        except (ValueError, TypeError, OverflowError):  # another program may write any value
            ignored.append(str(name))
    text = f"the image is of {info.tool} with another model; the new one will be similar, not equal"
    warnings = [RerunWarning(text)]
    if ignored:
        warnings.append(RerunWarning(f"ignored: {', '.join(ignored[:_MAX_IGNORED])}"))
    return values, warnings


def _is_loadable_name(model: str) -> bool:
    from promptweight.models import BUILTIN_MODELS

    return model in BUILTIN_MODELS or ("/" in model and not Path(model).is_absolute())
