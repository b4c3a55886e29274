"""Metadata of Easy Diffusion: PNG texts, JSON in EXIF data, and its JSON and text files beside the images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptweight.metadata.generation_info import GenerationInfo, InfoBuilder
from promptweight.metadata.json_objects import first_text, parse_object

_LABELS = {
    "Prompt": "prompt", "Negative Prompt": "negative_prompt", "Seed": "seed", "Steps": "num_inference_steps",
    "Stable Diffusion model": "use_stable_diffusion_model", "Clip Skip": "clip_skip", "Width": "width",
    "Height": "height", "Guidance Scale": "guidance_scale",
    "Distilled Guidance Scale": "distilled_guidance_scale", "Sampler": "sampler_name",
    "Scheduler": "scheduler_name", "LoRA model": "use_lora_model", "LoRA Strength": "lora_alpha",
    "VAE model": "use_vae_model", "Prompt Strength": "prompt_strength", "Use Upscaling": "use_upscale",
    "Use Face Correction": "use_face_correction", "Upscale By": "upscale_amount",
    "Hypernetwork model": "use_hypernetwork_model", "Hypernetwork Strength": "hypernetwork_strength",
    "ControlNet model": "use_controlnet_model", "Embedding models": "use_embedding_models",
    "Seamless Tiling": "tiling",
}  # fmt: skip
"""Names of the settings by the labels that its text files and some of its images have."""
_MARKS = ("num_inference_steps", "use_stable_diffusion_model", "sampler_name", "guidance_scale")
_WITHOUT_EFFECT = (
    "prompt", "negative_prompt", "use_stable_diffusion_model", "num_outputs", "used_random_seed",
    "session_id", "stream_progress_updates", "stream_image_progress", "show_only_filtered_image",
    "output_format", "output_quality", "output_lossless", "metadata_output_format", "original_prompt",
    "active_tags", "inactive_tags", "save_to_disk_path", "vram_usage_level", "block_nsfw", "device",
    "upscale_amount", "use_text_encoder_model", "hypernetwork_strength",
)  # fmt: skip


def read_easy_diffusion(texts: Mapping[str, Any]) -> GenerationInfo | None:
    """Read settings by the names or labels of Easy Diffusion; None for settings of another tool."""
    settings = {_LABELS.get(str(name), str(name)): value for name, value in texts.items()}
    if sum(name in settings for name in _MARKS) < 2 or not isinstance(settings.get("prompt"), str):
        return None
    settings = {name: None if value in ("None", "none") else value for name, value in settings.items()}
    builder = InfoBuilder("Easy Diffusion", settings, "a1111")
    builder.skip(*_WITHOUT_EFFECT)
    builder.skip_defaults(tiling="none", use_upscale="False", use_face_correction="False")
    builder.follow("num_inference_steps", "num_inference_steps")
    builder.follow("seed", "seed")
    builder.follow("width", "width")
    builder.follow("height", "height")
    if settings.get("distilled_guidance_scale") and str(settings.get("guidance_scale")) in ("1", "1.0"):
        builder.follow("guidance_scale", "distilled_guidance_scale")
        builder.skip("guidance_scale")
    builder.follow("guidance_scale", "guidance_scale")
    builder.skip("distilled_guidance_scale")
    if str(settings.get("clip_skip")).casefold() == "true":  # a switch that leaves out one layer
        builder.options["clip_skip"] = 1
    builder.skip("clip_skip")
    schedule = settings.get("scheduler_name")
    builder.follow_sampler(settings.get("sampler_name"), schedule, "sampler_name", "scheduler_name")
    if settings.get("init_image") is None:
        builder.skip("prompt_strength")
    names, weights = (_read_list(settings.get(name)) for name in ("use_lora_model", "lora_alpha"))
    builder.skip("use_lora_model", "lora_alpha")
    for number, name in enumerate(names):
        builder.add_lora(name, weights[number] if number < len(weights) else 1.0)
    return builder.build(settings["prompt"], first_text(settings, ["negative_prompt"]))


def parse_text_file(text: str) -> dict[str, str]:
    """Parse the text file of Easy Diffusion beside an image: the prompt, and `Label: value` lines."""
    settings: dict[str, str] = {}
    lines = text.strip().splitlines()
    name = "prompt"
    for line in lines:
        label, colon, value = line.partition(":")
        known = _LABELS.get(label.strip()) if colon else None
        if known is not None:
            name = known
            settings[name] = value.strip()
        elif name in ("prompt", "negative_prompt"):  # a prompt of several lines
            settings[name] = f"{settings.get(name, '')}\n{line}".strip()
    return settings


def _read_list(value: object) -> list[Any]:
    """Return a value that is a list, the text of one, or a single value."""
    if isinstance(value, str) and value.startswith("["):
        wrapped = parse_object(f'{{"list": {value}}}') or parse_object(
            '{"list": ' + value.replace("'", '"') + "}"
        )
        value = wrapped["list"] if wrapped else value
    if isinstance(value, list):
        return value
    return [] if value is None or value == "" else [value]
