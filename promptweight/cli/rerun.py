"""`promptweight generate --from FILE`: the options that make the picture of a file again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from promptweight.cli import console
from promptweight.errors import PromptweightError, SettingError
from promptweight.generation import MAX_GUIDANCE, MAX_SEED, MAX_SIDE, MAX_STEPS

if TYPE_CHECKING:
    from promptweight.metadata import GenerationInfo

_SAME_NAME = (
    "prompt", "method", "normalizer", "space", "mode", "clip_skip", "pooled", "dialect", "seed", "width",
    "height", "dtype",
)  # fmt: skip
_OTHER_NAME = {
    "negative_prompt": "negative",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
}
_DIALECTS = {"AUTOMATIC1111": "a1111", "ComfyUI": "comfy", "InvokeAI": "compel", "SwarmUI": "pw"}
_FOREIGN: dict[str, tuple[str, type[int] | type[float], int]] = {
    "steps": ("steps", int, MAX_STEPS),
    "cfg scale": ("guidance", float, MAX_GUIDANCE),
    "cfg_scale": ("guidance", float, MAX_GUIDANCE),
    "cfgscale": ("guidance", float, MAX_GUIDANCE),
    "seed": ("seed", int, MAX_SEED),
    "width": ("width", int, MAX_SIDE),
    "height": ("height", int, MAX_SIDE),
}
"""Settings of other tools, in lower case: the option of `generate`, what its value is, and the highest."""


def rerun_options(context: typer.Context, file: Path) -> dict[str, Any]:
    """Return all options of `generate`: those given, and for the others what the file says.

    What the file asks for and cannot be followed is warned about.

    Raises:
        SettingError: the file does not say how it was made.
    """
    from promptweight.metadata import read_metadata

    metadata = read_metadata(file)
    making = metadata.making()
    if making is None:
        raise SettingError(f"{file} says nothing about how it was made")
    if metadata.record is not None:
        values, warnings = _own(metadata.record)
    else:
        values, warnings = _foreign(making)
    given = {
        name
        for name in context.params
        if getattr(context.get_parameter_source(name), "name", "DEFAULT") != "DEFAULT"
    }
    asked = [f"--{name.replace('_', '-')}" for name in given]
    console.print_warnings(each for each in warnings if not each.endswith(tuple(f" with {name}" for name in asked)))
    kept = {name: value for name, value in values.items() if name not in given}
    return {**context.params, **kept, "from_file": None}


def _own(record: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return options and warnings for a picture of promptweight."""
    values = {name: record[name] for name in _SAME_NAME if name in record}
    values |= {option: record[name] for name, option in _OTHER_NAME.items() if name in record}
    values["scheduler"] = record.get("sampler") or record.get("scheduler")
    warnings = []
    model, revision = str(record.get("model", "mini")), record.get("revision")
    if _can_be_named(model):
        values["model"] = f"{model}@{revision}" if revision else model
    else:
        warnings.append(f"the picture was made by {model!r}, a folder or file; name it with --model")
    if record.get("stopped_after") is not None:
        warnings.append(f"the picture was stopped after {record['stopped_after']} steps; this one is whole")
    if record.get("balance") is True:
        values["balance"] = True
    elif "balance" in record:
        warnings.append("the picture's balance is of chosen phrases, which only the Python API takes")
    if record.get("targets"):
        warnings.append("the picture's shares are not followed; write them in the prompt: (word:=25%)")
    if record.get("regions"):
        warnings.append("the picture's painted regions are not followed; the app paints them again")
    if record.get("vae_tiling"):
        warnings.append("the picture was decoded in tiles for want of memory; this one is not")
    warnings += [
        f"the picture used {name} ({', '.join(record[name])}); name their folder with {option}"
        for name, option in (("loras", "--lora-dir"), ("embeddings", "--embeddings-dir"))
        if record.get(name)
    ]
    wrong = [name for name, value in values.items() if isinstance(value, (list, dict))]
    if wrong or not isinstance(values.get("prompt"), str):
        raise PromptweightError(
            f"the file's record is damaged: {(wrong or ['prompt'])[0]} has no fitting value"
        )
    return values, warnings


def _can_be_named(model: str) -> bool:
    from promptweight.models import BUILTIN_MODELS

    return model in BUILTIN_MODELS or ("/" in model and not Path(model).is_absolute())


def _foreign(making: GenerationInfo) -> tuple[dict[str, Any], list[str]]:
    """Return options and warnings for a picture of another tool."""
    from promptweight.models import is_known_sampler

    values: dict[str, Any] = {
        "prompt": making.prompt,
        "negative": making.negative_prompt,
        "dialect": _DIALECTS[making.tool],
    }
    left = []
    for name, value in making.settings.items():
        key = str(name).lower()
        try:
            if key in _FOREIGN:
                option, kind, highest = _FOREIGN[key]
                number = kind(value)
                if not 0 <= number <= highest:
                    raise ValueError
                values[option] = number
            elif key == "size":
                width, _, height = str(value).partition("x")
                values |= {"width": int(width), "height": int(height)}
            elif key == "clip skip":
                values["clip_skip"] = max(0, int(value) - 1)
            elif key == "sampler" and making.tool == "AUTOMATIC1111":
                schedule = str(making.settings.get("Schedule type", "Automatic"))
                sampler = str(value) if schedule == "Automatic" else f"{value} {schedule}"
                if not is_known_sampler(sampler):
                    raise ValueError
                values["scheduler"] = sampler
            elif key not in ("version", "model hash", "schedule type"):
                left.append(str(name))
        except (ValueError, TypeError, OverflowError):  # what another program wrote may be anything
            left.append(str(name))
    warnings = [
        f"made by {making.tool} with another program's model: the picture will be alike, not the same"
    ]
    if left:
        warnings.append(f"not followed: {', '.join(left[:20])}")
    return values, warnings
