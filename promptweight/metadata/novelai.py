"""Metadata of NovelAI: JSON in the PNG text `Comment`, from version 4 on with the captions of characters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptweight.messages import message
from promptweight.metadata.generation_info import GenerationInfo, InfoBuilder
from promptweight.metadata.json_objects import find_text, first_text, parse_object
from promptweight.prompt import convert

_WITHOUT_EFFECT = (
    "prompt", "uc", "v4_prompt", "v4_negative_prompt", "request_type", "signed_hash", "n_samples", "version",
    "hide_debug_overlay", "stream", "image_format", "params_version", "add_original_image", "model", "legacy",
    "legacy_v3_extend", "legacy_uc", "use_coords", "ucPreset", "qualityToggle", "prefer_brownian",
    "deliberate_euler_ancestral_bug", "explike_fine_detail", "minimize_sigma_inf", "uncond_per_vibe",
    "wonky_vibe_correlation", "characterPrompts", "negative_prompt", "extra_passthrough_testing",
)  # fmt: skip
"""Settings that are read elsewhere, or that have no counterpart in other tools."""
_NEUTRAL = {"uncond_scale": 1, "controlnet_strength": 1, "dynamic_thresholding_mimic_scale": 10,
            "dynamic_thresholding_percentile": 0.999}  # fmt: skip
"""Settings at the value at which they do nothing."""


def is_novelai(texts: Mapping[str, str]) -> bool:
    """Return whether the texts of a file are those of NovelAI."""
    if texts.get("Software", "").casefold().startswith("novelai"):
        return True
    comment = parse_object(texts.get("Comment"))
    return comment is not None and ("v4_prompt" in comment or {"uc", "steps", "scale"} <= comment.keys())


def read_novelai(texts: Mapping[str, str], size: tuple[int, int]) -> GenerationInfo:
    """Read the texts of an image of NovelAI.

    Args:
        texts: the texts of the file by their names.
        size: width and height of the image, which the first version does not name.
    """
    comment = parse_object(texts.get("Comment"))
    if comment is None:
        error = message("settings-missing", tool="NovelAI")
        prompt = _to_comfy(texts.get("Description", ""))
        return GenerationInfo("NovelAI", prompt, dialect="comfy", error=None if prompt else error)
    settings = {"width": size[0], "height": size[1], **comment}
    if texts.get("Description"):
        settings.setdefault("prompt", texts["Description"])
    if texts.get("Source"):
        settings["model"] = texts["Source"]
    builder = InfoBuilder("NovelAI", settings, "comfy")
    # NovelAI has not published its method; its prompts are commonly carried over to AUTOMATIC1111.
    builder.options["weighting"] = "a1111"
    builder.skip(*_WITHOUT_EFFECT)
    builder.skip_defaults(**_NEUTRAL)
    if comment.get("request_type", "") == "PromptGenerateRequest":
        builder.skip("strength", "noise")
    builder.follow("num_inference_steps", "steps")
    builder.follow("seed", "seed")
    builder.follow("width", "width")
    builder.follow("height", "height")
    builder.follow("guidance_scale", "scale")
    builder.follow_sampler(comment.get("sampler"), comment.get("noise_schedule"), "sampler", "noise_schedule")
    prompt, characters = _read_caption(comment.get("v4_prompt"))
    negative, _ = _read_caption(comment.get("v4_negative_prompt"))
    if characters:
        builder.warn(message("characters-joined", number=characters))
    written = find_text(settings, ["prompt"])
    if not prompt and written is not None:
        prompt = _to_comfy(written)
    return builder.build(
        None if not prompt and written is None else prompt,
        negative or _to_comfy(first_text(comment, ["uc", "negative_prompt"])),
    )


def _read_caption(value: object) -> tuple[str, int]:
    """Return the caption of the image and those of its characters, joined, and the number of characters."""
    caption = value.get("caption") if isinstance(value, dict) else None
    if not isinstance(caption, dict):
        return "", 0
    listed: Any = caption.get("char_captions")
    characters = [
        first_text(each, ["char_caption"])
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict)
    ]
    characters = [each for each in characters if each.strip()]
    # A bracket without a partner ends with its caption.
    captions = [
        _to_comfy(each.strip().rstrip(","))
        for each in (first_text(caption, ["base_caption"]), *characters)
        if each.strip()
    ]
    return ", ".join(captions), len(characters)


def _to_comfy(prompt: str) -> str:
    """Return a prompt of NovelAI in the dialect `comfy`, which has a form for all of its weights."""
    return convert(prompt, "novelai", "comfy").text
