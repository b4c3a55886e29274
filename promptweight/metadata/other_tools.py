"""Generation settings in image files of ComfyUI, InvokeAI and SwarmUI, read into one form.

The JSON comes from untrusted files: it is read in time linear in its length, content of another shape is
ignored, and no function raises.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_TEXT_INPUTS = ("text", "text_g", "text_l", "clip_l", "clip_g", "t5xxl", "string", "value", "prompt")
_SAMPLER_INPUTS = {
    "seed": "seed",
    "noise_seed": "seed",
    "steps": "steps",
    "cfg": "cfg_scale",
    "guidance": "guidance",
    "sampler_name": "sampler",
    "scheduler": "scheduler",
    "denoise": "denoise",
    "width": "width",
    "height": "height",
    "ckpt_name": "model",
    "unet_name": "model",
}
_ZERO_OUT = "ConditioningZeroOut"
"""ComfyUI node that replaces any prompt by an empty one; texts upstream of it have no effect."""

_MAX_NODES = 100_000


@dataclass(frozen=True)
class GenerationInfo:
    """The generation settings of an image, from any tool.

    Attributes:
        tool: the name of the tool.
        prompt: the prompt.
        negative_prompt: the negative prompt, empty where there is none.
        settings: the other settings by the tool's names (for ComfyUI, those of its sampler).
    """

    tool: str
    prompt: str
    negative_prompt: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_exif_texts(exif: Mapping[int, Any]) -> dict[str, str]:
    """Return the `prompt` and `workflow` in the EXIF data of ComfyUI's WebP files."""
    texts = {}
    for tag in (0x0110, 0x010F, 0x010E):
        value = exif.get(tag)
        if isinstance(value, str):
            name, colon, text = value.partition(":")
            if colon and name in ("prompt", "workflow"):
                texts[name] = text
    return texts


def read_generation_info(texts: Mapping[str, str], infotext: str | None) -> GenerationInfo | None:
    """Return the generation settings from the texts in an image file; None without those of a known tool."""
    if (record := _parse_object(texts.get("invokeai_metadata"))) is not None:
        return _read_invokeai(record)
    if (record := _parse_object(texts.get("sd-metadata"))) is not None:
        return _read_old_invokeai(record)
    if (record := _parse_object(infotext)) is not None and isinstance(record.get("sui_image_params"), dict):
        return _read_swarm(record["sui_image_params"])
    if (graph := _parse_object(texts.get("prompt"))) is not None:
        return _read_comfyui(graph)
    return None


def _parse_object(text: str | None) -> dict[str, Any] | None:
    if not text or not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _to_text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _read_invokeai(record: dict[str, Any]) -> GenerationInfo:
    """Read the record of InvokeAI 3 and later, whose model is an object with a name."""
    model = record.get("model")
    names = {"model": model.get("name") or model.get("model_name")} if isinstance(model, dict) else {}
    settings = {
        name: value
        for name, value in {**record, **names}.items()
        if name not in ("positive_prompt", "negative_prompt") and isinstance(value, (str, int, float, bool))
    }
    return GenerationInfo(
        "InvokeAI",
        _to_text(record.get("positive_prompt")),
        _to_text(record.get("negative_prompt")),
        settings,
    )


def _read_old_invokeai(record: dict[str, Any]) -> GenerationInfo:
    """Read the record of InvokeAI 1 and 2, whose prompt has the negative prompt in square brackets."""
    image: Any = record.get("image")
    settings = (
        {name: value for name, value in image.items() if name != "prompt"} if isinstance(image, dict) else {}
    )
    prompt = image.get("prompt") if isinstance(image, dict) else ""
    if isinstance(prompt, list):
        prompt = ", ".join(_to_text(part.get("prompt")) for part in prompt if isinstance(part, dict))
    if isinstance(record.get("model_weights"), str):
        settings["model"] = record["model_weights"]
    return GenerationInfo("InvokeAI", _to_text(prompt), "", settings)


def _read_swarm(record: dict[str, Any]) -> GenerationInfo:
    settings = {name: value for name, value in record.items() if name not in ("prompt", "negativeprompt")}
    return GenerationInfo(
        "SwarmUI",
        _to_text(record.get("prompt")),
        _to_text(record.get("negativeprompt")),
        settings,
    )


def _read_comfyui(graph: dict[str, Any]) -> GenerationInfo | None:
    """Read ComfyUI's graph of nodes: the texts upstream of its sampler's `positive` and `negative` inputs."""
    nodes = {
        name: node["inputs"]
        for name, node in list(graph.items())[:_MAX_NODES]
        if isinstance(node, dict)
        and isinstance(node.get("inputs"), dict)
        and node.get("class_type") != _ZERO_OUT
    }
    if not nodes:
        return None
    samplers = [each for each in nodes.values() if _is_sampler(each)]
    no_inputs: dict[str, Any] = {}
    sampler = next((each for each in samplers if "positive" in each), samplers[0] if samplers else no_inputs)
    positive = list(_upstream_texts(nodes, sampler.get("positive", sampler.get("guider")), "positive"))
    guider = nodes.get(_source_node(sampler.get("guider")), no_inputs)
    negative = list(_upstream_texts(nodes, sampler.get("negative", guider.get("negative")), "negative"))
    settings: dict[str, Any] = {}
    for node in (sampler, *nodes.values()):
        for name, setting in _SAMPLER_INPUTS.items():
            value = node.get(name)
            if isinstance(value, (str, int, float)) and not isinstance(value, bool):
                settings.setdefault(setting, value)
    return GenerationInfo("ComfyUI", "\n".join(positive), "\n".join(negative), settings)


def _is_sampler(inputs: Mapping[str, Any]) -> bool:
    return any(name in inputs for name in ("seed", "noise_seed", "sampler", "noise")) and any(
        name in inputs for name in ("positive", "guider")
    )


def _upstream_texts(nodes: Mapping[str, dict[str, Any]], link: object, role: str) -> Iterator[str]:
    """Yield the texts upstream of a link, each once; nodes with both prompts contribute that of the role."""
    queue, visited, yielded = [link], set(), set()
    other = "negative" if role == "positive" else "positive"
    while queue:
        name = _source_node(queue.pop())
        if name in visited or name not in nodes:
            continue
        visited.add(name)
        inputs = nodes[name]
        has_both = {"positive", "negative"} <= inputs.keys()
        texts = [inputs.get(each) for each in _TEXT_INPUTS]
        for text in [*texts, inputs[role]] if has_both else texts:
            if isinstance(text, str) and text and text not in yielded:
                yielded.add(text)
                yield text
        upstream = [inputs[role]] if has_both else [inputs[each] for each in inputs if each != other]
        queue += reversed(upstream)


def _source_node(link: object) -> str:
    """Return the name of the node that a link comes from; empty where `link` is not a link."""
    is_link = isinstance(link, list) and link and isinstance(link[0], (str, int))
    return str(link[0]) if is_link else ""  # type: ignore[index]  # a list, as checked above
