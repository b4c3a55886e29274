"""Metadata of SwarmUI: the JSON `sui_image_params`, with ComfyUI's samplers and weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from promptweight.messages import message
from promptweight.metadata.generation_info import (
    GenerationInfo,
    InfoBuilder,
    read_integer,
    read_number,
)
from promptweight.metadata.json_objects import find_text, first_text

_WITHOUT_EFFECT = (
    "model", "swarm_version", "aspectratio", "images", "batchsize", "date", "generation_time", "automaticvae",
    "sidelength", "personalnote", "savesegmentmask", "donotsave", "colordepth", "preferreddtype",
)  # fmt: skip
_LORA_TAG = re.compile(
    r"<lora(?:\[[^\[\]<>]*+\])?+:([^<>:]++)(?::([^<>:]*+))?+(?::([^<>:]*+))?+>", re.IGNORECASE
)
_SECTION_TAG = re.compile(
    r"<(?:segment|object|region|clear|extend|refiner|video|videoswap|comment|edit)(?:\[[^\[\]<>]*+\])?+[:>]",
    re.IGNORECASE,
)
"""Tags after which a text is the prompt of a region or of a later pass."""
_OTHER_TAG = re.compile(r"<[a-z]++(?:\[[^\[\]<>]*+\])?+(?::[^<>]*+)?+>", re.IGNORECASE)


def read_swarmui(record: Mapping[str, Any]) -> GenerationInfo:
    """Read `sui_image_params`."""
    settings = {name: value for name, value in record.items() if name not in ("prompt", "negativeprompt")}
    builder = InfoBuilder("SwarmUI", settings, "comfy")
    builder.skip(*_WITHOUT_EFFECT)
    builder.follow("num_inference_steps", "steps")
    builder.follow("seed", "seed")
    builder.follow("width", "width")
    builder.follow("height", "height")
    if read_number(record.get("fluxguidancescale")) and read_number(record.get("cfgscale", 1)) == 1:
        builder.follow("guidance_scale", "fluxguidancescale")
        builder.skip("cfgscale")
    builder.follow("guidance_scale", "cfgscale")
    builder.follow_sampler(record.get("sampler"), record.get("scheduler"), "sampler", "scheduler")
    layer = read_integer(record.get("clipstopatlayer"))
    if layer is not None:
        builder.set("clip_skip", abs(layer) - 1, "clipstopatlayer")
        builder.skip("clipstopatlayer")
    prompt = _read_prompt(builder, first_text(record, ["prompt"]))
    negative = _read_prompt(builder, first_text(record, ["negativeprompt"]))
    _add_listed_loras(builder, record)
    return builder.build(None if find_text(record, ["prompt"]) is None else prompt, negative)


def _read_prompt(builder: InfoBuilder, text: str) -> str:
    """Return the main part of a prompt without tags; those that name LoRAs are added."""
    section = _SECTION_TAG.search(text)
    parts = []
    if section is not None and text[: section.start()].strip():
        parts.append(text[section.start() :])
        text = text[: section.start()]
    names, weights = (_split_list(builder.settings.get(name)) for name in ("loras", "loraweights"))
    listed = {
        name.casefold(): read_number(weight) for name, weight in zip_longest(names, weights[: len(names)])
    }
    for tag in _LORA_TAG.finditer(text):
        name, weight, encoder_weight = tag.groups()
        if name.casefold() not in listed:
            builder.add_lora(name, weight or 1.0, encoder_weight or None)
        elif listed[name.casefold()] != read_number(weight or 1.0):  # the list has what was applied
            parts.append(tag[0])
    text = _LORA_TAG.sub("", text)
    parts += _OTHER_TAG.findall(text)
    if parts:
        builder.warn(message("prompt-parts-unused", tool="SwarmUI", parts=", ".join(parts)))
    return _OTHER_TAG.sub("", text).strip()


def _add_listed_loras(builder: InfoBuilder, record: Mapping[str, Any]) -> None:
    names, weights = _split_list(record.get("loras")), _split_list(record.get("loraweights"))
    encoder_weights = _split_list(record.get("loratencweights"))
    builder.skip("loras", "loraweights", "loratencweights")
    for number, name in enumerate(names):
        builder.add_lora(
            name,
            weights[number] if number < len(weights) else 1.0,
            encoder_weights[number] if number < len(encoder_weights) else None,
        )


def _split_list(value: object) -> list[str]:
    """Return a list of SwarmUI, which is JSON or text with commas."""
    if isinstance(value, list):
        return [str(each) for each in value if isinstance(each, (str, int, float))]
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else []
