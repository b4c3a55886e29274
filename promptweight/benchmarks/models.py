"""Models for benchmarks: published architectures in full size with random weights, and their inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from diffusers import (
    Flux2Transformer2DModel,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
    ZImageTransformer2DModel,
)

from promptweight.conditioning import (
    ChunkLayout,
    EncodedPrompts,
    EncoderSection,
    EncodingSettings,
    SpecialToken,
    Token,
    TokenTable,
    Word,
)
from promptweight.errors import ModelError, SettingError
from promptweight.messages import message
from promptweight.models import choose_dtype, load, silence_libraries
from promptweight.prompt import parse
from promptweight.weighting import Weighting

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline

PROMPT = "a photo of a (red:1.4) cat and a (small:0.6) blue dog on the left of an old (wooden:1.2) table"
CLIP_ROWS, T5_ROWS, LANGUAGE_ROWS = 77, 256, 512
"""Text positions of the encoders; language models: those of `max_sequence_length` in their pipelines."""

UNETS: dict[str, dict[str, Any]] = {
    "sd15": {
        "sample_size": 64,
        "cross_attention_dim": 768,
        "block_out_channels": (320, 640, 1280, 1280),
        "down_block_types": (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
    },
    "sdxl": {
        "sample_size": 128,
        "cross_attention_dim": 2048,
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}
"""Published configurations of UNets by name."""

SD35_MEDIUM: dict[str, Any] = {
    "sample_size": 128,
    "num_layers": 24,
    "num_attention_heads": 24,
    "caption_projection_dim": 1536,
    "pos_embed_max_size": 192,  # published: 384; it is cropped to the image size and affects only memory
    "qk_norm": "rms_norm",
    "dual_attention_layers": tuple(range(13)),
    "in_channels": 16,
    "out_channels": 16,
}
"""Configuration of the transformer of Stable Diffusion 3.5 medium."""

TRANSFORMERS: dict[str, tuple[type, dict[str, Any]]] = {
    "sd35-medium": (SD3Transformer2DModel, SD35_MEDIUM),
    "flux": (
        FluxTransformer2DModel,
        {"in_channels": 64, "num_layers": 19, "num_single_layers": 38, "guidance_embeds": True},
    ),
    "flux2-klein": (
        Flux2Transformer2DModel,
        {
            "in_channels": 128,
            "num_layers": 5,
            "num_single_layers": 20,
            "num_attention_heads": 24,
            "joint_attention_dim": 7680,
            "guidance_embeds": False,
        },
    ),
    "z-image": (
        ZImageTransformer2DModel,
        {"in_channels": 16, "dim": 3840, "n_layers": 30, "n_refiner_layers": 2, "n_heads": 30}
        | {"n_kv_heads": 30, "cap_feat_dim": 2560},
    ),
}
"""Published configurations of transformers by name; what they leave out is the default of their class."""

_TINY_UNET: dict[str, Any] = {
    "sample_size": 8,
    "cross_attention_dim": 16,
    "norm_num_groups": 4,
    "block_out_channels": (8, 16, 16, 16),
    "attention_head_dim": 2,
}
SMALL: dict[str, dict[str, Any]] = {
    "sd15": _TINY_UNET,
    "sdxl": _TINY_UNET
    | {"block_out_channels": (8, 16, 16), "transformer_layers_per_block": 1}
    | {"addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 64},
    "sd35-medium": {
        "sample_size": 8,
        "num_layers": 2,
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "caption_projection_dim": 16,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 16,
        "pos_embed_max_size": 16,
        "dual_attention_layers": (0,),
    },
    "flux": {
        "in_channels": 16,
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 16,
        "axes_dims_rope": (4, 6, 6),
    },
    "flux2-klein": {
        "in_channels": 16,
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "axes_dims_rope": (4, 4, 4, 4),
    },
    "z-image": {
        "in_channels": 4,
        "dim": 32,
        "n_layers": 2,
        "n_refiner_layers": 1,
        "n_heads": 2,
        "n_kv_heads": 2,
        "cap_feat_dim": 32,
        "axes_dims": [4, 6, 6],
    },
}
"""Changes that make each architecture tiny, for a test of a benchmark on a CPU."""

ARCHITECTURES = (*UNETS, *TRANSFORMERS)
"""Names of the models that `build_denoiser` builds."""

BenchmarkDenoiser = (
    UNet2DConditionModel
    | SD3Transformer2DModel
    | FluxTransformer2DModel
    | Flux2Transformer2DModel
    | ZImageTransformer2DModel
)


@dataclass(frozen=True)
class BenchmarkModel:
    """A denoising model with the inputs of one call."""

    call: Callable[[], Any]
    """One call of the model, with a negative and a positive batch row if it uses classifier-free guidance."""
    encoded: EncodedPrompts
    """The prompts of the call, whose weights do not act."""
    pipe: Pipeline
    """An object with the model as `unet` or `transformer`, for `attach`."""


def build_denoiser(
    model: str, layers: int | None, device: str, dtype: str = "auto", *, small: bool = False
) -> Any:
    """Return a denoising model: an architecture with random weights, or the one of a loaded pipeline.

    Args:
        model: one of `ARCHITECTURES`, or any model that `promptweight.load` accepts.
        layers: number of levels of a UNet with attention, or of blocks of a transformer; None for all.
        device: a torch device.
        dtype: as in `promptweight.load`.
        small: whether an architecture has tiny sizes (`SMALL`).

    Raises:
        SettingError: `layers` is given for a loaded model, or `dtype` is not valid.
        ModelError: the model cannot be loaded.
    """
    if model not in ARCHITECTURES:
        if layers is not None:
            raise SettingError(
                message("benchmark-layers", known=", ".join(ARCHITECTURES), layers=layers, model=model)
            )
        pipe = load(model, device=device, dtype=dtype)
        parts = (getattr(pipe, name, None) for name in ("unet", "transformer"))
        return next(part for part in parts if part is not None)
    torch_dtype = choose_dtype(dtype, device, is_transformer=model not in UNETS)
    torch.manual_seed(0)
    with silence_libraries(), torch.device(device):
        denoiser: Any = UNet2DConditionModel if model in UNETS else TRANSFORMERS[model][0]
        config = _architecture_config(model, layers) | (SMALL[model] if small else {})
        return denoiser(**config).to(device, torch_dtype).eval()


def _architecture_config(model: str, layers: int | None) -> dict[str, Any]:
    """Return the configuration of an architecture with its first `layers` levels or blocks."""
    if model not in UNETS:
        config = dict(TRANSFORMERS[model][1])
        for name in ("num_layers", "num_single_layers", "n_layers"):
            if name in config:
                config[name] = min(layers or config[name], config[name])
        if "dual_attention_layers" in config:
            dual = config["dual_attention_layers"]
            config["dual_attention_layers"] = tuple(each for each in dual if each < config["num_layers"])
        return config
    config = dict(UNETS[model])
    first = next(i for i, name in enumerate(config["down_block_types"]) if name.startswith("Cross"))
    levels = len(config["block_out_channels"]) if layers is None else first + layers
    by_level = {name: values[:levels] for name, values in config.items() if isinstance(values, tuple)}
    return config | by_level | {"up_block_types": config["up_block_types"][-levels:]}


def prepare_model(denoiser: Any, size: int | None = None) -> BenchmarkModel:
    """Return a model with random latents and embeddings as inputs.

    Args:
        denoiser: a UNet, or a transformer of Stable Diffusion 3, FLUX.1, FLUX.2 or Z-Image.
        size: side length of the latents; None for the model's default.

    Raises:
        ModelError: the model type is not supported.
    """
    if not isinstance(denoiser, BenchmarkDenoiser):
        raise ModelError(message("benchmark-model", model=type(denoiser).__name__))
    random: dict[str, Any] = {"device": denoiser.device, "dtype": denoiser.dtype}
    sections: tuple[tuple[str, int], ...]
    timestep = torch.tensor([500], device=denoiser.device)
    if isinstance(denoiser, UNet2DConditionModel):
        config, rows, sections = denoiser.config, 2, (("clip", CLIP_ROWS),)
        side, width = size or config.sample_size, config.cross_attention_dim
        arguments: dict[str, Any] = {
            "sample": torch.randn(2, config.in_channels, side, side, **random),
            "timestep": timestep,
        }
        if config.addition_embed_type == "text_time":
            length = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
            arguments["added_cond_kwargs"] = {
                "text_embeds": torch.randn(2, length, **random),
                "time_ids": torch.zeros(2, 6, **random),
            }
    elif isinstance(denoiser, SD3Transformer2DModel):
        config, rows, sections = denoiser.config, 2, (("clip", CLIP_ROWS), ("t5", T5_ROWS))
        side, width = size or config.sample_size, config.joint_attention_dim
        arguments = {
            "hidden_states": torch.randn(2, config.in_channels, side, side, **random),
            "timestep": timestep.expand(2),
            "pooled_projections": torch.randn(2, config.pooled_projection_dim, **random),
        }
    elif isinstance(denoiser, Flux2Transformer2DModel):
        config, rows, sections = denoiser.config, 1, (("qwen", LANGUAGE_ROWS),)
        side, width = (size or 128) // 2, config.joint_attention_dim
        axes = torch.arange(1), torch.arange(side), torch.arange(side), torch.arange(1)
        text_axes = (*[torch.arange(1)] * 3, torch.arange(LANGUAGE_ROWS))
        arguments = {
            "hidden_states": torch.randn(1, side * side, config.in_channels, **random),
            "timestep": timestep / 1000,
            "guidance": torch.full((1,), 4.0, **random) if config.guidance_embeds else None,
            "txt_ids": torch.cartesian_prod(*text_axes).to(denoiser.device),
            "img_ids": torch.cartesian_prod(*axes).to(denoiser.device),
        }
    elif isinstance(denoiser, ZImageTransformer2DModel):
        config, rows, sections = denoiser.config, 1, (("qwen", LANGUAGE_ROWS),)
        side, width = size or 128, config.cap_feat_dim
        embeds = torch.randn(1, LANGUAGE_ROWS, width, **random)
        latents = [torch.randn(config.in_channels, 1, side, side, **random)]
        call = partial(denoiser, latents, timestep / 1000, list(embeds))
        encoded = _make_encoded_prompts(embeds, sections)
        return BenchmarkModel(call, encoded, SimpleNamespace(transformer=denoiser))
    else:
        config, rows, sections = denoiser.config, 1, (("t5", T5_ROWS),)
        side, width = (size or 128) // 2, config.joint_attention_dim
        image_ids = torch.cartesian_prod(*map(torch.arange, (1, side, side)))
        arguments = {
            "hidden_states": torch.randn(1, side * side, config.in_channels, **random),
            "timestep": timestep / 1000,
            "guidance": torch.full((1,), 3.5, **random) if config.guidance_embeds else None,
            "pooled_projections": torch.randn(1, config.pooled_projection_dim, **random),
            "txt_ids": torch.zeros(T5_ROWS, 3, **random),
            "img_ids": image_ids.to(**random),
        }
    length = sum(length for _, length in sections)
    arguments["encoder_hidden_states"] = embeds = torch.randn(rows, length, width, **random)
    component = "unet" if isinstance(denoiser, UNet2DConditionModel) else "transformer"
    pipe = SimpleNamespace(**{component: denoiser})
    return BenchmarkModel(lambda: denoiser(**arguments), _make_encoded_prompts(embeds, sections), pipe)


def _make_encoded_prompts(embeds: torch.Tensor, sections: tuple[tuple[str, int], ...]) -> EncodedPrompts:
    """Return `PROMPT` with the last row of `embeds`; the first of two rows is the negative prompt's."""
    inputs, encoder_sections, start = {"prompt_embeds": embeds[-1:]}, [], 0
    if len(embeds) > 1:
        inputs["negative_prompt_embeds"] = embeds[:1]
    for encoder, length in sections:
        table = _make_token_table(PROMPT, encoder, length)
        negative_tables = (table,) * (len(embeds) - 1)
        encoder_sections.append(EncoderSection((encoder,), start, length, (table,), negative_tables))
        start += length
    settings = EncodingSettings(Weighting("none"), in_session=True)
    return EncodedPrompts(inputs, tuple(encoder_sections), (), settings)


def _make_token_table(source: str, encoder: str, rows: int) -> TokenTable:
    """Return a token table of `rows` tokens with one token per word."""
    prompt = parse(source).at()
    words: list[Word] = []
    tokens, start = [Token(0, "<bos>", 0, 0, 0, 0, 1.0, "bos")], 0
    for name in prompt.text.split():
        start = prompt.text.index(name, start)
        end, position = start + len(name), len(tokens)
        number = next(i for i, span in enumerate(prompt.spans) if span.clean_start <= start < span.clean_end)
        weight = prompt.spans[number].weight
        occurrence = sum(word.text == name for word in words)
        tokens.append(Token(1, name, start, end, 0, position, weight, "text", number))
        words.append(Word(name, start, end, weight, (position,), position - 1, occurrence))
        start = end
    tokens.append(Token(2, "<eos>", 0, 0, 0, len(tokens), 1.0, "eos"))
    tokens += [Token(2, "<eos>", 0, 0, 0, position, 1.0, "pad") for position in range(len(tokens), rows)]
    beginning, ending = SpecialToken(0, "<bos>"), SpecialToken(2, "<eos>")
    frame = ChunkLayout((beginning,), (ending,), ending, rows)
    return TokenTable(prompt, encoder, tuple(tokens), tuple(words), 1, "", frame)
