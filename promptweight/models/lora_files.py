"""Files of LoRAs and of their relatives: the kind, the model they are for, and their tensors by layer.

Names of tensors are those of kohya's sd-scripts (`lora_unet_…`), LyCORIS, diffusers and peft.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from promptweight.protocols import Pipeline

_PARTS = {
    "lora_down.weight": "down", "lora.down.weight": "down", "lora_A.weight": "down",
    "lora_A.default.weight": "down", "lora_up.weight": "up", "lora.up.weight": "up", "lora_B.weight": "up",
    "lora_B.default.weight": "up", "lora_mid.weight": "mid", "alpha": "alpha", "dora_scale": "dora_scale",
    "lora_magnitude_vector": "dora_scale", "lora_magnitude_vector.weight": "dora_scale",
    "lora_magnitude_vector.default.weight": "dora_scale",
    **{name: name for name in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")},
    **{name: name for name in ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b")},
    "lokr_t2": "lokr_t2",
}  # fmt: skip
"""Endings of the names in a file, with the part of a layer that each names."""

_OTHER_KINDS = {
    "oft_blocks": "OFT", "oft_diag": "OFT", "boft_blocks": "BOFT", "a1.weight": "GLoRA", "on_input": "IA3",
    "lora_mid.weight": "LoCon with a Tucker decomposition", "diff": "full difference",
    "w_norm": "full difference",
}  # fmt: skip
"""Kinds of files that peft cannot load, by the ending of a name."""

_KOHYA_PREFIXES = {
    "lora_unet_": "", "lora_transformer_": "", "lycoris_": "", "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder", "lora_te2_": "text_encoder_2", "lora_te3_": "text_encoder_3",
}  # fmt: skip
_DOTTED_PREFIXES = {
    "unet.": "", "transformer.": "", "diffusion_model.": "", "model.diffusion_model.": "",
    "text_encoder.": "text_encoder", "text_encoder_2.": "text_encoder_2", "text_encoder_3.": "text_encoder_3",
}  # fmt: skip
"""Beginnings of the names of layers, with the attribute of the pipeline; empty for the denoiser."""

_MODEL_WORDS = (
    ("stable-diffusion-xl", "Stable Diffusion XL"), ("sdxl", "Stable Diffusion XL"),
    ("stable-diffusion-3", "Stable Diffusion 3"), ("sd3", "Stable Diffusion 3"),
    ("stable-diffusion-v", "Stable Diffusion 1 and 2"), ("sd_v", "Stable Diffusion 1 and 2"),
    ("flux-2", "FLUX.2"), ("flux2", "FLUX.2"), ("flux", "FLUX.1"), ("qwen", "Qwen-Image"),
)  # fmt: skip
_MODEL_KEYS = (
    (r"double_blocks|single_blocks|single_transformer_blocks", "FLUX.1"),
    (r"joint_blocks", "Stable Diffusion 3"),
    (r"^lora_te2_|^lora_unet_(input|output|middle)_block", "Stable Diffusion XL"),
)
"""Families of models by words in a file's metadata, and by the names of its layers."""
_CROSS_ATTENTION = re.compile(r"attn2[._]to_k\.(lora_down|lora_A|lora\.down)\.")
_WIDTHS = {768: "Stable Diffusion 1 and 2", 1024: "Stable Diffusion 1 and 2", 2048: "Stable Diffusion XL"}
"""Families by the width of the text in cross-attention."""

_ORIGINAL_NAMES = {
    "conv_in": "input_blocks.0.0", "conv_out": "out.2", "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2", "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}  # fmt: skip
_ORIGINAL_ENDINGS = {
    ".conv1": ".in_layers.2", ".conv2": ".out_layers.3", ".time_emb_proj": ".emb_layers.1",
    ".conv_shortcut": ".skip_connection",
}  # fmt: skip


@dataclass(frozen=True)
class LoraFile:
    """The content of a LoRA file, without its tensors.

    Attributes:
        path: the file.
        kind: `LoRA`, `DoRA`, `LoHa`, `LoKr`, or the name of another kind.
        family: the family of models that it is for, by the names of `promptweight.conditioning`; None where
            the file does not tell.
        layers: the names of the layers, as in the file.
    """

    path: Path
    kind: str
    family: str | None
    layers: frozenset[str]


def read_lora_file(path: Path) -> LoraFile:
    """Read the names and shapes in a safetensors file of a LoRA."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        metadata = file.metadata() or {}
        widths = [
            file.get_slice(name).get_shape()[1]
            for name in names
            if _CROSS_ATTENTION.search(name) and len(file.get_slice(name).get_shape()) > 1
        ]
    layers = {layer for layer, part in map(split_name, names) if part not in (None, "alpha")}
    return LoraFile(path, _find_kind(names), _find_family(names, metadata, widths), frozenset(layers))


def split_name(name: str) -> tuple[str, str | None]:
    """Split the name of a tensor into that of its layer and its part.

    >>> split_name("lora_unet_mid_block_attn1_to_q.lora_down.weight")
    ('lora_unet_mid_block_attn1_to_q', 'down')
    """
    pieces = name.split(".")
    for count in (3, 2, 1):
        ending = ".".join(pieces[-count:])
        if len(pieces) > count and ending in _PARTS:
            return name[: -len(ending) - 1], _PARTS[ending]
    return name, None


def _find_kind(names: Iterable[str]) -> str:
    parts = {part for _, part in map(split_name, names)}
    decomposed = any((part or "").startswith(("hada", "lokr")) for part in parts)
    if decomposed and "dora_scale" in parts:
        return "LoHa or LoKr with DoRA"
    for prefix, kind in (("hada", "LoHa"), ("lokr", "LoKr")):
        if any((part or "").startswith(prefix) for part in parts):
            return kind
    for ending, kind in _OTHER_KINDS.items():
        if any(name.endswith(f".{ending}") for name in names):
            return kind
    return "DoRA" if "dora_scale" in parts else "LoRA"


def _find_family(names: Iterable[str], metadata: Mapping[str, str], widths: list[int]) -> str | None:
    told = " ".join(metadata.get(key, "") for key in ("modelspec.architecture", "ss_base_model_version"))
    for word, family in _MODEL_WORDS:
        if word in told.casefold():
            return family
    for pattern, family in _MODEL_KEYS:
        if any(re.search(pattern, name) for name in names):
            return family
    return next((_WIDTHS[width] for width in widths if width in _WIDTHS), None)


@dataclass(frozen=True)
class LoraLayer:
    """The tensors of one layer.

    Attributes:
        component: the attribute of the pipeline that has the layer.
        module: the name of the layer in it.
        tensors: the tensors by their parts: `down`, `up`, `dora_scale`, `hada_w1_a`, `lokr_w1`, …
        scale: `alpha` divided by the rank, by which the product is multiplied.
    """

    component: str
    module: str
    tensors: Mapping[str, Tensor]
    scale: float


def read_lora_layers(pipe: Pipeline, path: Path) -> list[LoraLayer]:
    """Return the layers of a file that the pipeline has."""
    from safetensors.torch import load_file

    by_layer: dict[str, dict[str, Tensor]] = {}
    for name, tensor in load_file(path).items():
        layer, part = split_name(name)
        if part is not None:
            by_layer.setdefault(layer, {})[part] = tensor
    modules = _list_modules(pipe)
    layers = []
    for layer, tensors in by_layer.items():
        place = _find_module(layer, modules)
        if place is not None and tensors.keys() - {"alpha"}:
            alpha = tensors.pop("alpha", None)
            rank = _find_rank(tensors)
            scale = 1.0 if alpha is None or rank is None else float(alpha) / rank
            layers.append(LoraLayer(*place, tensors, scale))
    return layers


def _find_rank(tensors: Mapping[str, Tensor]) -> int | None:
    """Return the rank that `alpha` is divided by; None where both factors of a LoKr are whole."""
    for part in ("down", "hada_w1_b", "lokr_w2_b", "lokr_w1_b"):
        if part in tensors:
            return int(tensors[part].shape[0])
    return None


def _find_module(layer: str, modules: Mapping[tuple[str, str], tuple[str, str]]) -> tuple[str, str] | None:
    """Return the attribute of the pipeline and the name of the layer in it; None if it has no such layer."""
    prefixes = _DOTTED_PREFIXES if "." in layer else _KOHYA_PREFIXES
    for prefix, component in prefixes.items():
        if layer.startswith(prefix):
            name = layer.removeprefix(prefix).replace(".", "_")
            for written in (name, name.removeprefix("text_model_")):
                if (component, written) in modules:
                    return modules[component, written]
    return None


def _list_modules(pipe: Pipeline) -> dict[tuple[str, str], tuple[str, str]]:
    """Return the attribute and the name of the layers with weights.

    The keys are the attribute, empty for the denoiser, and the name with underscores.
    """
    encoders = [name for name in dict.fromkeys(_KOHYA_PREFIXES.values()) if name]
    modules: dict[tuple[str, str], tuple[str, str]] = {}
    for attribute, component in (("transformer", ""), ("unet", ""), *((name, name) for name in encoders)):
        model: Any = getattr(pipe, attribute, None)
        if model is None:
            continue
        layers = [name for name, module in model.named_modules() if hasattr(module, "weight")]
        names = list(dict.fromkeys(name.removesuffix(".base_layer") for name in layers))
        original = _find_original_names(names, model.config) if attribute == "unet" else {}
        for name in names:
            for written in (name, name.removeprefix("text_model."), original.get(name, name)):
                modules.setdefault((component, written.replace(".", "_")), (attribute, name))
    return modules


def _find_original_names(names: Iterable[str], config: Any) -> dict[str, str]:
    """Return the names of a UNet's layers in the code of Stable Diffusion, by those in diffusers."""
    count = (
        config.layers_per_block if isinstance(config.layers_per_block, int) else config.layers_per_block[0]
    )
    found = dict(_ORIGINAL_NAMES)
    with_attention = {
        match[1] for name in names if (match := re.match(r"up_blocks\.(\d+)\.attentions", name))
    }
    for name in names:
        match = re.match(r"(down|mid|up)_blocks?\.(?:(\d+)\.)?([a-z]+)\.(\d+)(.*)", name)
        if match is None:
            continue
        side, block, part, rest = match[1], int(match[2] or 0), match[3], match[5]
        first = block * (count + 1) + int(match[4])
        column = int(part == "attentions")
        if side == "mid":
            place = f"middle_block.{2 * int(match[4]) + column}"
        elif part == "downsamplers":
            place, rest = f"input_blocks.{(block + 1) * (count + 1)}.0", ".op"
        elif part == "upsamplers":
            place = f"output_blocks.{first + count}.{2 if match[2] in with_attention else 1}"
        else:
            place = (
                f"input_blocks.{first + 1}.{column}" if side == "down" else f"output_blocks.{first}.{column}"
            )
        found[name] = place + _ORIGINAL_ENDINGS.get(rest, rest)
    return found
