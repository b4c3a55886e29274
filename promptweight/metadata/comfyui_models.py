"""LoRAs and clip skip of ComfyUI's nodes between a model file and a sampler or text encoder."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from promptweight.metadata.comfyui_graph import Graph, Link, Node, read_literal
from promptweight.metadata.generation_info import InfoBuilder, read_integer

_LORA_NAME = re.compile(r"lora(?:_name)?_?(?P<number>\d*)\Z|lora_(?P<other>\d+)_name\Z")
_MODEL_WEIGHTS = (
    "strength_model{}", "model_weight{}", "model_strength{}", "model_str{}", "lora_model_strength{}",
    "lora_{}_model_strength", "lora_{}_strength", "lora_{}_weight", "strength{}", "lora_strength{}",
    "lora_weight{}", "lora_wt{}", "weight{}",
)  # fmt: skip
_ENCODER_WEIGHTS = (
    "strength_clip{}", "clip_weight{}", "clip_strength{}", "clip_str{}", "lora_clip_strength{}",
    "lora_{}_clip_strength",
)  # fmt: skip
_SIMPLE_WEIGHTS = ("lora_wt{}", "lora_{}_strength", "lora_weight{}")
"""Weights of stacks of LoRAs in their mode "simple", in which those of the two models have no effect."""
_OFF = (False, "off", "false", "none", "disabled", "no")
_SKIPPED_LINKS = ("positive", "negative", "latent_image", "image", "images", "samples", "vae", "control_net")
_TEXT_TAG = re.compile(r"<lora:([^<>:\n]++)(?::([^<>:\n]*+))?+(?::([^<>:\n]*+))?+[^<>\n]*+>")


def add_loras(builder: InfoBuilder, graph: Graph, model: list[Link], clips: list[Link]) -> None:
    """Add the LoRAs of the nodes upstream of a sampler's model and of its text encoders.

    Args:
        builder: where they are added.
        graph: the graph.
        model: the links to the model.
        clips: the links to the text encoders of the positive prompt.
    """
    through_model = {node.name: node for node in _chain(graph, model)}
    through_clip = {node.name: node for node in _chain(graph, clips)}
    for name, node in {**through_clip, **through_model}.items():
        for lora, weight, encoder_weight in _list_loras(graph, node):
            acts_on_clip = name in through_clip and not node.kind.endswith("ModelOnly")
            builder.add_lora(
                lora,
                weight if name in through_model else 0.0,
                (weight if encoder_weight is None else encoder_weight) if acts_on_clip or not clips else 0.0,
            )


def read_clip_skip(graph: Graph, clips: list[Link]) -> int | None:
    """Return `stop_at_clip_layer` of the last node that sets it before a text encoder: -1, -2 and so on."""
    for node in _chain(graph, clips):
        for name in ("stop_at_clip_layer", "clip_skip", "clip_layer"):
            if (layer := read_integer(read_literal(graph, node.inputs.get(name)))) is not None:
                return -abs(layer)
    return None


def _chain(graph: Graph, links: list[Link]) -> Iterator[Node]:
    """Yield the nodes upstream of links to a model, not those of prompts and images, the nearest first."""
    queue, visited = deque(links), set()
    while queue:
        node = graph.nodes.get(queue.popleft().node)
        if node is None or node.name in visited:
            continue
        visited.add(node.name)
        yield node
        queue += [link for name, link in node.links().items() if name.casefold() not in _SKIPPED_LINKS]


def _list_loras(graph: Graph, node: Node) -> Iterator[tuple[str, object, object]]:
    """Yield each LoRA of a node: its name, its weight, and that in the text encoders (None: the same)."""
    inputs = node.inputs
    limit = read_integer(inputs.get("lora_count", inputs.get("num_loras")))
    is_simple = "simple" in (inputs.get("input_mode"), inputs.get("mode"))
    for key, value in inputs.items():
        match = _LORA_NAME.match(str(key))
        if isinstance(value, dict) and isinstance(value.get("lora"), str):  # Power Lora Loader (rgthree)
            if value.get("on", True) not in _OFF:
                yield value["lora"], value.get("strength", 1.0), value.get("strengthTwo")
        elif match is not None:
            name = value.get("content") if isinstance(value, dict) else read_literal(graph, value)
            number = match["number"] or match["other"] or ""
            beyond = limit is not None and number.isdecimal() and int(number) > limit
            if not isinstance(name, str) or beyond or _is_off(inputs, number):
                continue
            weights = _SIMPLE_WEIGHTS if is_simple else _MODEL_WEIGHTS
            weight = _find_weight(graph, inputs, weights, number)
            encoder_weight = None if is_simple else _find_weight(graph, inputs, _ENCODER_WEIGHTS, number)
            yield name, 1.0 if weight is None else weight, encoder_weight
    yield from _listed_loras(node)


def _listed_loras(node: Node) -> Iterator[tuple[str, object, object]]:
    """Yield the LoRAs of nodes that hold a list of them, or tags in a text (LoRA Manager, LoraTagLoader)."""
    listed = node.inputs.get("loras")
    if isinstance(listed, dict):
        listed = listed.get("__value__")
    if isinstance(listed, list) and all(isinstance(each, dict) for each in listed):
        for each in listed:
            if isinstance(each.get("name"), str) and each.get("active", True) not in _OFF:
                yield each["name"], each.get("strength", 1.0), each.get("clipStrength")
    elif "lora" in node.kind.casefold() and isinstance(node.inputs.get("text"), str):
        for name, weight, encoder_weight in _TEXT_TAG.findall(node.inputs["text"]):
            yield name, weight or 1.0, encoder_weight or None


def _is_off(inputs: Mapping[str, Any], number: str) -> bool:
    for name in (f"switch_{number}", f"enabled_{number}", f"lora_{number}_enabled", f"on_{number}"):
        value = inputs.get(name)
        if (value.casefold() if isinstance(value, str) else value) in _OFF and value is not None:
            return True
    return False


def _find_weight(graph: Graph, inputs: Mapping[str, Any], patterns: tuple[str, ...], number: str) -> object:
    for pattern in patterns:
        for ending in (number, f"_{number}"):
            name = pattern.format(ending if number else "").replace("__", "_")
            if name in inputs:
                return read_literal(graph, inputs[name])
    return None
