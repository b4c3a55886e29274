"""Samplers in a graph of ComfyUI: which one began the image, and the settings at and upstream of it."""

from __future__ import annotations

from typing import Any

from promptweight.metadata.comfyui_graph import Graph, Link, Node, read_literal

_SAMPLER_SETTINGS = {
    "seed": ("seed", "noise_seed"),
    "steps": ("steps",),
    "cfg_scale": ("cfg", "cfg_scale", "cfg_conds"),
    "sampler": ("sampler_name",),
    "scheduler": ("scheduler",),
    "denoise": ("denoise",),
    "start_at_step": ("start_at_step",),
}
"""Settings by our names, with the inputs that hold them."""
_SOURCES = {
    "seed": "noise",
    "steps": "sigmas",
    "scheduler": "sigmas",
    "denoise": "sigmas",
    "sampler": "sampler",
    "cfg_scale": "guider",
}
"""Inputs of SamplerCustomAdvanced upstream of which the settings are."""
_MODEL_INPUTS = ("ckpt_name", "unet_name", "model_name", "base_ckpt_name")
_OWN_INPUTS = ("seed", "noise_seed", "sampler", "noise", "sampler_name", "sigmas", "denoise")
_LATENT_INPUTS = ("latent_image", "latent", "samples", "optional_latent")


def is_sampler(node: Node) -> bool:
    """Return whether a node denoises: by its inputs, or by its class where it takes all from a pipe."""
    inputs = node.inputs
    kind = node.kind.casefold()
    if any(name in inputs for name in ("positive", "guider")):
        carries = any(word in kind for word in ("context", "pipe", "loader")) and "sampler" not in kind
        return not carries and any(name in inputs for name in _OWN_INPUTS)
    return bool(find_pipes(node)) and "sampler" in kind and "select" not in kind and "presampl" not in kind


def find_pipes(node: Node) -> list[Link]:
    """Return the links of a node that carry a model and its prompts together."""
    return [
        link for name, link in node.links().items() if "pipe" in name or name in ("context", "ctx", "bus")
    ]


def find_first_samplers(graph: Graph) -> list[Node]:
    """Return the samplers that began the saved image: upstream of its output, with no sampler upstream."""
    samplers = {name for name, node in graph.nodes.items() if is_sampler(node)}
    targets = {link.node for node in graph.nodes.values() for link in node.links().values()}
    ends = [node for node in graph.nodes.values() if node.name not in targets] or list(graph.nodes.values())
    saving = [node for node in ends if "save" in node.kind.casefold()]
    for outputs in (saving, ends):
        links = [link for node in outputs for link in node.links().values()]
        reached = [node for node in graph.upstream(links) if node.name in samplers]
        reached += [node for node in outputs if node.name in samplers]
        if reached:
            later = find_downstream(graph, samplers)
            return [node for node in reached if node.name not in later] or reached
    return []


def find_downstream(graph: Graph, names: set[str]) -> set[str]:
    """Return the nodes that depend on one of these nodes."""
    readers: dict[str, list[str]] = {}
    for node in graph.nodes.values():
        for link in node.links().values():
            readers.setdefault(link.node, []).append(node.name)
    queue = [reader for name in names for reader in readers.get(name, ())]
    found: set[str] = set()
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue += readers.get(name, ())
    return found


def read_settings(graph: Graph, sampler: Node) -> dict[str, Any]:
    """Return the settings of a sampler, of the nodes that it takes them from, and of its latent image."""
    settings: dict[str, Any] = {}
    links = sampler.links()
    for name, inputs in _SAMPLER_SETTINGS.items():
        own = next((each for each in inputs if each in sampler.inputs), None)
        value = None if own is None else read_literal(graph, sampler.inputs[own])
        if own is not None and value is None:
            value = graph.find_value([links[own]] if own in links else [], (*inputs, "value", "seed"))
        source = links.get(_SOURCES.get(name, ""))
        if own is None and source is not None:
            value = graph.find_value([source], inputs)
        if own is None and source is None:
            value = graph.find_value(find_pipes(sampler), inputs)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            settings[name] = value
    if "sampler" not in settings and (link := links.get("sampler")) is not None:
        node = graph.nodes.get(link.node)
        if node is not None and node.kind.startswith("Sampler"):  # SamplerDPMPP_2M_SDE and others
            settings["sampler"] = node.kind.removeprefix("Sampler")
    latent = [
        link
        for name, link in links.items()
        if name in ("latent_image", "latent", "samples", "optional_latent")
    ]
    for node in graph.upstream(latent or list(links.values())):
        sides = {name: read_literal(graph, node.inputs.get(name)) for name in ("width", "height")}
        if all(isinstance(side, (int, float)) for side in sides.values()):
            settings |= sides
            break
    model = graph.find_value(list(links.values()), _MODEL_INPUTS)
    if isinstance(model, str):
        settings["model"] = model
    return settings
