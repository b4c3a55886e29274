"""Readers of the metadata of all tools, chosen by the content of the texts in a file.

The texts come from untrusted files: content of another shape is ignored, and no function raises. A text that
is not understood never gives an empty prompt: the result has an `error` instead, or is None.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from promptweight.messages import message
from promptweight.metadata.comfyui import read_comfyui
from promptweight.metadata.comfyui_workflow import convert_workflow
from promptweight.metadata.draw_things import find_xmp_text, read_draw_things
from promptweight.metadata.easy_diffusion import parse_text_file, read_easy_diffusion
from promptweight.metadata.fooocus import is_fooocus, read_fooocus
from promptweight.metadata.generation_info import GenerationInfo
from promptweight.metadata.image_texts import ImageTexts
from promptweight.metadata.infotext_settings import read_infotext, read_plain_infotext
from promptweight.metadata.invokeai import read_dream, read_invokeai, read_old_invokeai
from promptweight.metadata.json_objects import parse_object
from promptweight.metadata.json_settings import read_json_settings
from promptweight.metadata.novelai import is_novelai, read_novelai
from promptweight.metadata.swarmui import read_swarmui

_GRAPH_PREFIXES = ("prompt:", "workflow:")
_MAKERS = {
    "midjourney": "Midjourney", "chatgpt": "ChatGPT", "dall-e": "DALL·E", "dalle": "DALL·E",
    "dall·e": "DALL·E", "openai": "OpenAI", "firefly": "Adobe Firefly", "google ai": "Google AI",
    "imagen": "Google Imagen", "gemini": "Google Gemini", "bing image": "Bing Image Creator",
    "stability": "Stability AI", "ideogram": "Ideogram", "leonardo": "Leonardo", "novelai": "NovelAI",
    "invokeai": "InvokeAI", "comfyui": "ComfyUI", "fooocus": "Fooocus", "swarmui": "SwarmUI",
    "easy diffusion": "Easy Diffusion", "draw things": "Draw Things", "drawthings": "Draw Things",
    "krea": "Krea", "recraft": "Recraft", "grok": "Grok", "meta ai": "Meta AI", "canva": "Canva",
}  # fmt: skip
"""Tools by words in the fields that name the program."""
_MAKER_FIELDS = ("Software", "exif:Software", "exif:Make", "exif:Model", "Source", "Author", "exif:Artist",
                 "exif:ImageDescription", "Title")  # fmt: skip
_INFOTEXT_FIELDS = ("comment", "Comment", "exif:ImageDescription", "exif:XPComment", "Description")
"""Fields where infotexts are besides `parameters` and the UserComment."""
_POSTPROCESSING = "Postprocess "
"""Beginning of what AUTOMATIC1111 writes in place of the settings of an image that it upscales."""
_MIDJOURNEY_MARKS = (" Job ID: ", " --v ", " --ar ", " --stylize ", " --s ")


def read_generation_info(file: ImageTexts) -> GenerationInfo | None:
    """Return the generation settings in the texts of a file; None without those of any tool.

    Where several texts have settings, those whose prompt is known have precedence, then the more exact ones.
    """
    found: list[GenerationInfo] = []
    for reader in _READERS:
        for info in reader(file):
            if info.error is None:
                return info
            found.append(info)
    return found[0] if found else None


def read_text_file(text: str) -> GenerationInfo | None:
    """Return the generation settings in a text or JSON file beside an image."""
    if parse_object(text) is None and (info := read_easy_diffusion(parse_text_file(text))) is not None:
        return info
    return read_generation_info(ImageTexts({"parameters": text}))


def _objects(file: ImageTexts) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects among the texts, each also where another text has it as a value."""
    texts = [*file.texts.values(), *file.user_comments, file.hidden or ""]
    for text in texts:
        record = parse_object(_strip_prefix(text))
        if record is not None:
            yield record


def _strip_prefix(text: str) -> str:
    """Remove the name that ComfyUI writes before the JSON in an EXIF field."""
    start = text[:9].casefold()
    return next((text[len(prefix) :] for prefix in _GRAPH_PREFIXES if start.startswith(prefix)), text)


def _read_invokeai(file: ImageTexts) -> Iterator[GenerationInfo]:
    if (record := parse_object(file.texts.get("invokeai_metadata"))) is not None and record:
        yield read_invokeai(record)
    if (record := parse_object(file.texts.get("sd-metadata"))) is not None:
        info = read_old_invokeai(record)
        if info is not None and info.prompt:
            yield info
    if "Dream" in file.texts and (info := read_dream(file.texts["Dream"])) is not None:
        yield info
    if any(name.startswith("invokeai_") or name in ("Dream", "sd-metadata") for name in file.texts):
        yield _missing("InvokeAI")


def _read_swarmui(file: ImageTexts) -> Iterator[GenerationInfo]:
    for record in _objects(file):
        if isinstance(record.get("sui_image_params"), dict):
            yield read_swarmui(record["sui_image_params"])


def _read_novelai(file: ImageTexts) -> Iterator[GenerationInfo]:
    hidden = parse_object(file.hidden) or {}
    for texts in (file.texts, {name: _to_text(value) for name, value in hidden.items()}):
        if is_novelai(texts):
            yield read_novelai(texts, file.size)
    for record in _objects(file):
        if "v4_prompt" in record or {"uc", "noise_schedule"} <= record.keys():
            yield read_novelai({"Comment": json.dumps(record)}, file.size)


def _to_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _read_comfyui(file: ImageTexts) -> Iterator[GenerationInfo]:
    workflows: list[Mapping[str, Any]] = []
    for record in _objects(file):
        nested = [record, record.get("prompt"), record.get("workflow")]
        for each in nested:
            each = parse_object(each) if isinstance(each, str) else each
            if not isinstance(each, dict):
                continue
            if isinstance(each.get("nodes"), list):
                workflows.append(each)
            elif _is_graph(each) and (info := read_comfyui(each)) is not None:
                yield info
    for workflow in workflows:
        if (info := read_comfyui(convert_workflow(workflow))) is not None:
            yield info
        else:
            yield _missing("ComfyUI")


def _is_graph(record: Mapping[str, Any]) -> bool:
    return any(isinstance(node, dict) and isinstance(node.get("inputs"), dict) for node in record.values())


def _read_fooocus(file: ImageTexts) -> Iterator[GenerationInfo]:
    for record in _objects(file):
        if is_fooocus(record):
            info = read_fooocus(record)
            if info.prompt or info.settings:
                yield info


def _read_draw_things(file: ImageTexts) -> Iterator[GenerationInfo]:
    if (info := read_draw_things(file.xmp)) is not None:
        yield info


def _read_easy_diffusion(file: ImageTexts) -> Iterator[GenerationInfo]:
    for record in (file.texts, *_objects(file)):
        if (info := read_easy_diffusion(record)) is not None:
            yield info


def _read_infotexts(file: ImageTexts) -> Iterator[GenerationInfo]:
    parameters = file.texts.get("parameters", "")
    texts = [parameters, *file.user_comments, file.hidden or "", find_xmp_text(file.xmp, "dc:description")]
    for text in [*texts, *(file.texts.get(name, "") for name in _INFOTEXT_FIELDS)]:
        if text and not _looks_like_json(text) and (info := read_infotext(text)) is not None:
            yield info
    if parameters.startswith(_POSTPROCESSING):
        yield _missing("AUTOMATIC1111")
    elif parameters.strip() and not _looks_like_json(parameters):
        yield read_plain_infotext(parameters)


def _looks_like_json(text: str) -> bool:
    start = text.lstrip("\ufeff \t\r\n")[:40]
    return (start.startswith("{") and start[1:].lstrip().startswith(('"', "}"))) or parse_object(
        text
    ) is not None


def _read_json(file: ImageTexts) -> Iterator[GenerationInfo]:
    for record in _objects(file):
        if (info := read_json_settings(record)) is not None:
            yield info
    if any(_looks_like_json(text) for text in (file.texts.get("parameters", ""), *file.user_comments)):
        error = message("settings-json-unknown")
        yield GenerationInfo("an unknown tool", "", error=error)


def _read_midjourney(file: ImageTexts) -> Iterator[GenerationInfo]:
    description = file.texts.get("Description", file.texts.get("exif:ImageDescription", ""))
    is_marked = sum(mark in f"{description} " for mark in _MIDJOURNEY_MARKS)
    if is_marked and (is_marked > 1 or "Job ID: " in description):
        prompt, _, parameters = description.partition(" --")
        prompt = prompt.partition(" Job ID: ")[0]
        settings = {"parameters": f"--{parameters}".partition(" Job ID: ")[0]} if parameters else {}
        names = ", ".join(settings.values())
        warnings = (message("settings-not-followed", tool="Midjourney", names=names),) if names else ()
        yield GenerationInfo("Midjourney", prompt.strip(), "", settings, "plain", warnings=warnings)


def _read_maker(file: ImageTexts) -> Iterator[GenerationInfo]:
    """Name the tool of a file without settings."""
    named = [file.texts.get(name, "") for name in _MAKER_FIELDS]
    named += [find_xmp_text(file.xmp, name) for name in ("xmp:CreatorTool", "photoshop:Credit", "dc:creator")]
    for value in named:
        folded = value.casefold()
        for word, tool in _MAKERS.items():
            if re.search(rf"\b{re.escape(word)}\b", folded):
                yield _missing(tool)
    manifest = file.manifest.casefold()
    yield from (_missing(tool) for word, tool in _MAKERS.items() if word in manifest)


def _missing(tool: str) -> GenerationInfo:
    return GenerationInfo(tool, "", error=message("settings-missing", tool=tool))


_READERS: tuple[Callable[[ImageTexts], Iterator[GenerationInfo]], ...] = (
    _read_invokeai,
    _read_swarmui,
    _read_novelai,
    _read_comfyui,
    _read_fooocus,
    _read_draw_things,
    _read_easy_diffusion,
    _read_infotexts,
    _read_json,
    _read_midjourney,
    _read_maker,
)
"""Readers, those of the more exact settings first."""
