"""Where the words meet the picture in a model: its attention layers, their grids, and how it is called."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from diffusers import FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor

from promptweight.attention.model_calls import unwrap_compiled
from promptweight.errors import AttachError, SettingError
from promptweight.models import advice_of

TokenOrder = Literal["cross", "image first", "text first"]
"""What a layer attends to: the text alone, or image and text together in this order."""


@dataclass(frozen=True)
class Layer:
    """One attention layer in which image positions are queries and text positions are keys."""

    name: str
    """Dotted path of the attention module inside the model."""
    stride: int
    """How many latents lie along a side of one of its image positions."""
    heads: int
    order: TokenOrder = "cross"
    self_attention: str = ""
    """The layer in which the same image positions attend to each other: in a UNet the one right before, in
    joint attention the layer itself; empty where there is none."""
    is_advised: bool = True
    """Whether the model's makers advise to read maps from it; they do from all where they name none."""

    @property
    def group(self) -> tuple[int, bool]:
        """What layers have in common whose maps may be added together: their grid, and being advised."""
        return self.stride, self.is_advised


@dataclass(frozen=True)
class ModelLayout:
    """A model, its layers by name in the order in which they run, and how its calls are read."""

    model: Any
    called: Any
    """What the pipeline calls: the model, or what `torch.compile` wrapped it in."""
    layers: dict[str, tuple[Layer, Any]]
    latents: tuple[int, str]
    """Place and name of the latents among the arguments of a call."""
    text: tuple[int, str]
    """Place and name of the text embeddings."""
    size: Callable[[tuple[Any, ...], dict[str, Any]], tuple[int, int]]
    """Height and width of the latents that a call with these arguments works on."""


def read_layout(pipe: Any) -> ModelLayout:
    """The layout of a pipeline's denoising model.

    Raises:
        AttachError: it is of no known class.
        ModelError: the advice that it brought along cannot be read.
    """
    called: Any = getattr(pipe, "unet", None)
    if called is None:
        called = getattr(pipe, "transformer", None)
    model = unwrap_compiled(called)
    if isinstance(model, UNet2DConditionModel):
        found, latents, text = find_unet_layers(model), (0, "sample"), (2, "encoder_hidden_states")
    elif isinstance(model, SD3Transformer2DModel):
        found, latents, text = find_sd3_layers(model), (0, "hidden_states"), (1, "encoder_hidden_states")
    elif isinstance(model, FluxTransformer2DModel):
        found, latents, text = find_flux_layers(model), (0, "hidden_states"), (1, "encoder_hidden_states")
    else:
        raise AttachError(
            f"{type(pipe).__name__} has no model whose attention is known; known are "
            "UNet2DConditionModel, SD3Transformer2DModel and FluxTransformer2DModel"
        )
    size = PackedSize() if isinstance(model, FluxTransformer2DModel) else size_of_argument(*latents)
    layers = {layer.name: (layer, attn) for layer, attn in found}
    for name in set(layers).difference(select_advised_layers(pipe, layers)):
        layer, attn = layers[name]
        layers[name] = replace(layer, is_advised=False), attn
    return ModelLayout(model, called, layers, latents, text, size)


def select_advised_layers(pipe: Any, layers: Mapping[str, Any]) -> list[str]:
    """The layers that the makers of its model advise to read maps from.

    All layers where they advise nothing, or name no layer of this model.
    """
    advice = advice_of(pipe)
    parts = () if advice is None else advice.attention_layers
    return [name for name in layers if any(part in name for part in parts)] or list(layers)


def find_unet_layers(unet: Any) -> Iterator[tuple[Layer, Attention]]:
    """The cross-attention layers of a UNet."""

    def inside(prefix: str, block: Any, stride: int) -> Iterator[tuple[Layer, Attention]]:
        found = {name: each for name, each in block.named_modules() if isinstance(each, Attention)}
        for name, module in found.items():
            if module.is_cross_attention:
                before = name.removesuffix("attn2") + "attn1"
                alone = before not in found or found[before].is_cross_attention
                own = "" if alone else f"{prefix}.{before}"
                yield Layer(f"{prefix}.{name}", stride, module.heads, self_attention=own), module

    stride = 1
    for number, block in enumerate(unet.down_blocks):
        yield from inside(f"down_blocks.{number}", block, stride)
        stride *= 1 if getattr(block, "downsamplers", None) is None else 2
    if unet.mid_block is not None:
        yield from inside("mid_block", unet.mid_block, stride)
    for number, block in enumerate(unet.up_blocks):
        yield from inside(f"up_blocks.{number}", block, stride)
        stride //= 1 if getattr(block, "upsamplers", None) is None else 2


def find_sd3_layers(transformer: Any) -> Iterator[tuple[Layer, Attention]]:
    """The joint-attention layers of a Stable Diffusion 3 transformer; its image-only ones are left alone."""
    for number, block in enumerate(transformer.transformer_blocks):
        name = f"transformer_blocks.{number}.attn"
        stride, heads = transformer.config.patch_size, block.attn.heads
        yield Layer(name, stride, heads, "image first", name), block.attn


def find_flux_layers(transformer: Any) -> Iterator[tuple[Layer, Any]]:
    """The attention layers of a FLUX transformer, whose tokens are squares of two by two latents."""
    for blocks in ("transformer_blocks", "single_transformer_blocks"):
        for number, block in enumerate(getattr(transformer, blocks)):
            name = f"{blocks}.{number}.attn"
            yield Layer(name, 2, block.attn.heads, "text first", name), block.attn


def size_of_argument(place: int, name: str) -> Callable[[tuple[Any, ...], dict[str, Any]], tuple[int, int]]:
    """Read the size from latents (batch, channels, height, width), an argument of the call."""

    def size(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, int]:
        latents = get_argument(args, kwargs, place, name)
        return latents.shape[-2], latents.shape[-1]

    return size


class PackedSize:
    """Reads the size of FLUX's packed latents from the place of each, `img_ids` (tokens, 3).

    A run passes the same tensor at every step; it is read once.
    """

    def __init__(self) -> None:
        self._read: tuple[Tensor | None, tuple[int, int]] = (None, (0, 0))

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, int]:
        """Height and width in latents."""
        places = get_argument(args, kwargs, 4, "img_ids")
        if self._read[0] is not places:
            rows, columns = (int(places[..., axis].max()) + 1 for axis in (1, 2))
            if rows * columns != places.shape[-2]:
                raise AttachError(
                    f"the model works on {places.shape[-2]} image tokens that are no picture of "
                    f"{rows}x{columns}; pipelines that show it a second picture cannot be recorded"
                )
            self._read = (places, (2 * rows, 2 * columns))
        return self._read[1]


def get_argument(args: tuple[Any, ...], kwargs: dict[str, Any], place: int, name: str) -> Tensor:
    """An argument of a call, however it was passed."""
    value: Tensor = args[place] if len(args) > place else kwargs[name]
    return value


def grid_size(height: int, width: int, stride: int) -> tuple[int, int]:
    """Rows and columns of a layer's image positions on latents of this size; odd sizes are halved upwards."""
    return -(-height // stride), -(-width // stride)


def select_layers(layers: Mapping[str, Any], parts: Sequence[str]) -> list[str]:
    """The layers whose names hold one of `parts`, one by itself or several; all of them when there are none.

    Raises:
        SettingError: no layer does.
    """
    parts = (parts,) if isinstance(parts, str) else parts
    chosen = [name for name in layers if not parts or any(part in name for part in parts)]
    if not chosen:
        raise SettingError(f"no layer's name holds any of {tuple(parts)}; layers: {', '.join(layers)}")
    return chosen
