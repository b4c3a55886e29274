"""Metadata of ComfyUI: the graph of nodes that made an image, read from its sampler upstream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptweight.messages import Message, message
from promptweight.metadata.civitai import read_civitai_graph
from promptweight.metadata.comfyui_conditioning import Conditioning, ConditioningReader
from promptweight.metadata.comfyui_graph import Graph, Link, Node, UnknownValueError, as_link, evaluate
from promptweight.metadata.comfyui_models import add_loras, read_clip_skip
from promptweight.metadata.comfyui_samplers import (
    find_downstream,
    find_first_samplers,
    is_sampler,
    read_settings,
)
from promptweight.metadata.comfyui_texts import ROLES, TextReader
from promptweight.metadata.generation_info import GenerationInfo, InfoBuilder, read_integer, read_number

_MAX_SAMPLERS = 16
_MAX_READINGS = 10_000
"""Nodes that are read for all samplers together, so that the time stays bounded; two samplers are always."""
_ROLE_NAMES = {"positive": message("positive"), "negative": message("negative")}
_MODEL_LINKS = ("model", "guider", "sigmas")
_FLUX_GUIDANCE = 3.5
"""Guidance of FLUX in ComfyUI where no node sets it."""
_ACTING_KINDS = (
    "IPAdapter", "ControlNet", "LoadImage", "FreeU", "PerturbedAttention", "PatchModelAddDownscale",
    "ModelMerge", "RescaleCFG", "ModelSampling", "Hypernetwork",
)  # fmt: skip
"""Parts of the classes of nodes that change what the sampler does."""


def read_comfyui(graph: Mapping[str, Any]) -> GenerationInfo | None:
    """Read a graph in ComfyUI's API format: the prompts and settings of the sampler that began the image.

    Returns:
        None for a graph without nodes; with `error` where the prompt is not in the file.
    """
    nodes = Graph(graph)
    if not nodes.nodes:
        return None
    if (extra := read_civitai_graph(graph)) is not None:
        return extra
    samplers = find_first_samplers(nodes)
    if not samplers:
        return _without_sampler(nodes)
    number = max(2, min(_MAX_SAMPLERS, _MAX_READINGS // len(nodes.nodes)))
    infos = [_read_sampler(nodes, sampler) for sampler in samplers[:number]]
    first = infos[0]
    if any((each.prompt, each.negative_prompt) != (first.prompt, first.negative_prompt) for each in infos):
        error = message("several-samplers", number=len(samplers))
        texts = " | ".join(dict.fromkeys(each.prompt for each in infos))
        return GenerationInfo("ComfyUI", texts, "", first.settings, "comfy", error=error)
    return first


def _without_sampler(graph: Graph) -> GenerationInfo | None:
    """Return what a graph without a known sampler has; None where it is not a graph of ComfyUI."""
    if not any(node.kind for node in graph.nodes.values()):
        return None
    return GenerationInfo("ComfyUI", "", dialect="comfy", error=message("sampler-missing"))


def _read_sampler(graph: Graph, sampler: Node) -> GenerationInfo:
    texts = TextReader(graph)
    reader = ConditioningReader(graph, texts)
    links = sampler.links()
    prompts: dict[str, Conditioning] = {}
    error: Message | None = None
    for role in ROLES:
        try:
            prompts[role] = _read_prompt(graph, reader, sampler, role)
        except UnknownValueError as unknown:
            prompts[role] = Conditioning(("",))
            error = error or _describe(unknown, role)
    settings = read_settings(graph, sampler)
    positive = prompts["positive"]
    model = [
        link for name, link in links.items() if name in ("model", "guider", "sigmas", "pipe", "basic_pipe")
    ]
    clips = list(positive.clips) or [link for link in model if positive.texts == ("",)]
    layer = read_clip_skip(graph, clips)
    builder = InfoBuilder("ComfyUI", settings, positive.dialect or "comfy")
    _follow(builder, settings, positive.guidance or _default_guidance(graph, links, settings))
    if layer is not None:
        builder.settings["stop_at_clip_layer"] = layer
        builder.set("clip_skip", -layer - 1, "stop_at_clip_layer")
        builder.skip("stop_at_clip_layer")
    if positive.weighting is not None:
        builder.options["weighting"] = positive.weighting
    add_loras(builder, graph, model, clips)
    for name, weight, encoder_weight in reader.loras:
        builder.add_lora(name, weight, encoder_weight)
    builder.warn(*reader.warnings)
    if texts.assumed:
        builder.warn(message("nodes-assumed", nodes=", ".join(texts.assumed)))
    for kind in reader.unfollowed:
        builder.ignore(kind)
    _note_images(builder, graph, sampler)
    return builder.build("\n".join(positive.texts), "\n".join(prompts["negative"].texts), error)


def _default_guidance(graph: Graph, links: Mapping[str, Link], settings: Mapping[str, Any]) -> float | None:
    """Return the guidance of a distilled model whose graph does not set it."""
    is_flux = any(node.inputs.get("type") == "flux" for node in graph.upstream(list(links.values())))
    return _FLUX_GUIDANCE if is_flux and read_number(settings.get("cfg_scale", 1)) == 1 else None


def _describe(unknown: UnknownValueError, role: str) -> Message:
    if unknown.node is None:
        return message("prompt-link-missing", role=_ROLE_NAMES[role])
    node = unknown.node.kind or unknown.node.name
    return message("prompt-node-unknown", node=node, role=_ROLE_NAMES[role])


def _read_prompt(graph: Graph, reader: ConditioningReader, sampler: Node, role: str) -> Conditioning:
    """Return the prompt of a role at a sampler, at its guider, or in its pipe.

    Raises:
        UnknownValueError: the prompt is not in the file.
    """
    inputs = sampler.inputs
    if role in inputs:
        return evaluate(reader.read(inputs[role], role))
    if (guider := as_link(inputs.get("guider"))) is not None:
        node = graph.nodes.get(guider.node)
        if node is None:
            raise UnknownValueError(None)
        for name in (role, *(("conditioning", "cond1") if role == "positive" else ())):
            if name in node.inputs:
                return evaluate(reader.read(node.inputs[name], role))
        return evaluate(reader.read([*guider], role)) if role == "positive" else Conditioning(("",))
    pipes = [
        link for name, link in sampler.links().items() if "pipe" in name or name in ("context", "ctx", "bus")
    ]
    if pipes:
        return evaluate(reader.read([*pipes[0]], role))
    return Conditioning(("",))


def _follow(builder: InfoBuilder, settings: Mapping[str, Any], guidance: float | None) -> None:
    """Set the options from the settings of a sampler; a distilled guidance takes the place of CFG 1."""
    builder.follow("num_inference_steps", "steps")
    builder.follow("seed", "seed")
    builder.follow("width", "width")
    builder.follow("height", "height")
    builder.skip("model")
    if guidance is None:
        builder.follow("guidance_scale", "cfg_scale")
    else:
        builder.settings["guidance"] = guidance
        builder.follow("guidance_scale", "guidance")
        if read_number(settings.get("cfg_scale", 1)) == 1:
            builder.skip("cfg_scale")
    builder.follow_sampler(settings.get("sampler"), settings.get("scheduler"), "sampler", "scheduler")
    if read_number(settings.get("denoise", 1)) == 1:
        builder.skip("denoise")
    if read_integer(settings.get("start_at_step", 0)) == 0:
        builder.skip("start_at_step")


def _note_images(builder: InfoBuilder, graph: Graph, sampler: Node) -> None:
    """Warn about samplers after the first one, and about nodes that change its model or image."""
    later = find_downstream(graph, {sampler.name})
    passes = sum(is_sampler(graph.nodes[name]) for name in later)
    if passes:
        builder.warn(message("later-passes", number=passes))
    links: list[Link] = list(sampler.links().values())
    kinds = {node.kind for node in graph.upstream(links)}
    for kind in sorted(kinds):
        if any(word in kind for word in _ACTING_KINDS) and "Loader" not in kind:
            builder.ignore(kind)
