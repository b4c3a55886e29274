"""Where the words meet the picture in a model: its cross-attention layers and the grid each one works on."""

from dataclasses import dataclass
from typing import Any

from diffusers.models.attention_processor import Attention


@dataclass(frozen=True)
class Layer:
    """One attention layer in which image positions are the queries and text positions the keys."""

    name: str
    """Dotted path of the attention module inside the model."""
    level: int
    """How many times the latents have been halved when they get here."""
    heads: int


def cross_attention_layers(unet: Any) -> dict[str, tuple[Layer, Attention]]:
    """The cross-attention layers of a `UNet2DConditionModel`, in the order in which they run."""
    found: dict[str, tuple[Layer, Attention]] = {}

    def collect(prefix: str, block: Any, level: int) -> None:
        for name, module in block.named_modules():
            if isinstance(module, Attention) and module.is_cross_attention:
                path = f"{prefix}.{name}"
                found[path] = (Layer(path, level, module.heads), module)

    level = 0
    for number, block in enumerate(unet.down_blocks):
        collect(f"down_blocks.{number}", block, level)
        level += getattr(block, "downsamplers", None) is not None
    if unet.mid_block is not None:
        collect("mid_block", unet.mid_block, level)
    for number, block in enumerate(unet.up_blocks):
        collect(f"up_blocks.{number}", block, level)
        level -= getattr(block, "upsamplers", None) is not None
    return found


def grid(height: int, width: int, level: int) -> tuple[int, int]:
    """Rows and columns of latents of size height × width after `level` halvings, odd sizes rounded up."""
    return -(-height // 2**level), -(-width // 2**level)
