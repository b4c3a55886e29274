"""What ComfyUI, InvokeAI and SwarmUI write into their pictures, read into one form.

Everything here is JSON from files that anybody may have made: it is read in time linear in its length, what
has another shape than those tools give it is left alone, and nothing raises.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_TEXT_INPUTS = ("text", "text_g", "text_l", "clip_l", "clip_g", "t5xxl", "string", "value", "prompt")
_SAMPLING = {
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
_SILENT = "ConditioningZeroOut"
"""The class of ComfyUI's nodes that make an empty prompt of any: nothing above them is said."""

_MOST_NODES = 100_000


@dataclass(frozen=True)
class GenerationInfo:
    """How a picture was made, whichever tool made it.

    Attributes:
        tool: the tool's name.
        prompt: the prompt.
        negative_prompt: the negative prompt, empty where there is none.
        settings: the rest by the tool's own names (ComfyUI's as its sampler calls them).
    """

    tool: str
    prompt: str
    negative_prompt: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def exif_texts(exif: Mapping[int, Any]) -> dict[str, str]:
    """Return the `prompt` and `workflow` that ComfyUI puts into the EXIF data of a WebP."""
    found = {}
    for tag in (0x0110, 0x010F, 0x010E):
        value = exif.get(tag)
        if isinstance(value, str):
            name, colon, text = value.partition(":")
            if colon and name in ("prompt", "workflow"):
                found[name] = text
    return found


def read_foreign_info(texts: Mapping[str, str], parameters: str | None) -> GenerationInfo | None:
    """Return how a picture was made by the `texts` in its file; None where no known tool wrote them."""
    if (record := _object(texts.get("invokeai_metadata"))) is not None:
        return _invokeai(record)
    if (record := _object(texts.get("sd-metadata"))) is not None:
        return _old_invokeai(record)
    if (record := _object(parameters)) is not None and isinstance(record.get("sui_image_params"), dict):
        return _swarm(record["sui_image_params"])
    if (graph := _object(texts.get("prompt"))) is not None:
        return _comfyui(graph)
    return None


def _object(text: str | None) -> dict[str, Any] | None:
    if not text or not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _invokeai(record: dict[str, Any]) -> GenerationInfo:
    """InvokeAI 3 and later; its model is an object, of which the name is told."""
    model = record.get("model")
    names = {"model": model.get("name") or model.get("model_name")} if isinstance(model, dict) else {}
    kept = {
        name: value
        for name, value in {**record, **names}.items()
        if name not in ("positive_prompt", "negative_prompt") and isinstance(value, (str, int, float, bool))
    }
    return GenerationInfo(
        "InvokeAI", _text(record.get("positive_prompt")), _text(record.get("negative_prompt")), kept
    )


def _old_invokeai(record: dict[str, Any]) -> GenerationInfo:
    """InvokeAI 1 and 2, where the negative prompt stood in square brackets within the prompt."""
    image: Any = record.get("image")
    settings = (
        {name: value for name, value in image.items() if name != "prompt"} if isinstance(image, dict) else {}
    )
    prompt = image.get("prompt") if isinstance(image, dict) else ""
    if isinstance(prompt, list):
        prompt = ", ".join(_text(part.get("prompt")) for part in prompt if isinstance(part, dict))
    if isinstance(record.get("model_weights"), str):
        settings["model"] = record["model_weights"]
    return GenerationInfo("InvokeAI", _text(prompt), "", settings)


def _swarm(record: dict[str, Any]) -> GenerationInfo:
    kept = {name: value for name, value in record.items() if name not in ("prompt", "negativeprompt")}
    return GenerationInfo("SwarmUI", _text(record.get("prompt")), _text(record.get("negativeprompt")), kept)


def _comfyui(graph: dict[str, Any]) -> GenerationInfo | None:
    """ComfyUI's graph of nodes: the texts that its sampler's `positive` and `negative` inputs come from."""
    nodes = {
        name: node["inputs"]
        for name, node in list(graph.items())[:_MOST_NODES]
        if isinstance(node, dict)
        and isinstance(node.get("inputs"), dict)
        and node.get("class_type") != _SILENT
    }
    if not nodes:
        return None
    samplers = [each for each in nodes.values() if _is_sampling(each)]
    none: dict[str, Any] = {}
    sampler = next((each for each in samplers if "positive" in each), samplers[0] if samplers else none)
    positive = list(_texts_of(nodes, sampler.get("positive", sampler.get("guider")), "positive"))
    guider = nodes.get(_node_of(sampler.get("guider")), none)
    negative = list(_texts_of(nodes, sampler.get("negative", guider.get("negative")), "negative"))
    settings: dict[str, Any] = {}
    for node in (sampler, *nodes.values()):
        for name, called in _SAMPLING.items():
            value = node.get(name)
            if isinstance(value, (str, int, float)) and not isinstance(value, bool):
                settings.setdefault(called, value)
    return GenerationInfo("ComfyUI", "\n".join(positive), "\n".join(negative), settings)


def _is_sampling(inputs: Mapping[str, Any]) -> bool:
    return any(name in inputs for name in ("seed", "noise_seed", "sampler", "noise")) and any(
        name in inputs for name in ("positive", "guider")
    )


def _texts_of(nodes: Mapping[str, dict[str, Any]], link: object, role: str) -> Iterator[str]:
    """Yield the texts upstream of a link, each once; a node that takes both prompts passes on its role's."""
    waiting, seen, told = [link], set(), set()
    other = "negative" if role == "positive" else "positive"
    while waiting:
        name = _node_of(waiting.pop())
        if name in seen or name not in nodes:
            continue
        seen.add(name)
        inputs = nodes[name]
        takes_both = {"positive", "negative"} <= inputs.keys()
        texts = [inputs.get(each) for each in _TEXT_INPUTS]
        for text in [*texts, inputs[role]] if takes_both else texts:
            if isinstance(text, str) and text and text not in told:
                told.add(text)
                yield text
        upstream = [inputs[role]] if takes_both else [inputs[each] for each in inputs if each != other]
        waiting += reversed(upstream)


def _node_of(link: object) -> str:
    """Return the name of the node that a link comes from; nothing for what is no link."""
    is_link = isinstance(link, list) and link and isinstance(link[0], (str, int))
    return str(link[0]) if is_link else ""  # type: ignore[index]  # a list, as just found
