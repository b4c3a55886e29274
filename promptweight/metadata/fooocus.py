"""Metadata of Fooocus and its relatives: JSON in the PNG text `parameters`, in EXIF data, or in a comment."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from promptweight.messages import message
from promptweight.metadata.generation_info import GenerationInfo, InfoBuilder, read_integer
from promptweight.metadata.json_objects import find_text, first_text

_LABELS = {
    "prompt": "Prompt", "negative_prompt": "Negative Prompt", "steps": "Steps", "seed": "Seed",
    "resolution": "Resolution", "guidance_scale": "Guidance Scale", "sampler": "Sampler",
    "scheduler": "Scheduler", "styles": "Styles", "performance": "Performance", "base_model": "Base Model",
    "sharpness": "Sharpness", "version": "Version", "clip_skip": "CLIP Skip",
    "refiner_model": "Refiner Model",
}  # fmt: skip
"""Names of the settings in old versions, by the present ones."""
_WITHOUT_EFFECT = (
    "full_prompt", "full_negative_prompt", "base_model", "base_model_hash", "metadata_scheme", "performance",
    "version", "created_by", "prompt_expansion", "real_prompt", "real_negative_prompt", "software", "styles",
    "style", "p_txt", "n_txt", "lora_hashes", "refiner_model_hash",
)  # fmt: skip


def is_fooocus(record: Mapping[str, Any]) -> bool:
    """Return whether a JSON object is the settings of Fooocus or RuinedFooocus."""
    return (
        "metadata_scheme" in record
        or "full_prompt" in record
        or "Fooocus" in f"{record.get('version', '')}{record.get('Version', '')}{record.get('software', '')}"
        or {"base_model", "performance"} <= record.keys()
        or {"prompt", "real_prompt", "base_model"} <= record.keys()
        or {"Prompt", "Performance", "Resolution"} <= record.keys()
    )


def read_fooocus(record: Mapping[str, Any]) -> GenerationInfo:
    """Read the settings of Fooocus, whose styles are not applied, as they are not in the file."""
    if record.get("software") == "RuinedFooocus":
        return _read_ruined(record)
    current = {label: name for name, label in _LABELS.items()}
    named = {current.get(str(name), str(name)): value for name, value in record.items()}
    prompts = {name: named.pop(name, None) for name in ("prompt", "negative_prompt")}
    settings: dict[str, Any] = named
    builder = InfoBuilder("Fooocus", settings, "a1111")
    builder.skip(*_WITHOUT_EFFECT)
    builder.skip_defaults(refiner_model="None", vae="Default (model)", refiner_switch=0.5, adaptive_cfg=7)
    builder.follow("num_inference_steps", "steps")
    builder.follow("seed", "seed")
    builder.follow_size("resolution")
    builder.follow("width", "width")
    builder.follow("height", "height")
    builder.follow("guidance_scale", "guidance_scale", "cfg")
    # Fooocus counts from the end of the text encoder, where SDXL leaves out one layer of itself.
    builder.follow("clip_skip", "clip_skip", offset=-2)
    layer = read_integer(settings.get("base_clip_skip"))  # of Fooocus-MRE, whose numbers are negative
    if layer is not None:
        builder.skip("base_clip_skip")
        builder.set("clip_skip", abs(layer) - 2, "base_clip_skip")
    if settings.get("refiner_model", "None") == "None":
        builder.skip("refiner_clip_skip", "switch")
    builder.follow_sampler(settings.get("sampler"), settings.get("scheduler"), "sampler", "scheduler")
    _add_loras(builder, settings)
    styles = _parse_list(settings.get("styles", settings.get("style")))
    if styles:
        names = ", ".join(str(style) for style in styles)
        builder.warn(message("styles-not-applied", tool="Fooocus", styles=names))
    return builder.build(find_text(prompts, ["prompt"]), first_text(prompts, ["negative_prompt"]))


def _add_loras(builder: InfoBuilder, settings: Mapping[str, Any]) -> None:
    combined = [name for name in settings if name.startswith(("lora_combined_", "LoRA "))]
    listed = settings.get("loras")
    if isinstance(listed, list):
        builder.skip("loras", *combined)
        for lora in listed:
            if isinstance(lora, list) and len(lora) >= 2:
                builder.add_lora(lora[0], lora[1])
            elif isinstance(lora, dict):
                builder.add_lora(lora.get("name"), lora.get("weight", 1.0))
        return
    builder.skip(*combined)
    for number in range(1, 10):  # of Fooocus-MRE
        if f"l{number}" in settings:
            builder.add_lora(settings[f"l{number}"], settings.get(f"w{number}", 1.0))
            builder.skip(f"l{number}", f"w{number}")
    for name in combined:  # "name : weight", in some versions after "True : "
        parts = [part.strip() for part in str(settings[name]).split(" : ")]
        if len(parts) >= 2 and parts[0] != "False":
            builder.add_lora(parts[-2], parts[-1])


def _read_ruined(record: Mapping[str, Any]) -> GenerationInfo:
    """Read the settings of RuinedFooocus, whose prompts have their styles applied."""
    builder = InfoBuilder("RuinedFooocus", record, "comfy")
    builder.skip("Prompt", "Negative", "software", "base_model_name", "base_model_hash", "version")
    builder.skip_defaults(denoise=1, clip_skip=1)
    builder.follow("num_inference_steps", "steps")
    builder.follow("seed", "seed")
    builder.follow("width", "width")
    builder.follow("height", "height")
    builder.follow("guidance_scale", "cfg")
    builder.follow("clip_skip", "clip_skip", offset=-1)
    builder.follow_sampler(record.get("sampler_name"), record.get("scheduler"), "sampler_name", "scheduler")
    builder.skip("loras")
    loras = record.get("loras")
    for lora in loras if isinstance(loras, list) else []:
        if isinstance(lora, list) and lora and isinstance(lora[-1], str):  # [hash, "weight - name"]
            weight, _, name = lora[-1].partition(" - ")
            builder.add_lora(name, weight)
        elif isinstance(lora, dict):
            builder.add_lora(lora.get("name"), lora.get("weight", 1.0))
    return builder.build(find_text(record, ["Prompt"]), first_text(record, ["Negative"]))


def _parse_list(value: object) -> list[Any]:
    """Return a list that Fooocus writes as Python's own text of it."""
    if isinstance(value, list):
        return value
    if not isinstance(value, str) or len(value) > 10_000:
        return []
    try:
        parsed = ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return [value] if value.strip() else []
    return parsed if isinstance(parsed, list) else []
