"""LoRAs of an image as tags in its prompt, `<lora:name:weight>`."""

from __future__ import annotations

import re
from dataclasses import replace

from promptweight.metadata.generation_info import GenerationInfo, LoraUse
from promptweight.prompt import convert
from promptweight.weighting import DIALECT_METHODS

_TAG_DIALECTS = ("pw", "a1111")
_NAME = re.compile(r"[^<>:\n\r]+")


def name_loras(info: GenerationInfo) -> GenerationInfo:
    r"""Return the settings with a prompt that names its LoRAs.

    Prompts of a dialect without tags are converted into `pw`, with the weighting of the dialect. What cannot
    be written stays: `loras` has the LoRAs whose names do not fit in a tag, and all of them where the
    conversion would lose something.

    >>> ink = LoraUse("ink", weight=0.8, text_encoder_weight=0.5)
    >>> named = name_loras(GenerationInfo("ComfyUI", "(fox:1.2), [snow]", dialect="comfy", loras=(ink,)))
    >>> named.prompt, named.dialect, dict(named.options)
    ('(fox:1.2), \\[snow\\]<lora:ink:0.5:0.8>', 'pw', {'weighting': 'comfy'})
    """
    named = [lora for lora in info.loras if _NAME.fullmatch(lora.name)]
    if not named:
        return info
    if info.dialect not in _TAG_DIALECTS:
        converted = [convert(text, info.dialect, "pw") for text in (info.prompt, info.negative_prompt)]
        if any(each.losses for each in converted):
            return info
        options = dict(info.options)
        if info.dialect in DIALECT_METHODS:
            options.setdefault("weighting", DIALECT_METHODS[info.dialect])
        info = replace(
            info, prompt=converted[0].text, negative_prompt=converted[1].text, dialect="pw", options=options
        )
    tags = "".join(_write_tag(lora) for lora in named)
    # A tag in a comment would have no effect.
    line = info.prompt.rpartition("\n")[2]
    line_end = "\n" if line.startswith("#") or (info.dialect == "a1111" and "#" in line) else ""
    left = tuple(lora for lora in info.loras if lora not in named)
    return replace(info, prompt=f"{info.prompt}{line_end}{tags}", loras=left)


def _write_tag(lora: LoraUse) -> str:
    """Write a tag; of two weights, the first is that in the text encoders."""
    weights = dict.fromkeys([lora.text_encoder_weight, lora.weight])
    return f"<lora:{lora.name}:{':'.join(_write_number(weight) for weight in weights)}>"


def _write_number(number: float) -> str:
    written = f"{number:.6f}".rstrip("0").rstrip(".")
    return "0" if written == "-0" else written
