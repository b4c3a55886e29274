"""Settings as JSON of tools without a reader of their own, by the names that most of them use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptweight.metadata.generation_info import GenerationInfo, InfoBuilder
from promptweight.metadata.json_objects import first_text
from promptweight.prompt import detect

_PROMPTS = ("prompt", "Prompt", "positive_prompt", "positivePrompt", "positive")
_NEGATIVES = ("negative_prompt", "negativePrompt", "Negative Prompt", "negative", "uc")
_TOOLS = ("software", "Software", "tool", "app", "generator", "engine", "creator")
_WITHOUT_EFFECT = ("model", "model_name", "version", "date", "created_at", "generation_time", "mflux_version")


def read_json_settings(record: Mapping[str, Any]) -> GenerationInfo | None:
    """Read a JSON object with a prompt and at least one number of a sampler; None for any other one."""
    prompt = first_text(record, _PROMPTS)
    tool = "mflux" if "mflux_version" in record else first_text(record, _TOOLS) or "an unknown tool"
    settings = {str(name): value for name, value in record.items() if name not in (*_PROMPTS, *_NEGATIVES)}
    builder = InfoBuilder(tool, settings, detect(prompt).dialect)
    builder.skip(*_TOOLS, *_WITHOUT_EFFECT)
    builder.follow("num_inference_steps", "steps", "num_inference_steps", "num_steps", "sampling_steps")
    builder.follow("seed", "seed")
    builder.follow("guidance_scale", "guidance_scale", "cfg_scale", "cfgscale", "cfg", "guidance", "scale")
    builder.follow("width", "width")
    builder.follow("height", "height")
    for name in ("size", "resolution"):
        builder.follow_size(name)
    if not prompt or not builder.options:
        return None
    sampler = first_text(record, ["sampler", "sampler_name", "sampler_id"])
    schedule = first_text(record, ["scheduler", "schedule_type", "noise_schedule"])
    if sampler or schedule:
        names = ("sampler", "sampler_name", "sampler_id", "scheduler", "schedule_type", "noise_schedule")
        builder.follow_sampler(sampler or schedule, schedule if sampler else None, *names)
    _add_loras(builder, record)
    return builder.build(prompt, first_text(record, _NEGATIVES))


def _add_loras(builder: InfoBuilder, record: Mapping[str, Any]) -> None:
    paths, scales = record.get("lora_paths"), record.get("lora_scales")  # mflux
    if isinstance(paths, list):
        weights = scales if isinstance(scales, list) else []
        for number, path in enumerate(paths):
            builder.add_lora(path, weights[number] if number < len(weights) else 1.0)
        builder.skip("lora_paths", "lora_scales")
    loras = record.get("loras")
    if isinstance(loras, list) and loras and all(isinstance(lora, dict) for lora in loras):
        for lora in loras:
            name = first_text(lora, ["name", "model", "file", "path", "lora"])
            weight = next((lora[each] for each in ("weight", "scale", "strength") if each in lora), 1.0)
            builder.add_lora(name, weight)
        builder.skip("loras")
