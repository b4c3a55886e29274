"""Attention layers of a model: names, grids and order of keys; and the arguments of the model's calls."""

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
"""Keys of a layer: the text alone (cross-attention), or image and text in this order (joint attention)."""


@dataclass(frozen=True)
class Layer:
    """Attention layer whose queries include the image positions and whose keys include the text positions."""

    name: str
    """Dotted path of the attention module inside the model."""
    stride: int
    """Number of latents along a side of one image position."""
    heads: int
    order: TokenOrder = "cross"
    self_attention: str = ""
    """Name of the self-attention of the same image positions: in a UNet the layer right before, in joint
    attention the layer itself; empty for none."""
    is_advised: bool = True
    """True if the model's authors advise to read maps from it; True for all layers where they name none."""

    @property
    def group(self) -> tuple[int, bool]:
        """Key of layers whose maps may be added together: their stride, and `is_advised`."""
        return self.stride, self.is_advised


@dataclass(frozen=True)
class ModelLayout:
    """A model, its attention layers, and the arguments of its calls."""

    model: Any
    entry_point: Any
    """The object that the pipeline calls: the model, or its wrapper by `torch.compile`."""
    layers: dict[str, tuple[Layer, Any]]
    """Each layer and its module, by name, in the order in which they run."""
    latents_argument: tuple[int, str]
    """Position and name of the latents among the arguments of a call."""
    text_argument: tuple[int, str]
    """Position and name of the text embeddings."""
    latent_size: Callable[[tuple[Any, ...], dict[str, Any]], tuple[int, int]]
    """Function of a call's arguments that gives height and width of its latents."""


def read_layout(pipe: Any) -> ModelLayout:
    """Return the layout of a pipeline's denoising model.

    Raises:
        AttachError: the model's class is not supported.
        ModelError: the advice in the model's folder cannot be read.
    """
    entry_point: Any = getattr(pipe, "unet", None)
    if entry_point is None:
        entry_point = getattr(pipe, "transformer", None)
    model = unwrap_compiled(entry_point)
    if isinstance(model, UNet2DConditionModel):
        found, latents, text = find_unet_layers(model), (0, "sample"), (2, "encoder_hidden_states")
    elif isinstance(model, SD3Transformer2DModel):
        found, latents, text = find_sd3_layers(model), (0, "hidden_states"), (1, "encoder_hidden_states")
    elif isinstance(model, FluxTransformer2DModel):
        found, latents, text = find_flux_layers(model), (0, "hidden_states"), (1, "encoder_hidden_states")
    else:
        raise AttachError(
            "the pipeline's model must be a UNet2DConditionModel, SD3Transformer2DModel or "
            f"FluxTransformer2DModel; got a {type(pipe).__name__} with {type(model).__name__}"
        )
    size = PackedLatentSize() if isinstance(model, FluxTransformer2DModel) else _make_latent_size(*latents)
    layers = {layer.name: (layer, attn) for layer, attn in found}
    for name in set(layers).difference(select_advised_layers(pipe, layers)):
        layer, attn = layers[name]
        layers[name] = replace(layer, is_advised=False), attn
    return ModelLayout(model, entry_point, layers, latents, text, size)


def select_advised_layers(pipe: Any, layers: Mapping[str, Any]) -> list[str]:
    """Return the layers from which the model's authors advise to read maps.

    All layers where there is no advice, or where it names no layer of this model.
    """
    advice = advice_of(pipe)
    parts = () if advice is None else advice.attention_layers
    return [name for name in layers if any(part in name for part in parts)] or list(layers)


def find_unet_layers(unet: Any) -> Iterator[tuple[Layer, Attention]]:
    """Yield the cross-attention layers of a UNet."""

    def find_in(prefix: str, block: Any, stride: int) -> Iterator[tuple[Layer, Attention]]:
        modules = {name: each for name, each in block.named_modules() if isinstance(each, Attention)}
        for name, module in modules.items():
            if module.is_cross_attention:
                before = name.removesuffix("attn2") + "attn1"
                has_before = before in modules and not modules[before].is_cross_attention
                own = f"{prefix}.{before}" if has_before else ""
                yield Layer(f"{prefix}.{name}", stride, module.heads, self_attention=own), module

    stride = 1
    for number, block in enumerate(unet.down_blocks):
        yield from find_in(f"down_blocks.{number}", block, stride)
        stride *= 1 if getattr(block, "downsamplers", None) is None else 2
    if unet.mid_block is not None:
        yield from find_in("mid_block", unet.mid_block, stride)
    for number, block in enumerate(unet.up_blocks):
        yield from find_in(f"up_blocks.{number}", block, stride)
        stride //= 1 if getattr(block, "upsamplers", None) is None else 2


def find_sd3_layers(transformer: Any) -> Iterator[tuple[Layer, Attention]]:
    """Yield the joint-attention layers of a Stable Diffusion 3 transformer, without its image-only ones."""
    for number, block in enumerate(transformer.transformer_blocks):
        name = f"transformer_blocks.{number}.attn"
        stride, heads = transformer.config.patch_size, block.attn.heads
        yield Layer(name, stride, heads, "image first", name), block.attn


def find_flux_layers(transformer: Any) -> Iterator[tuple[Layer, Any]]:
    """Yield the attention layers of a FLUX transformer, whose image tokens are two by two latents."""
    for blocks in ("transformer_blocks", "single_transformer_blocks"):
        for number, block in enumerate(getattr(transformer, blocks)):
            name = f"{blocks}.{number}.attn"
            yield Layer(name, 2, block.attn.heads, "text first", name), block.attn


def _make_latent_size(
    position: int, name: str
) -> Callable[[tuple[Any, ...], dict[str, Any]], tuple[int, int]]:
    """Make a function that reads the size from latents (batch, channels, height, width)."""

    def read_size(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, int]:
        latents = get_argument(args, kwargs, position, name)
        return latents.shape[-2], latents.shape[-1]

    return read_size


class PackedLatentSize:
    """Reader of the size of FLUX's packed latents from their positions, `img_ids` (tokens, 3).

    A run passes the same tensor at every step; it is read once.
    """

    def __init__(self) -> None:
        self._cache: tuple[Tensor | None, tuple[int, int]] = (None, (0, 0))

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, int]:
        """Return height and width in latents."""
        positions = get_argument(args, kwargs, 4, "img_ids")
        if self._cache[0] is not positions:
            rows, columns = (int(positions[..., axis].max()) + 1 for axis in (1, 2))
            if rows * columns != positions.shape[-2]:
                raise AttachError(
                    f"the model's image tokens must be one image of {rows}x{columns}; got "
                    f"{positions.shape[-2]} tokens. Pipelines with a second image cannot be recorded"
                )
            self._cache = (positions, (2 * rows, 2 * columns))
        return self._cache[1]


def get_argument(args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str) -> Tensor:
    """Return an argument of a call, passed by position or by name."""
    value: Tensor = args[position] if len(args) > position else kwargs[name]
    return value


def grid_size(height: int, width: int, stride: int) -> tuple[int, int]:
    """Return rows and columns of a layer's image positions for latents of this size, rounded up."""
    return -(-height // stride), -(-width // stride)


def select_layers(layers: Mapping[str, Any], parts: Sequence[str]) -> list[str]:
    """Return the layers whose names contain one of `parts` (a string or several); all when empty.

    Raises:
        SettingError: no name does.
    """
    parts = (parts,) if isinstance(parts, str) else parts
    chosen = [name for name in layers if not parts or any(part in name for part in parts)]
    if not chosen:
        raise SettingError(
            f"layers must be parts of {', '.join(layers)}; got {tuple(parts)}, of which none matches"
        )
    return chosen
