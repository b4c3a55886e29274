"""Settings in an infotext, of AUTOMATIC1111 and of the tools that write the same text."""

from __future__ import annotations

import json
import re

from promptweight.messages import message
from promptweight.metadata.a1111 import parse_infotext
from promptweight.metadata.civitai import add_resources
from promptweight.metadata.generation_info import GenerationInfo, InfoBuilder, read_number

_WITHOUT_EFFECT = (
    "Version", "Model", "Model hash", "Hashes", "TI hashes", "VAE hash", "Refiner hash", "Created Date",
    "User", "Civitai metadata", "App", "Backend", "Operations", "Index", "Batch", "Raw prompt",
    "Raw negative prompt", "Performance", "Styles", "Comment", "Hashed prompt", "Hashed negative prompt",
    "Discard penultimate sigma", "Pipeline", "Diffusion in Low Bits", "Module 1", "Module 2", "Module 3",
    "Module 4",
)  # fmt: skip
"""Settings that identify the image or its models, or whose effect is in the prompt already."""
_PARSERS = {"compel": "compel", "full": "a1111", "a1111": "a1111", "fixed": "plain", "xhinker": "a1111"}
"""Dialects by SD.Next's names of its parsers."""
_EMPHASES = {"no norm": "scale", "ignore": "none", "original": "a1111"}
"""Weightings by AUTOMATIC1111's names of its emphasis modes."""
_LORA_TAG = re.compile(r"<lora:([^<>:\n]++)")
_HASH_ENDING = re.compile(r"\([0-9a-f]+\)\Z")


def read_infotext(text: str) -> GenerationInfo | None:
    """Read an infotext; None for a text without settings and without a negative prompt.

    The prompt of a text in a place where only infotexts are is that text (`read_plain_infotext`).
    """
    prompt, negative, settings = parse_infotext(text)
    return _build(prompt, negative, settings) if settings or negative else None


def read_plain_infotext(text: str) -> GenerationInfo:
    """Read a text that is an infotext by its place, even without settings."""
    return _build(*parse_infotext(text))


def _build(prompt: str, negative: str, settings: dict[str, str]) -> GenerationInfo:
    folded = {name.casefold(): value for name, value in settings.items()}
    tool = _find_tool(folded)
    dialect = {"ComfyUI": "comfy", "SD.Next": _PARSERS.get(folded.get("parser", ""), "a1111")}.get(
        tool, "a1111"
    )
    builder = InfoBuilder(tool, settings, dialect)
    builder.skip(*_WITHOUT_EFFECT)
    builder.follow("num_inference_steps", "Steps")
    builder.follow("seed", "Seed")
    for name in settings:
        if name.casefold() in ("size", "resolution"):
            builder.follow_size(name)
            builder.skip(name)
    builder.follow("width", "Width")
    builder.follow("height", "Height")
    if "distilled cfg scale" in folded:  # CFG 1 beside it means that there is no classifier-free guidance
        builder.follow("guidance_scale", "Distilled CFG Scale")
        if read_number(folded.get("cfg scale", 1)) == 1:
            builder.skip("CFG scale")
    builder.follow("guidance_scale", "CFG scale", "Guidance scale")
    builder.follow("clip_skip", "Clip skip", offset=-1)
    schedule = folded.get("schedule type", folded.get("scheduler"))
    builder.follow_sampler(folded.get("sampler"), schedule, "Sampler", "Schedule type", "Scheduler")
    _follow_emphasis(builder, folded)
    _add_loras(builder, prompt, folded)
    return builder.build(prompt, negative)


def _find_tool(settings: dict[str, str]) -> str:
    version = settings.get("version", "")
    if settings.get("app") == "SD.Next":
        return "SD.Next"
    if "fooocus" in version.casefold():
        return "Fooocus"
    if "comfy" in version.casefold():
        return "ComfyUI"
    if re.match(r"f\d|neo|classic|reforge", version, re.IGNORECASE):
        return "Forge"
    return "AUTOMATIC1111"


def _follow_emphasis(builder: InfoBuilder, settings: dict[str, str]) -> None:
    emphasis = settings.get("emphasis", "").casefold()
    if emphasis in _EMPHASES:
        builder.options["weighting"] = _EMPHASES[emphasis]
        builder.skip("Emphasis")
    elif emphasis == "none":
        builder.dialect = "plain"
        builder.skip("Emphasis")
    builder.skip("Parser")


def _add_loras(builder: InfoBuilder, prompt: str, settings: dict[str, str]) -> None:
    """Add LoRAs of Fooocus and of the extension Additional Networks; warn about those without a weight."""
    in_prompt = {name.casefold() for name in _LORA_TAG.findall(prompt)}
    weights = _parse_pairs(settings.get("lora weights", ""))
    hashes = _parse_pairs(settings.get("lora hashes", ""))
    listed = settings.get("loraweights", "").split(",")  # of SwarmUI, in the order of the hashes
    if not weights and len(listed) == len(hashes) and "loraweights" in settings:
        weights = dict(zip(hashes, listed, strict=True))
        builder.skip("loraweights")
    for name, weight in weights.items():
        builder.add_lora(name, weight)
    builder.skip("Lora weights", "Lora hashes")
    for name in hashes:
        if name.casefold() not in in_prompt and name not in weights:
            builder.warn(message("lora-weight-unknown", name=name, tool=builder.tool))
    builder.skip("AddNet Enabled")
    for number in range(1, 10):
        model = settings.get(f"addnet model {number}")
        if model and settings.get("addnet enabled") == "True":
            unet, encoder = (settings.get(f"addnet weight {each} {number}") for each in "ab")
            both = settings.get(f"addnet weight {number}")
            builder.add_lora(_HASH_ENDING.sub("", model), unet if both is None else both, encoder)
        names = ("Model", "Module", "Weight", "Weight A", "Weight B")
        builder.skip(*(f"AddNet {name} {number}" for name in names))
    if resources := settings.get("civitai resources"):
        builder.skip("Civitai resources")
        try:
            add_resources(builder, json.loads(resources))
        except (ValueError, RecursionError):
            builder.ignore("Civitai resources")


def _parse_pairs(text: str) -> dict[str, str]:
    """Parse `name: value, name: value`."""
    pairs = (part.rpartition(":") for part in text.split(","))
    return {name.strip(): value.strip() for name, colon, value in pairs if colon and name.strip()}
