"""Tiny random pipelines of the real classes, and prompts whose embeddings are drawn from their text."""

import zlib
from dataclasses import dataclass, replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_models
import torch
from diffusers import (
    AutoencoderKL,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel

from promptweight.conditioning.prompt_embeds import Section
from promptweight.conditioning.token_table import Frame, Token, TokenTable, Word
from promptweight.prompt import parse

ROWS, WIDTH = 20, 32


@dataclass(frozen=True)
class Encoded:
    """What `conditioning.encode_prompts` returns."""

    inputs: dict[str, Any]
    sections: tuple[Section, ...]
    warnings: tuple[str, ...] = ()

    @property
    def positive(self) -> tuple[TokenTable, ...]:
        return self.sections[0].positive

    @property
    def negative(self) -> tuple[TokenTable, ...]:
        return self.sections[0].negative


def table_of(text: str) -> TokenTable:
    """A token table for words and `word:weight{options}`; words of more than four letters have two tokens."""
    parts = [part.partition(":") for part in text.split()]
    prompt = parse(" ".join(f"({name}:{weight})" if weight else name for name, _, weight in parts))
    tokens, words, start = [Token(0, "<bos>", 0, 0, 0, 0, 1.0, "bos")], [], 0
    for name, _, number in parts:
        positions: list[int] = []
        weight = float(number.partition("{")[0] or 1)
        span = next(i for i, each in enumerate(prompt.spans) if each.clean_start <= start < each.clean_end)
        for first, last in pairwise([0, 4, len(name)] if len(name) > 4 else [0, len(name)]):
            positions.append(len(tokens))
            ends = (start + first, start + last)
            tokens.append(Token(9, name[first:last], *ends, 0, len(tokens), weight, "text", span))
        occurrence = sum(word.text == name for word in words)
        end, options = start + len(name), prompt.spans[span].options
        words.append(Word(name, start, end, weight, tuple(positions), len(words), occurrence, options))
        start = end + 1
    tokens.append(Token(1, "<eos>", 0, 0, 0, len(tokens), 1.0, "eos"))
    while len(tokens) < ROWS:
        tokens.append(Token(1, "<eos>", 0, 0, 0, len(tokens), 1.0, "pad"))
    return TokenTable(prompt, "clip", tuple(tokens), tuple(words), 1, "", Frame((0,), (1,), 1, ROWS))


def embeds_of(table: TokenTable, width: int = WIDTH) -> torch.Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(table.prompt.text.encode()))
    return torch.randn(1, ROWS, width, generator=generator)


def encode(*prompts: str, negative: str | None = "feio", dtype=torch.float32, width=WIDTH) -> Encoded:
    """Encoded prompts with one negative prompt for all, or none."""
    positive = tuple(map(table_of, prompts))
    inputs = {"prompt_embeds": torch.cat([embeds_of(table, width) for table in positive]).to(dtype)}
    tables: tuple[TokenTable, ...] = ()
    if negative is not None:
        tables = (table_of(negative),) * len(prompts)
        inputs["negative_prompt_embeds"] = torch.cat([embeds_of(table, width) for table in tables]).to(dtype)
    return Encoded(inputs, (Section(("clip",), 0, ROWS, positive, tables),))


def make_unet(**changes: Any) -> UNet2DConditionModel:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "sample_size": 16,
        "in_channels": 4,
        "out_channels": 4,
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 4,
        "norm_num_groups": 8,
    }
    return UNet2DConditionModel(**settings | changes).eval()


def make_vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
    ).eval()


def without_text(encoders: int) -> dict[str, None]:
    """So many text encoders and their tokenizers, absent."""
    endings = ("", "_2", "_3")[:encoders]
    return {f"{part}{ending}": None for part in ("text_encoder", "tokenizer") for ending in endings}


def make_pipeline(dtype: torch.dtype = torch.float32, **unet_changes: Any) -> StableDiffusionPipeline:
    """A StableDiffusionPipeline with random weights; embeddings are given to it, so it needs no tokenizer."""
    unet = make_unet(**unet_changes)
    torch.manual_seed(1)
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=50,
            hidden_size=WIDTH,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            bos_token_id=0,
            eos_token_id=1,
        )
    )
    pipe = tiny_models.sd(vae=make_vae(), text_encoder=text.eval(), tokenizer=None, unet=unet)
    return pipe.to(dtype)


def make_sdxl_pipeline() -> StableDiffusionXLPipeline:
    """A StableDiffusionXLPipeline without text encoders, two transformer blocks in its coarser layers."""
    unet = make_unet(
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + WIDTH,
        use_linear_projection=True,
    )
    return tiny_models.sdxl(vae=make_vae(), unet=unet, **without_text(2))


def make_sd3_pipeline(**changes: Any) -> StableDiffusion3Pipeline:
    """A StableDiffusion3Pipeline without text encoders."""
    torch.manual_seed(2)
    settings: dict[str, Any] = {
        "sample_size": 16,
        "patch_size": 2,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 3,
        "attention_head_dim": 8,
        "num_attention_heads": 4,
        "joint_attention_dim": WIDTH,
        "caption_projection_dim": 32,
        "pooled_projection_dim": WIDTH,
        "pos_embed_max_size": 24,
    }
    transformer = SD3Transformer2DModel(**settings | changes).eval()
    return tiny_models.sd3(transformer=transformer, vae=make_vae(), **without_text(3))


def make_flux_pipeline() -> FluxPipeline:
    """A FluxPipeline without text encoders: one block with separate streams, two with a single one."""
    torch.manual_seed(3)
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        axes_dims_rope=(4, 4, 8),
    )
    return tiny_models.flux(transformer=transformer.eval(), vae=make_vae(), **without_text(2))


def pooled(prompts: int) -> dict[str, torch.Tensor]:
    """The pooled embeddings of so many prompts and negative prompts."""
    ones = torch.ones(prompts, WIDTH)
    return {"pooled_prompt_embeds": ones, "negative_pooled_prompt_embeds": -ones}


def encode_twice(prompt: str) -> Encoded:
    """A prompt read by two text encoders, whose rows follow each other."""
    clip, t5 = encode(prompt), encode(prompt)
    inputs = {name: torch.cat([embeds, -embeds], 1) for name, embeds in clip.inputs.items()}
    return Encoded(inputs, (*clip.sections, replace(t5.sections[0], encoders=("t5",), start=ROWS)))


def run(pipe: Any, inputs: dict[str, Any], **settings: Any) -> torch.Tensor:
    """Three steps from a fixed seed: the latents."""
    defaults = {
        "num_inference_steps": 3,
        "guidance_scale": 4.0,
        "output_type": "latent",
        "height": 32,
        "width": 32,
    }
    generator = torch.Generator().manual_seed(7)
    return pipe(**inputs, **defaults | settings, generator=generator).images


@pytest.fixture(scope="module")
def pipe():
    return make_pipeline()


@pytest.fixture(scope="session")
def tiny():
    """The functions of this file, for tests that need more than one pipeline or prompt."""
    return SimpleNamespace(
        table_of=table_of,
        embeds_of=embeds_of,
        encode=encode,
        unet=make_unet,
        pipeline=make_pipeline,
        sdxl_pipeline=make_sdxl_pipeline,
        sd3_pipeline=make_sd3_pipeline,
        flux_pipeline=make_flux_pipeline,
        vae=make_vae,
        pooled=pooled,
        encode_twice=encode_twice,
        run=run,
        rows=ROWS,
    )
