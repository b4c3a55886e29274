"""Attention layers of a model: names, grids and order of keys; and the arguments of each class of models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

from diffusers.models.attention_processor import Attention

from promptweight.attention.batch_rows import NEGATIVE_FIRST
from promptweight.attention.call_arguments import (
    Argument,
    ImageShapes,
    LatentSize,
    PackedLatentSize,
    RasterPositions,
    get_argument,
    read_given_size,
)
from promptweight.conditioning import Role
from promptweight.errors import SettingError
from promptweight.messages import Message, message

if TYPE_CHECKING:
    from promptweight.protocols import Denoiser

TokenOrder = Literal["cross", "image first", "text first", "text"]
"""Queries and keys of a layer: those of the image to the text (cross-attention), both to both in this order
(joint attention), or the text's to the text."""


@dataclass(frozen=True)
class Layer:
    """Attention layer whose keys include the text positions."""

    name: str
    """Dotted path of the attention module inside the model."""
    stride: int
    """Number of latents along a side of one image position."""
    heads: int
    order: TokenOrder = "cross"
    self_attention: str = ""
    """Name of the self-attention of the same image positions: in a UNet the layer right before, in joint
    attention the layer itself; empty for none."""
    multiple: int = 1
    """Number to a multiple of which image and text are each padded, where they are joined."""
    leading: int = 0
    """Number of the model's own positions before the text, where the text is first."""
    processor: type | None = None
    """The class of the processor with which a probe of the model found the layer; None for listed layers."""
    is_advised: bool = True
    """True if the model's authors advise to read maps from it; True for all layers where they name none."""

    @property
    def group(self) -> tuple[int, bool]:
        """Key of layers whose maps may be added together: their stride, and `is_advised`."""
        return self.stride, self.is_advised


@dataclass(frozen=True)
class DenoiserKind:
    """The attention of a class of models, and the arguments of its calls."""

    find_layers: Callable[[Denoiser], Iterator[tuple[Layer, Any]]]
    """Function that yields the layers with text keys, in the order in which they run."""
    text: Argument
    """The text embeddings."""
    latents: Argument = (0, "hidden_states")
    """The latents, (batch, channels, …), or a list of them."""
    text_mask: Argument | None = None
    """The mask of the text embeddings; None for models that take none."""
    text_lengths: Argument | None = None
    """The lengths of the texts without padding, (batch); None for models that take none."""
    trims_text: bool = False
    """True if the model leaves the masked end of the text out of the layers that join it with the image."""
    omits_full_mask: bool = False
    """True if pipelines pass None for a mask of a text without padding."""
    timesteps: Argument | None = None
    """The timesteps, of which pipelines pass fewer than rows; None for models that get one for each row."""
    text_positions: Argument | None = None
    """The rotary positions of the text; None for models without them among their arguments."""
    make_latent_size: Callable[[], LatentSize] | None = None
    """Function that makes the reader of the latents' size; None for latents (…, height, width)."""
    frames: Literal["", "rows", "positions"] = ""
    """Place of the frames of a video: each is a row of the text, or all are positions of one row; empty for
    images."""
    frame_axis: int = 2
    """The axis of the frames in latents (batch, channels, frames, height, width) or of another order."""
    frame_count: Argument | None = None
    """The number of frames; None where the latents have it."""
    replaces_text: bool = True
    """True if another text may take the place of the pipeline's during a run; not where its mask is not among
    the arguments."""
    extends_text: bool = True
    """True if the text may be followed by a second one, a negative prompt that acts in attention."""
    row_order: tuple[Role, ...] = NEGATIVE_FIRST
    """The roles of equal parts of a call's rows, in the order in which pipelines stack them."""


@dataclass(frozen=True)
class ModelLayout:
    """A model, its attention layers, and the arguments of its calls."""

    model: Any
    entry_point: Any
    """The object that the pipeline calls: the model, or its wrapper by `torch.compile`."""
    layers: dict[str, tuple[Layer, Any]]
    """Each layer with image queries and its module, by name, in the order in which they run."""
    text_layers: dict[str, tuple[Layer, Any]]
    """The layers in which the text attends to itself alone; weights act there, and nothing is recorded."""
    kind: DenoiserKind
    latent_size: LatentSize
    warnings: tuple[Message, ...] = ()
    """Messages for the user about the model."""

    def count_frames(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """Return the number of frames of each video in a call, as the model joins them; 1 for images."""
        if not self.kind.frames:
            return 1
        if self.kind.frame_count is not None:
            return int(get_argument(args, kwargs, *self.kind.frame_count))
        frames = get_argument(args, kwargs, *self.kind.latents).shape[self.kind.frame_axis]
        patch, depth = (getattr(self.model.config, name, None) for name in ("patch_size", "patch_size_t"))
        return int(frames) // (patch[0] if isinstance(patch, (tuple, list)) else depth or 1)


def find_unet_layers(unet: Denoiser) -> Iterator[tuple[Layer, Attention]]:
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


def find_block_layers(
    transformer: Denoiser,
    blocks: Mapping[str, TokenOrder],
    stride: int | None = None,
    attention: str = "attn",
    multiple: int = 1,
    leading: int = 0,
) -> Iterator[tuple[Layer, Any]]:
    """Yield the attention layers with text keys of a transformer.

    Args:
        transformer: the model.
        blocks: the order of keys in each of its lists of blocks, in the order in which they run.
        stride: number of latents along a side of one image position; None for the `patch_size` of the model.
        attention: the name of the attention layer in a block.
        multiple: number to a multiple of which image and text are each padded.
        leading: number of the model's own positions before the text.
    """
    for name, order in blocks.items():
        for number, block in enumerate(attrgetter(name)(transformer)):
            path, layer = f"{name}.{number}.{attention}", getattr(block, attention)
            own = transformer.config.patch_size if stride is None else stride
            image = "" if order in ("text", "cross") else path
            heads = layer.heads if hasattr(layer, "heads") else layer.num_heads
            yield Layer(path, own, heads, order, image, multiple, leading), layer


def find_video_layers(transformer: Any, blocks: str = "blocks") -> Iterator[tuple[Layer, Any]]:
    """Yield the cross-attention layers of a transformer with patches of frames, rows and columns.

    Args:
        transformer: the model.
        blocks: the name of its list of blocks.
    """
    stride = transformer.config.patch_size[1]
    return find_block_layers(transformer, {blocks: "cross"}, stride=stride, attention="attn2")


def find_auraflow_layers(transformer: Any) -> Iterator[tuple[Layer, Any]]:
    """Yield the attention layers of AuraFlow, whose keys begin with registers."""
    registers: int = transformer.register_tokens.shape[1]
    blocks: dict[str, TokenOrder] = {
        "joint_transformer_blocks": "text first",
        "single_transformer_blocks": "text first",
    }
    return find_block_layers(transformer, blocks, leading=registers)


_FLUX_BLOCKS: Mapping[str, TokenOrder] = {
    "transformer_blocks": "text first",
    "single_transformer_blocks": "text first",
}
_FIND_FLUX_LAYERS = partial(find_block_layers, blocks=_FLUX_BLOCKS, stride=2)
_FIND_CROSS_LAYERS = partial(find_block_layers, blocks={"transformer_blocks": "cross"}, attention="attn2")

THREE_WAY_PIPELINES = ("StableDiffusionInstructPix2PixPipeline", "StableDiffusionXLInstructPix2PixPipeline")
"""Pipelines whose guidance has three parts: text and image, the image alone, and neither of both."""

_WAN_KIND = DenoiserKind(
    find_video_layers,
    text=(2, "encoder_hidden_states"),
    frames="positions",
    extends_text=False,
)

DENOISERS: Mapping[str, DenoiserKind] = {
    "UNet2DConditionModel": DenoiserKind(
        find_unet_layers, text=(2, "encoder_hidden_states"), latents=(0, "sample")
    ),
    "UNetMotionModel": DenoiserKind(
        find_unet_layers,
        text=(2, "encoder_hidden_states"),
        latents=(0, "sample"),
        frames="rows",
        extends_text=False,
    ),
    "SkyReelsV2Transformer3DModel": _WAN_KIND,
    "SanaVideoTransformer3DModel": DenoiserKind(
        partial(find_video_layers, blocks="transformer_blocks"),
        text=(1, "encoder_hidden_states"),
        text_mask=(4, "encoder_attention_mask"),
        frames="positions",
        extends_text=False,
    ),
    "LTXVideoTransformer3DModel": DenoiserKind(
        _FIND_CROSS_LAYERS,
        text=(1, "encoder_hidden_states"),
        text_mask=(3, "encoder_attention_mask"),
        make_latent_size=lambda: partial(read_given_size, position=5),
        frames="positions",
        frame_count=(4, "num_frames"),
        extends_text=False,
    ),
    "CogVideoXTransformer3DModel": DenoiserKind(
        partial(find_block_layers, blocks={"transformer_blocks": "text first"}, attention="attn1"),
        text=(1, "encoder_hidden_states"),
        frames="positions",
        frame_axis=1,
        extends_text=False,
    ),
    "WanTransformer3DModel": _WAN_KIND,
    "SD3Transformer2DModel": DenoiserKind(
        partial(find_block_layers, blocks={"transformer_blocks": "image first"}),
        text=(1, "encoder_hidden_states"),
    ),
    "FluxTransformer2DModel": DenoiserKind(
        _FIND_FLUX_LAYERS,
        text=(1, "encoder_hidden_states"),
        text_positions=(5, "txt_ids"),
        make_latent_size=PackedLatentSize,
    ),
    "AuraFlowTransformer2DModel": DenoiserKind(
        find_auraflow_layers,
        text=(1, "encoder_hidden_states"),
        extends_text=False,
    ),
    "CogView3PlusTransformer2DModel": DenoiserKind(
        partial(find_block_layers, blocks={"transformer_blocks": "text first"}, attention="attn1"),
        text=(1, "encoder_hidden_states"),
        extends_text=False,
    ),
    "CogView4Transformer2DModel": DenoiserKind(
        partial(find_block_layers, blocks={"transformer_blocks": "text first"}, attention="attn1"),
        text=(1, "encoder_hidden_states"),
        extends_text=False,
    ),
    "Flux2Transformer2DModel": DenoiserKind(
        _FIND_FLUX_LAYERS,
        text=(1, "encoder_hidden_states"),
        make_latent_size=partial(PackedLatentSize, 3),
        extends_text=False,
    ),
    "ErnieImageTransformer2DModel": DenoiserKind(
        partial(find_block_layers, blocks={"layers": "image first"}, attention="self_attention"),
        text=(2, "text_bth"),
        text_lengths=(3, "text_lens"),
        extends_text=False,
    ),
    "OvisImageTransformer2DModel": DenoiserKind(
        _FIND_FLUX_LAYERS,
        text=(1, "encoder_hidden_states"),
        make_latent_size=partial(PackedLatentSize, 3),
        extends_text=False,
    ),
    "BriaTransformer2DModel": DenoiserKind(
        partial(find_block_layers, blocks=_FLUX_BLOCKS, stride=1),
        text=(1, "encoder_hidden_states"),
        make_latent_size=partial(PackedLatentSize, side=1),
        extends_text=False,
    ),
    "ChromaTransformer2DModel": DenoiserKind(
        _FIND_FLUX_LAYERS,
        text=(1, "encoder_hidden_states"),
        text_mask=(5, "attention_mask"),
        make_latent_size=partial(PackedLatentSize, 3),
        extends_text=False,
    ),
    "Lumina2Transformer2DModel": DenoiserKind(
        partial(find_block_layers, blocks={"context_refiner": "text", "layers": "text first"}),
        text=(2, "encoder_hidden_states"),
        text_mask=(3, "encoder_attention_mask"),
        trims_text=True,
        extends_text=False,
    ),
    "Krea2Transformer2DModel": DenoiserKind(
        partial(
            find_block_layers,
            blocks={"text_fusion.refiner_blocks": "text", "transformer_blocks": "text first"},
            stride=2,
        ),
        text=(1, "encoder_hidden_states"),
        text_mask=(4, "encoder_attention_mask"),
        make_latent_size=partial(RasterPositions, (3, "position_ids"), (0, "hidden_states"), 1, 2),
        extends_text=False,
    ),
    "PRXTransformer2DModel": DenoiserKind(
        partial(find_block_layers, blocks={"blocks": "text first"}, attention="attention"),
        text=(2, "encoder_hidden_states"),
        text_mask=(3, "attention_mask"),
        timesteps=(1, "timestep"),
        extends_text=False,
    ),
    "SanaTransformer2DModel": DenoiserKind(
        _FIND_CROSS_LAYERS,
        text=(1, "encoder_hidden_states"),
        text_mask=(4, "encoder_attention_mask"),
        extends_text=False,
    ),
    "PixArtTransformer2DModel": DenoiserKind(
        _FIND_CROSS_LAYERS,
        text=(1, "encoder_hidden_states"),
        text_mask=(6, "encoder_attention_mask"),
        extends_text=False,
    ),
    "QwenImageTransformer2DModel": DenoiserKind(
        partial(find_block_layers, blocks={"transformer_blocks": "text first"}, stride=2),
        text=(1, "encoder_hidden_states"),
        text_mask=(2, "encoder_hidden_states_mask"),
        omits_full_mask=True,
        make_latent_size=partial(ImageShapes, (4, "img_shapes")),
        extends_text=False,
    ),
    "NucleusMoEImageTransformer2DModel": DenoiserKind(
        partial(find_block_layers, blocks={"transformer_blocks": "image first"}, stride=2),
        text=(2, "encoder_hidden_states"),
        text_mask=(3, "encoder_hidden_states_mask"),
        omits_full_mask=True,
        make_latent_size=partial(ImageShapes, (1, "img_shapes")),
        extends_text=False,
    ),
    "ZImageTransformer2DModel": DenoiserKind(
        partial(
            find_block_layers,
            blocks={"context_refiner": "text", "layers": "image first"},
            stride=2,
            attention="attention",
            multiple=32,
        ),
        text=(2, "cap_feats"),
        latents=(0, "x"),
        extends_text=False,
        row_order=("positive", "negative"),
    ),
}
"""The supported models, by the name of their class."""


def grid_size(height: int, width: int, stride: int) -> tuple[int, int]:
    """Return rows and columns of a layer's image positions for latents of this size, rounded up."""
    return -(-height // stride), -(-width // stride)


def matches_layer(name: str, parts: Sequence[str]) -> bool:
    """Return True if the name of a layer contains one of `parts`; True when there are none."""
    return not parts or any(part in name for part in parts)


def select_layers(layers: Mapping[str, Any], parts: Sequence[str]) -> list[str]:
    """Return the layers whose names contain one of `parts` (a string or several); all when empty.

    Raises:
        SettingError: no name does.
    """
    parts = (parts,) if isinstance(parts, str) else parts
    chosen = [name for name in layers if matches_layer(name, parts)]
    if not chosen:
        raise SettingError(message("layers-unmatched", known=", ".join(layers), parts=tuple(parts)))
    return chosen
