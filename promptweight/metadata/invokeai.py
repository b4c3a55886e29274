"""Metadata of InvokeAI: a command line (version 1), `sd-metadata` (2), `invokeai_metadata` (3 and later)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from promptweight.messages import message
from promptweight.metadata.generation_info import GenerationInfo, InfoBuilder
from promptweight.metadata.json_objects import find_text, first_text

_WITHOUT_EFFECT = (
    "app_version", "app_id", "generation_mode", "rand_device", "model", "model_hash", "model_weights", "type",
    "board_id", "variations", "facetool_strength",
)  # fmt: skip
_OPTIONS = {
    "s": "steps", "S": "seed", "W": "width", "H": "height", "C": "cfg_scale", "A": "sampler", "m": "sampler",
    "G": "gfpgan_strength", "U": "upscale", "f": "strength", "I": "init_img", "V": "with_variations",
    "v": "variation_amount", "t": "threshold",
}  # fmt: skip
"""Names of InvokeAI's command-line options of one letter, after which the value may follow directly."""


def read_invokeai(record: Mapping[str, Any]) -> GenerationInfo:
    """Read the record of InvokeAI 3 and later, whose models are objects with a name."""
    model = record.get("model")
    prompts = ("positive_prompt", "negative_prompt")
    settings = {name: value for name, value in record.items() if name not in prompts}
    if isinstance(model, dict):
        settings["model"] = first_text(model, ["name", "model_name"])
    builder = InfoBuilder("InvokeAI", settings, "compel")
    builder.skip(*_WITHOUT_EFFECT)
    _follow(builder)
    canvas = record.get("canvas_v2_metadata")
    if not isinstance(canvas, dict) or not any(canvas.values()):
        builder.skip("canvas_v2_metadata")
    builder.follow("clip_skip", "clip_skip")
    builder.follow_sampler(record.get("scheduler"), None, "scheduler")
    builder.skip("loras")
    loras = record.get("loras")
    for lora in loras if isinstance(loras, list) else []:
        if isinstance(lora, dict):
            named: dict[str, Any] = {}
            for each in ("lora", "model"):
                named = lora[each] if isinstance(lora.get(each), dict) else named
            builder.add_lora(first_text(named, ["name", "model_name"]), lora.get("weight", 1.0))
    prompt, negative = (first_text(record, [f"{role}_prompt"]) for role in ("positive", "negative"))
    for name, main in (("positive_style_prompt", prompt), ("negative_style_prompt", negative)):
        builder.skip(name)
        style = first_text(record, [name])
        if style.strip() and style != main:
            builder.warn(message("second-prompt-unused", text=style, node=name))
    return builder.build(find_text(record, ["positive_prompt"]), negative)


def read_old_invokeai(record: Mapping[str, Any]) -> GenerationInfo | None:
    """Read the record of InvokeAI 2; None where it is of another shape."""
    image = record.get("image")
    if isinstance(image, list) and image:  # a grid
        image = image[0]
    if not isinstance(image, dict):
        return None
    prompt = image.get("prompt")
    settings = {name: value for name, value in image.items() if name != "prompt"}
    if isinstance(record.get("model_weights"), str):
        settings["model"] = record["model_weights"]
    builder = InfoBuilder("InvokeAI", settings, "compel")
    if isinstance(prompt, list):
        parts = [part for part in prompt if isinstance(part, dict) and isinstance(part.get("prompt"), str)]
        if len(parts) > 1:
            builder.warn(message("prompts-combined", number=len(parts), node="blend"))
        prompt = ", ".join(part["prompt"] for part in parts)
    return _build_old(builder, prompt if isinstance(prompt, str) else "")


def read_dream(text: str) -> GenerationInfo | None:
    r"""Read the command line of InvokeAI 1, `"prompt" -s 50 -S 42`; None where it has no prompt in quotes.

    >>> info = read_dream('"a cat [ugly]" -s50 -S 42 -W 512 -H 768 -C 7.5 -A k_euler')
    >>> info.prompt, info.negative_prompt, info.options["seed"], info.options["scheduler"]
    ('a cat', 'ugly', 42, 'Euler')
    """
    text = text.strip().removeprefix("!fetch").lstrip()
    end = _closing_quote(text)
    if end < 0:
        return None
    prompt = text[1:end].replace('\\"', '"')
    settings: dict[str, Any] = {}
    name = ""
    for word in text[end + 1 :].split():
        if word[0] != "-" or word[1:2].isdigit():
            settings[name] = (
                word if settings.get(name) is True else f"{settings.get(name, '')} {word}".strip()
            )
            continue
        letter, attached = word[1:2], word[2:]
        if (
            word.startswith("--")
            or letter not in _OPTIONS
            or (attached and attached.isalpha() and letter != "A")
        ):
            name, _, value = word.lstrip("-").partition("=")
            settings[name] = value or True
        else:
            name = _OPTIONS[letter]
            settings[name] = attached or True
    return _build_old(InfoBuilder("InvokeAI", settings, "compel"), prompt)


def _closing_quote(text: str) -> int:
    """Return the index of the quote that ends the prompt: one before a space or the end; -1 without."""
    if not text.startswith('"'):
        return -1
    at = text.find('"', 1)
    while at >= 0:
        if text[at - 1] != "\\" and text[at + 1 : at + 2] in ("", " "):
            return at
        at = text.find('"', at + 1)
    return -1


def _build_old(builder: InfoBuilder, prompt: str) -> GenerationInfo:
    builder.skip(*_WITHOUT_EFFECT)
    _follow(builder)
    sampler = builder.settings.get("sampler")
    builder.follow_sampler(sampler, None, "sampler")
    return builder.build(*split_negative(prompt))


def _follow(builder: InfoBuilder) -> None:
    builder.follow("num_inference_steps", "steps")
    builder.follow("seed", "seed")
    builder.follow("width", "width")
    builder.follow("height", "height")
    builder.follow("guidance_scale", "guidance", "cfg_scale")


def split_negative(prompt: str) -> tuple[str, str]:
    """Split the negative prompt, which InvokeAI 1 and 2 take from square brackets, from a prompt.

    >>> split_negative("a cat [ugly], by the sea [blurry]")
    ('a cat , by the sea', 'ugly blurry')
    """
    kept, negative, at = [], [], 0
    while (start := prompt.find("[", at)) >= 0 and (end := prompt.find("]", start)) >= 0:
        kept.append(prompt[at:start])
        negative.append(prompt[start + 1 : end])
        at = end + 1
    kept.append(prompt[at:])
    return re.sub(" +", " ", " ".join(kept)).strip(), " ".join(negative).strip()
