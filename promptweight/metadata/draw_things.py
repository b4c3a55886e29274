"""Metadata of Draw Things: JSON in the EXIF UserComment of an XMP packet."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from promptweight.metadata.generation_info import GenerationInfo, InfoBuilder
from promptweight.metadata.json_objects import find_text, first_text, parse_object

_WITHOUT_EFFECT = ("model", "c", "uc", "v2", "lora", "id", "profile", "version")


def read_draw_things(xmp: str) -> GenerationInfo | None:
    """Read the settings in an XMP packet; None where it has none of Draw Things.

    The packet is searched as text, since hostile XML can occupy a parser without end.
    """
    record = parse_object(find_xmp_text(xmp, "exif:UserComment"))
    if record is None or "c" not in record:
        return None
    version_2: Any = record.get("v2")
    more = version_2 if isinstance(version_2, dict) else {}
    settings = dict(record)
    if "clip_skip" not in settings and more.get("clipSkip") is not None:
        settings["clip_skip"] = more["clipSkip"]
    builder = InfoBuilder("Draw Things", settings, "a1111")
    builder.skip(*_WITHOUT_EFFECT)
    builder.skip_defaults(
        strength=1, seed_mode="Scale Alike", shift=1, batch_size=1, upscaler="", mask_blur=1.5
    )
    builder.follow("num_inference_steps", "steps")
    builder.follow("seed", "seed")
    builder.follow_size("size")
    builder.follow("guidance_scale", "scale")
    builder.follow("clip_skip", "clip_skip", offset=-1)
    builder.follow_sampler(record.get("sampler"), None, "sampler")
    loras: Any = record.get("lora")
    if not isinstance(loras, list):
        loras = more.get("loras")
    for lora in loras if isinstance(loras, list) else []:
        if isinstance(lora, dict):
            builder.add_lora(first_text(lora, ["model", "file"]), lora.get("weight", 1.0))
    _report(builder, more)
    return builder.build(find_text(record, ["c"]), first_text(record, ["uc"]))


def _report(builder: InfoBuilder, more: Mapping[str, Any]) -> None:
    """Name the settings of the second form that act on the image."""
    for name in ("controls", "refinerModel", "upscaler", "faceRestoration"):
        if more.get(name):
            builder.ignore(name)
    for name in ("hiresFix", "tiledDiffusion", "teaCache"):
        if more.get(name) is True:
            builder.ignore(name)


def find_xmp_text(xmp: str, name: str) -> str:
    """Return the text of a property of an XMP packet, in an element or an attribute; empty without it.

    >>> find_xmp_text("<a:B><rdf:Alt><rdf:li xml:lang='x'>1 &lt; 2</rdf:li></rdf:Alt></a:B>", "a:B")
    '1 < 2'
    """
    start = xmp.find(f"<{name}>")
    if start < 0:
        at = xmp.find(f' {name}="')
        if at < 0:
            return ""
        at += len(name) + 3
        end = xmp.find('"', at)
        return html.unescape(xmp[at:end]) if end >= 0 else ""
    start += len(name) + 2
    end = xmp.find(f"</{name}>", start)
    item = xmp.find("<rdf:li", start)
    if 0 <= item < end:
        start = xmp.find(">", item) + 1
        end = xmp.find("</rdf:li>", start)
    return html.unescape(xmp[start:end]).strip() if 0 < start <= end else ""
