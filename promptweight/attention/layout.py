"""Where the words meet the picture in a model: its attention layers, their grids, and how it is called."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from diffusers import SD3Transformer2DModel, UNet2DConditionModel
from diffusers.models.attention_processor import Attention

from promptweight.errors import AttachError


@dataclass(frozen=True)
class Layer:
    """One attention layer in which image positions are queries and text positions are keys."""

    name: str
    """Dotted path of the attention module inside the model."""
    stride: int
    """How many latents lie along a side of one of its image positions."""
    heads: int


@dataclass(frozen=True)
class Layout:
    """A model, its layers by name in the order in which they run, and the arguments of its call."""

    model: Any
    layers: dict[str, tuple[Layer, Attention]]
    latents: tuple[int, str]
    """Place and name of the latents among the arguments of the model's call."""
    text: tuple[int, str]
    """Place and name of the text embeddings."""


def layout_of(pipe: Any) -> Layout:
    """The layout of a pipeline's denoising model.

    Raises:
        AttachError: it is of no known class.
    """
    unet = getattr(pipe, "unet", None)
    if isinstance(unet, UNet2DConditionModel):
        layers = {layer.name: (layer, attn) for layer, attn in unet_layers(unet)}
        return Layout(unet, layers, (0, "sample"), (2, "encoder_hidden_states"))
    transformer = getattr(pipe, "transformer", None)
    if isinstance(transformer, SD3Transformer2DModel):
        layers = {layer.name: (layer, attn) for layer, attn in joint_layers(transformer)}
        return Layout(transformer, layers, (0, "hidden_states"), (1, "encoder_hidden_states"))
    raise AttachError(
        f"{type(pipe).__name__} has no model whose attention is known; "
        "known are UNet2DConditionModel and SD3Transformer2DModel"
    )


def unet_layers(unet: Any) -> Iterator[tuple[Layer, Attention]]:
    """The cross-attention layers of a UNet."""

    def inside(prefix: str, block: Any, stride: int) -> Iterator[tuple[Layer, Attention]]:
        for name, module in block.named_modules():
            if isinstance(module, Attention) and module.is_cross_attention:
                yield Layer(f"{prefix}.{name}", stride, module.heads), module

    stride = 1
    for number, block in enumerate(unet.down_blocks):
        yield from inside(f"down_blocks.{number}", block, stride)
        stride *= 1 if getattr(block, "downsamplers", None) is None else 2
    if unet.mid_block is not None:
        yield from inside("mid_block", unet.mid_block, stride)
    for number, block in enumerate(unet.up_blocks):
        yield from inside(f"up_blocks.{number}", block, stride)
        stride //= 1 if getattr(block, "upsamplers", None) is None else 2


def joint_layers(transformer: Any) -> Iterator[tuple[Layer, Attention]]:
    """The joint-attention layers of a Stable Diffusion 3 transformer; its image-only ones are left alone."""
    for number, block in enumerate(transformer.transformer_blocks):
        name = f"transformer_blocks.{number}.attn"
        yield Layer(name, transformer.config.patch_size, block.attn.heads), block.attn


def grid(height: int, width: int, stride: int) -> tuple[int, int]:
    """Rows and columns of a layer's image positions on latents of this size; odd sizes are halved upwards."""
    return -(-height // stride), -(-width // stride)
