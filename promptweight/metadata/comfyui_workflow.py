"""Conversion of ComfyUI's workflow, as its page stores it, into the API format, which names every input.

The page's format has the values of widgets without their names. The names are those in the node itself, which
new versions write, or in `_WIDGETS`; a node of an extension without either keeps only its links and a single
text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptweight.metadata.comfyui_graph import Link

_SEED_CONTROLS = ("fixed", "increment", "decrement", "randomize")
_WIDGETS = {
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "CFGGuider": ("cfg",),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "CLIPTextEncode": ("text",),
    "CLIPTextEncodeFlux": ("clip_l", "t5xxl", "guidance"),
    "CLIPTextEncodeSD3": ("clip_l", "clip_g", "t5xxl", "empty_padding"),
    "CLIPTextEncodeSDXL": (
        "width", "height", "crop_w", "crop_h", "target_width", "target_height", "text_g", "text_l",
    ),
    "CR Text Concatenate": ("separator",),
    "CheckpointLoader": ("config_name", "ckpt_name"),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "ConditioningAverage": ("conditioning_to_strength",),
    "DualCLIPLoader": ("clip_name1", "clip_name2", "type"),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "EmptySD3LatentImage": ("width", "height", "batch_size"),
    "FluxGuidance": ("guidance",),
    "ImpactWildcardProcessor": ("wildcard_text", "populated_text", "mode", "seed"),
    "KSampler": ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        "add_noise", "noise_seed", "steps", "cfg", "sampler_name", "scheduler", "start_at_step",
        "end_at_step", "return_with_leftover_noise",
    ),
    "KSamplerSelect": ("sampler_name",),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",),
    "RandomNoise": ("noise_seed",),
    "SaveImage": ("filename_prefix",),
    "StringConcatenate": ("string_a", "string_b", "delimiter"),
    "Text Concatenate": ("delimiter", "clean_whitespace"),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "UnetLoaderGGUF": ("unet_name",),
}  # fmt: skip
"""Names of the widgets of nodes in their order; that of what follows a seed is left out."""
_MUTED, _BYPASSED = 2, 4
_INPUT_NODE, _OUTPUT_NODE = -10, -20
_MAX_NODES = 20_000
_MAX_DEPTH = 8


def convert_workflow(workflow: Mapping[str, Any]) -> dict[str, Any]:
    """Return a workflow in the API format, with subgraphs unpacked and nodes that do nothing left out."""
    definitions = workflow.get("definitions")
    listed = definitions.get("subgraphs") if isinstance(definitions, dict) else None
    subgraphs = {
        str(each["id"]): each
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict) and "id" in each
    }
    converter = _Converter(subgraphs)
    converter.add(workflow, "", {}, 0)
    return converter.resolve()


class _Converter:
    """Nodes of a workflow and its subgraphs under unique names, and where their links lead."""

    def __init__(self, subgraphs: Mapping[str, Mapping[str, Any]]) -> None:
        self.subgraphs = subgraphs
        self.nodes: dict[str, dict[str, Any]] = {}
        self.aliases: dict[Link, Link] = {}  # outputs that are those of other nodes
        self.setters: dict[str, Link] = {}  # by the names of SetNode

    def add(self, graph: Mapping[str, Any], prefix: str, inputs: Mapping[int, Link], depth: int) -> None:
        """Add the nodes of a graph.

        Args:
            graph: a workflow or a subgraph.
            prefix: what precedes the names of its nodes.
            inputs: the links to a subgraph, by the number of its input.
            depth: the number of subgraphs around it.
        """
        links = _read_links(graph.get("links"), prefix, inputs)
        listed = graph.get("nodes")
        for node in listed if isinstance(listed, list) else []:
            if not isinstance(node, dict) or len(self.nodes) >= _MAX_NODES:
                continue
            name, kind = f"{prefix}{node.get('id')}", str(node.get("type", ""))
            values = _connected(node, links)
            if node.get("mode") == _MUTED:
                continue
            if node.get("mode") == _BYPASSED or kind == "Reroute":
                self._pass_through(node, name, values)
            elif kind in self.subgraphs and depth < _MAX_DEPTH:
                slots = {
                    slot: link
                    for slot, each in enumerate(_dictionaries(node.get("inputs")))
                    if (link := values.get(str(each.get("name")))) is not None
                }
                self._add_subgraph(self.subgraphs[kind], name, slots, depth)
            else:
                self._add_node(node, name, kind, values)

    def _add_node(self, node: Mapping[str, Any], name: str, kind: str, values: Mapping[str, Link]) -> None:
        widgets = node.get("widgets_values")
        text = widgets[0] if isinstance(widgets, list) and widgets else None
        if kind == "SetNode" and isinstance(text, str) and values:
            self.setters[text] = next(iter(values.values()))
        elif kind == "GetNode" and isinstance(text, str):
            self.nodes[name] = {"get": text}
        elif kind == "PrimitiveNode":
            self.nodes[name] = {"class_type": kind, "inputs": {"value": text}}
        elif kind not in ("Note", "MarkdownNote"):
            self.nodes[name] = {"class_type": kind, "inputs": {**_name_widgets(node, kind), **values}}

    def _add_subgraph(
        self, graph: Mapping[str, Any], name: str, inputs: Mapping[int, Link], depth: int
    ) -> None:
        prefix = f"{name}:"
        self.add(graph, prefix, inputs, depth + 1)
        for link in _dictionaries(graph.get("links")):
            if link.get("target_id") == _OUTPUT_NODE and isinstance(link.get("target_slot"), int):
                source = _source(link.get("origin_id"), link.get("origin_slot"), prefix, inputs)
                if source is not None:
                    self.aliases[Link(name, link["target_slot"])] = source

    def _pass_through(self, node: Mapping[str, Any], name: str, values: Mapping[str, Link]) -> None:
        """Connect each output of a bypassed node to its first input of the same type, as ComfyUI does."""
        for slot, output in enumerate(_dictionaries(node.get("outputs"))):
            for each in _dictionaries(node.get("inputs")):
                is_same = each.get("type") == output.get("type") or "*" in (
                    each.get("type"),
                    output.get("type"),
                )
                if is_same and str(each.get("name")) in values:
                    self.aliases[Link(name, slot)] = values[str(each.get("name"))]
                    break

    def resolve(self) -> dict[str, Any]:
        """Return the nodes, with links to the nodes that hold what they lead to."""
        graph: dict[str, Any] = {}
        for name, node in self.nodes.items():
            if "get" in node:
                continue
            inputs = {
                key: [*self._follow(value)] if isinstance(value, Link) else value
                for key, value in node["inputs"].items()
            }
            graph[name] = {"class_type": node["class_type"], "inputs": inputs}
        return graph

    def _follow(self, link: Link) -> Link:
        visited = set()
        while link not in visited:
            visited.add(link)
            named = self.nodes.get(link.node, {}).get("get")
            if link in self.aliases:
                link = self.aliases[link]
            elif named in self.setters:
                link = self.setters[named]
        return link


def _dictionaries(values: object) -> list[dict[str, Any]]:
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []


def _source(node: object, slot: object, prefix: str, inputs: Mapping[int, Link]) -> Link | None:
    """Return the output that a link begins at, for links from a subgraph's input that outside of it."""
    if not isinstance(slot, int):
        return None
    return inputs.get(slot) if node == _INPUT_NODE else Link(f"{prefix}{node}", slot)


def _read_links(links: object, prefix: str, inputs: Mapping[int, Link]) -> dict[object, Link]:
    """Return the links by number: lists of six in a workflow, objects in a subgraph."""
    found: dict[object, Link] = {}
    for link in links if isinstance(links, list) else []:
        if isinstance(link, list) and len(link) >= 5:
            number, node, slot = link[0], link[1], link[2]
        elif isinstance(link, dict):
            number, node, slot = link.get("id"), link.get("origin_id"), link.get("origin_slot")
        else:
            continue
        source = _source(node, slot, prefix, inputs)
        if source is not None and isinstance(number, (int, str)):
            found[number] = source
    return found


def _connected(node: Mapping[str, Any], links: Mapping[object, Link]) -> dict[str, Link]:
    """Return the connected inputs of a node."""
    return {
        str(each.get("name")): links[each["link"]]
        for each in _dictionaries(node.get("inputs"))
        if isinstance(each.get("link"), (int, str)) and each["link"] in links
    }


def _name_widgets(node: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return the values of a node's widgets by name."""
    values = node.get("widgets_values")
    if isinstance(values, dict):
        return {str(name): value for name, value in values.items()}
    if not isinstance(values, list):
        return {}
    loras = [value for value in values if isinstance(value, dict) and "lora" in value]
    if loras:  # Power Lora Loader (rgthree)
        return {f"lora_{number}": value for number, value in enumerate(loras, 1)}
    named = [
        str(each["widget"]["name"])
        for each in _dictionaries(node.get("inputs"))
        if isinstance(each.get("widget"), dict) and "name" in each["widget"]
    ]
    names = _WIDGETS.get(kind) or (tuple(named) if len(named) >= _count_values(values) else ())
    if not names:
        texts = [value for value in values if isinstance(value, str) and value not in _SEED_CONTROLS]
        return {"text": texts[0]} if len(texts) == 1 else {}
    found: dict[str, Any] = {}
    rest = iter(values)
    for name in names:
        value = next(rest, None)
        if name not in ("mode", "action") and value in _SEED_CONTROLS and isinstance(value, str):
            value = next(rest, None)
        found[name] = value
    return found


def _count_values(values: list[Any]) -> int:
    return sum(not (isinstance(value, str) and value in _SEED_CONTROLS) for value in values)
