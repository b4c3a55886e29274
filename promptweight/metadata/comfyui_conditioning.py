"""Prompts of ComfyUI's conditioning: text encoders, and the nodes between them and a sampler."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from promptweight.messages import Message, message
from promptweight.metadata.comfyui_graph import (
    Graph,
    Link,
    Memo,
    Node,
    Step,
    UnknownValueError,
    as_link,
    choose_branch,
    is_pass_through,
    numbered_inputs,
    read_literal,
)
from promptweight.metadata.comfyui_texts import TEXT_INPUTS, TextReader
from promptweight.metadata.generation_info import read_number
from promptweight.weighting import METHOD_NAMES, NORMALIZER_NAMES

_ENCODERS = {
    "CLIPTextEncodeSDXL": ("text_g", "text_l"),
    "CLIPTextEncodeFlux": ("t5xxl", "clip_l"),
    "CLIPTextEncodeSD3": ("t5xxl", "clip_g", "clip_l"),
    "CLIPTextEncodeHiDream": ("llama", "t5xxl", "clip_g", "clip_l"),
    "CLIPTextEncodeHunyuanDiT": ("mt5xl", "bert"),
    "CLIPTextEncodeLumina2": ("user_prompt",),
}
"""Text inputs of nodes with several text encoders, that of the largest encoder first."""
_PARTS = {
    "ConditioningCombine": ("conditioning_1", "conditioning_2"),
    "ConditioningConcat": ("conditioning_to", "conditioning_from"),
    "ConditioningAverage": ("conditioning_to", "conditioning_from"),
}
_CONDITIONING_INPUTS = (
    "conditioning", "cond", "base_ctx", "ctx", "context", "basic_pipe", "pipe", "bus", "sdxl_pipe",
    "sdxl_tuple", "guider", "conditioning_1", "conditioning_to", "samples",
)  # fmt: skip
_WITHOUT_EFFECT = re.compile(
    r"pipe|context|bus|reroute|guider|loader|switch|sampl|getnode|setnode|anything", re.I
)
"""Classes of nodes that only hand conditioning on."""
_MAX_COMBINED = 100
"""Number of prompts and of text encoders that nodes may combine."""
_PARSERS = {
    "A1111": "a1111", "a1111": "a1111", "full": "a1111", "compel": "compel", "fixed attention": "plain",
    "comfy": "comfy", "comfy++": "comfy",
}  # fmt: skip
"""Dialects by the parser of smZ CLIPTextEncode."""
_LORA_TAG = re.compile(r"<lora:([^<>:\n]++)(?::([^<>:\n]*+))?+(?::([^<>:\n]*+))?+[^<>\n]*+>")
_TAGGED_KINDS = re.compile(r"wildcard|lora|PCTextEncode|PCLazyTextEncode|ScheduleToCond", re.I)
"""Classes of text encoders that take LoRA tags out of the text and apply them."""


@dataclass(frozen=True)
class Conditioning:
    """The prompts of a conditioning.

    Attributes:
        texts: the prompts, more than one where nodes combine them.
        clips: links to the text encoders.
        guidance: the guidance of a distilled model.
        dialect: the syntax that the encoding node names; None for ComfyUI's own.
        weighting: the weighting that the encoding node names, as `Weighting.parse` takes it.
    """

    texts: tuple[str, ...]
    clips: tuple[Link, ...] = ()
    guidance: float | None = None
    dialect: str | None = None
    weighting: str | None = None


class ConditioningReader:
    """Evaluation of the conditioning of a graph.

    Attributes:
        unfollowed: classes of nodes that act on the image and are not followed.
        loras: names and weights in the LoRA tags of nodes that apply them.
        warnings: messages about prompts that are not followed exactly.
    """

    def __init__(self, graph: Graph, texts: TextReader) -> None:
        self.graph, self.texts = graph, texts
        self.unfollowed: dict[str, None] = {}
        self.loras: list[tuple[str, str, str | None]] = []
        self.warnings: list[Message] = []
        self._memo = Memo()

    def read(self, value: object, role: str) -> Step:
        """Return the `Conditioning` of an input of a sampler.

        Args:
            value: the value of the input: a link, or a text.
            role: `positive` or `negative`.
        """
        if isinstance(value, str):
            return Conditioning((value,))
        link = as_link(value)
        node = self.graph.nodes.get(link.node) if link else None
        if link is None or node is None:
            raise UnknownValueError(None)
        return (yield self._memo.run((link, role), node, lambda: self._read_node(node, role)))

    def _read_node(self, node: Node, role: str) -> Step:
        inputs = node.inputs
        if node.kind == "ConditioningZeroOut":
            return Conditioning(("",))
        parts = _PARTS.get(node.kind) or self._combined_inputs(node)
        if parts:
            return (yield self._combine(node, role, parts))
        if (branch := choose_branch(self.graph, node)) is not None:
            return (yield self.read(inputs[branch], role))
        for name in (role, f"{role}_prompt", f"text_{role}", f"{role}_text", f"prompt_{role}", f"{role}s"):
            if isinstance(inputs.get(name), (str, list)):
                return (yield self._read_role(node, name, role))
        if role == "negative" and "positive" in inputs and not _WITHOUT_EFFECT.search(node.kind):
            return Conditioning(("",))
        names = [name for name in _ENCODERS.get(node.kind, TEXT_INPUTS) if _is_text(inputs.get(name))]
        links = node.links()
        if names and ("clip" in map(str.casefold, inputs) or not links or "encode" in node.kind.casefold()):
            return (yield self._encode(node, role, names))
        source = next((name for name in _CONDITIONING_INPUTS if name in links), None)
        if source is None and len(set(links.values())) == 1:
            source = next(iter(links))
        if source is None and names:
            return (yield self._encode(node, role, names))
        if source is None:
            raise UnknownValueError(node)
        conditioning = yield self.read(inputs[source], role)
        return self._pass(node, conditioning)

    def _combined_inputs(self, node: Node) -> tuple[str, ...]:
        """Return the inputs that a node of an extension combines."""
        if not re.search(r"combine|concat|average", node.kind, re.I):
            return ()
        links = node.links()
        return tuple(name for _, name in numbered_inputs(node) if name in links)

    def _combine(self, node: Node, role: str, names: Sequence[str]) -> Step:
        found: list[Conditioning] = []
        strength = read_number(node.inputs.get("conditioning_to_strength"))
        if node.kind == "ConditioningAverage" and strength in (0, 1):
            names = names[:1] if strength else names[1:]
        for name in names:
            found.append((yield self.read(node.inputs.get(name), role)))  # noqa: PERF401  # no yield in a list
        texts = tuple(dict.fromkeys(text for each in found for text in each.texts if text.strip()))
        clips = tuple(dict.fromkeys(link for each in found for link in each.clips))
        if max(len(texts), len(clips)) > _MAX_COMBINED:
            raise UnknownValueError(node)
        if len(texts) > 1:
            # The outermost node of several has all the texts.
            self.warnings = [each for each in self.warnings if each.code != "prompts-combined"]
            self._warn(message("prompts-combined", number=len(texts), node=node.kind))
        first = found[0] if found else Conditioning(("",))
        return replace(first, texts=texts or ("",), clips=clips)

    def _read_role(self, node: Node, name: str, role: str) -> Step:
        value = node.inputs[name]
        if isinstance(value, str):
            clips = [link for each, link in node.links().items() if each.casefold().startswith("clip")]
            return Conditioning((self._take_tags(node, value),), tuple(clips))
        try:
            conditioning = yield self.read(value, role)
        except UnknownValueError:  # a link to a text, not to conditioning
            text = yield self.texts.read(value, role)
            return Conditioning((text,))
        return self._pass(node, conditioning)

    def _pass(self, node: Node, conditioning: Conditioning) -> Conditioning:
        """Return the conditioning of a node that changes it in another way than by its text."""
        guidance = read_number(read_literal(self.graph, node.inputs.get("guidance")))
        if guidance is not None:
            return replace(conditioning, guidance=guidance)
        if not is_pass_through(node) and not _WITHOUT_EFFECT.search(node.kind) and node.kind:
            self.unfollowed[node.kind] = None
        return conditioning

    def _encode(self, node: Node, role: str, names: Sequence[str]) -> Step:
        inputs = node.inputs
        populated = inputs.get("populated_text")
        texts = []
        for name in ["populated_text"] if isinstance(populated, str) and populated.strip() else names:
            text = yield self.texts.read(inputs[name], role)
            texts.append(self._take_tags(node, text))
        written = [text for text in dict.fromkeys(text.strip() for text in texts) if text]
        if node.kind not in _ENCODERS:
            written = written[:1] if len(written) > 1 and "text" in names else written
        for other in written[1:]:
            self._warn(message("second-prompt-unused", text=other, node=node.kind))
        text = next((text for text in texts if text.strip()), "")
        clips = [link for name, link in node.links().items() if name.casefold().startswith("clip")]
        guidance = read_number(read_literal(self.graph, inputs.get("guidance")))
        return Conditioning((text,), tuple(clips), guidance, *self._weighting(node))

    def _weighting(self, node: Node) -> tuple[str | None, str | None]:
        """Return the dialect and weighting that a node of an extension names."""
        interpretation = str(node.inputs.get("weight_interpretation", "")).casefold()
        normalizer = str(node.inputs.get("token_normalization", "none")).casefold()
        if interpretation in METHOD_NAMES and normalizer in NORMALIZER_NAMES:
            plain = normalizer == "none"
            return "comfy", interpretation if plain else f"{interpretation} normalizer={normalizer}"
        if "parser" in node.inputs and node.kind.startswith("smZ"):
            return _PARSERS.get(str(node.inputs["parser"])), None
        return None, None

    def _take_tags(self, node: Node, text: str) -> str:
        if not _TAGGED_KINDS.search(node.kind):
            return text
        for name, weight, other in _LORA_TAG.findall(text):
            self.loras.append((name, weight or "1", other or None))
        return _LORA_TAG.sub("", text).strip()

    def _warn(self, warning: Message) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)


def _is_text(value: object) -> bool:
    return isinstance(value, str) or as_link(value) is not None
