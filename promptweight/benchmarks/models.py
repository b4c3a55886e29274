"""Models to be timed: published architectures in full size, without their weights, and calls of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel

from promptweight.conditioning import (
    ChunkLayout,
    EncodedPrompts,
    EncoderSection,
    SpecialToken,
    Token,
    TokenTable,
    Word,
)
from promptweight.errors import ModelError, SettingError
from promptweight.models import choose_dtype, load, silence_libraries
from promptweight.prompt import parse

PROMPT = "a photo of a (red:1.4) cat and a (small:0.6) blue dog on the left of an old (wooden:1.2) table"
CLIP_ROWS, T5_ROWS = 77, 256

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
"""Settings of UNets as published, by name."""

SD35_MEDIUM: dict[str, Any] = {
    "sample_size": 128,
    "num_layers": 24,
    "num_attention_heads": 24,
    "caption_projection_dim": 1536,
    "pos_embed_max_size": 192,  # published: 384; it is cropped to the picture's size, and costs memory alone
    "qk_norm": "rms_norm",
    "dual_attention_layers": tuple(range(13)),
    "in_channels": 16,
    "out_channels": 16,
}
"""Settings of Stable Diffusion 3.5 medium's transformer."""

ARCHITECTURES = (*UNETS, "sd35-medium")
"""The names of the models that are built here."""


@dataclass(frozen=True)
class Subject:
    """A model to be timed."""

    call: Callable[[], Any]
    """One call of it, with a negative row and a positive one where it is guided by both."""
    encoded: EncodedPrompts
    """The prompts that it is called with."""
    pipe: Any
    """What a session attaches to."""


def build(model: str, layers: int | None, device: str, dtype: str = "auto") -> Any:
    """A denoising model: an architecture with random weights, or the one of a pipeline that is loaded.

    Args:
        model: one of `ARCHITECTURES`, or what `promptweight.load` takes.
        layers: levels of a UNet with attention, blocks of a transformer, from the first on; all when None.
        device: as torch names it.
        dtype: as `promptweight.load` takes it.

    Raises:
        SettingError: a model that is loaded has all its layers; or dtype is no type.
        ModelError: it cannot be loaded.
    """
    if model not in ARCHITECTURES:
        if layers is not None:
            raise SettingError(f"layers={layers} is for {', '.join(ARCHITECTURES)}; {model} runs whole")
        pipe = load(model, device=device, dtype=dtype)
        parts = (getattr(pipe, name, None) for name in ("unet", "transformer"))
        return next(part for part in parts if part is not None)
    of_type = choose_dtype(dtype, device, is_transformer=model not in UNETS)
    torch.manual_seed(0)
    with silence_libraries(), torch.device(device):
        denoiser = SD3Transformer2DModel if model not in UNETS else UNet2DConditionModel
        return denoiser(**settings_of(model, layers)).to(device, of_type).eval()


def settings_of(model: str, layers: int | None) -> dict[str, Any]:
    """The settings of an architecture with so many of its layers."""
    if model not in UNETS:
        blocks = min(layers or SD35_MEDIUM["num_layers"], SD35_MEDIUM["num_layers"])
        dual = tuple(block for block in SD35_MEDIUM["dual_attention_layers"] if block < blocks)
        return SD35_MEDIUM | {"num_layers": blocks, "dual_attention_layers": dual}
    settings = dict(UNETS[model])
    first = next(i for i, name in enumerate(settings["down_block_types"]) if name.startswith("Cross"))
    levels = len(settings["block_out_channels"]) if layers is None else first + layers
    by_level = {name: each[:levels] for name, each in settings.items() if isinstance(each, tuple)}
    return settings | by_level | {"up_block_types": settings["up_block_types"][-levels:]}


def prepare(denoiser: Any, size: int | None = None) -> Subject:
    """A call of a model with random latents and embeddings.

    Args:
        denoiser: the model.
        size: side of the latents; the model's own when None.

    Raises:
        ModelError: the model is of another kind.
    """
    if not isinstance(denoiser, (UNet2DConditionModel, SD3Transformer2DModel, FluxTransformer2DModel)):
        raise ModelError(
            f"a {type(denoiser).__name__} cannot be timed; UNets, Stable Diffusion 3 and FLUX.1 can"
        )
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
    else:
        config, rows, sections = denoiser.config, 1, (("t5", T5_ROWS),)
        side, width = (size or 128) // 2, config.joint_attention_dim
        places = torch.cartesian_prod(*map(torch.arange, (1, side, side)))
        arguments = {
            "hidden_states": torch.randn(1, side * side, config.in_channels, **random),
            "timestep": timestep / 1000,
            "guidance": torch.full((1,), 3.5, **random) if config.guidance_embeds else None,
            "pooled_projections": torch.randn(1, config.pooled_projection_dim, **random),
            "txt_ids": torch.zeros(T5_ROWS, 3, **random),
            "img_ids": places.to(**random),
        }
    length = sum(length for _, length in sections)
    arguments["encoder_hidden_states"] = embeds = torch.randn(rows, length, width, **random)
    place = "unet" if isinstance(denoiser, UNet2DConditionModel) else "transformer"
    pipe = SimpleNamespace(**{place: denoiser})
    return Subject(lambda: denoiser(**arguments), encoded_as(embeds, sections), pipe)


def encoded_as(embeds: torch.Tensor, sections: tuple[tuple[str, int], ...]) -> EncodedPrompts:
    """The prompt as if these embeddings were its own: of the last row, and of a negative prompt before it."""
    inputs, made, start = {"prompt_embeds": embeds[-1:]}, [], 0
    if len(embeds) > 1:
        inputs["negative_prompt_embeds"] = embeds[:1]
    for encoder, length in sections:
        table = table_of(PROMPT, encoder, length)
        made.append(EncoderSection((encoder,), start, length, (table,), (table,) * (len(embeds) - 1)))
        start += length
    return EncodedPrompts(inputs, tuple(made), ())


def table_of(source: str, encoder: str, rows: int) -> TokenTable:
    """A token table with one token for each word."""
    prompt = parse(source)
    words: list[Word] = []
    tokens, start = [Token(0, "<bos>", 0, 0, 0, 0, 1.0, "bos")], 0
    for name in prompt.text.split():
        start = prompt.text.index(name, start)
        end, place = start + len(name), len(tokens)
        number = next(i for i, span in enumerate(prompt.spans) if span.clean_start <= start < span.clean_end)
        weight = prompt.spans[number].weight
        occurrence = sum(word.text == name for word in words)
        tokens.append(Token(1, name, start, end, 0, place, weight, "text", number))
        words.append(Word(name, start, end, weight, (place,), place - 1, occurrence))
        start = end
    tokens.append(Token(2, "<eos>", 0, 0, 0, len(tokens), 1.0, "eos"))
    tokens += [Token(2, "<eos>", 0, 0, 0, place, 1.0, "pad") for place in range(len(tokens), rows)]
    beginning, ending = SpecialToken(0, "<bos>"), SpecialToken(2, "<eos>")
    frame = ChunkLayout((beginning,), (ending,), ending, rows)
    return TokenTable(prompt, encoder, tuple(tokens), tuple(words), 1, "", frame)
