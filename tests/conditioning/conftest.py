"""Tiny random models of every family, with tokenizers made here: nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from promptweight.prompt import Options, Prompt, Span

SHARED = Path(__file__).resolve().parents[2] / "../shared"


def make_prompt(*fragments: str | tuple[str, float], dialect: str = "pw") -> Prompt:
    """A parsed prompt from its fragments, glued together as they stand; "BREAK" by itself is a break.

    The options name the fragment, so that a test can tell whose they are.
    """
    text, spans, breaks = "", [], []
    for fragment in fragments:
        if fragment == "BREAK":
            breaks.append(len(text))
            continue
        content, weight = (fragment, 1.0) if isinstance(fragment, str) else fragment
        start, end = len(text), len(text) + len(content)
        spans.append(Span(content, weight, start, end, start, end, Options(region=content)))
        text += content
    return Prompt(text, dialect, text, tuple(spans), tuple(breaks))


def byte_alphabet() -> list[str]:
    """The 256 characters by which byte-level BPE writes bytes (Radford et al., 2019)."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(len(others))]


def new_clip_tokenizer(pad: str = "<|endoftext|>", max_length: int = 77) -> CLIPTokenizer:
    """A CLIP tokenizer over bytes that knows a few merges, so that words have one piece, two, or many."""
    merges = [
        *[("g", "a"), ("t", "o</w>"), ("ga", "to</w>"), ("c", "o"), ("co", "r"), ("v", "e"), ("ve", "r")],
        *[("m", "e"), ("me", "l"), ("h", "o</w>"), ("u", "m</w>"), ("Ã", "£"), ("Ã£", "o</w>"), ("Ã", "§")],
        *[("ð", "Ł"), ("ðŁ", "Ĳ"), ("ðŁĲ", "±"), ("ðŁĲ", "¶</w>")],
    ]
    letters = byte_alphabet()
    pieces = [*letters, *(letter + "</w>" for letter in letters), *(first + last for first, last in merges)]
    vocabulary = {piece: number for number, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad, model_max_length=max_length)


def new_clip_config(tokenizer: CLIPTokenizer, **changes: Any) -> CLIPTextConfig:
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "projection_dim": 24,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return CLIPTextConfig(**(settings | changes))


def lively(model: Any, seed: int = 0) -> Any:
    """Random weights large enough that every token matters to every later one."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return model.eval().requires_grad_(False)


def new_sd_pipeline(*, mean: float = 0.2, **config: Any) -> StableDiffusionPipeline:
    tokenizer = new_clip_tokenizer()
    text_encoder = lively(CLIPTextModel(new_clip_config(tokenizer, **config)))
    # A mean away from zero, as trained encoders have, keeps the a1111 renormalisation sound.
    text_encoder.final_layer_norm.bias += mean
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    return quiet(
        StableDiffusionPipeline(
            vae=new_vae(),
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    )


def new_vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(32,), latent_channels=4, norm_num_groups=8, sample_size=8, shift_factor=0.0
    )


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def new_sdxl_pipeline(**components: Any) -> StableDiffusionXLPipeline:
    """CLIP-L of width 32 and CLIP-G of width 40, whose padding token differs, as in the real ones."""
    tokenizer, tokenizer_2 = new_clip_tokenizer(), new_clip_tokenizer(pad="!")
    text_encoder = lively(CLIPTextModel(new_clip_config(tokenizer)), 1)
    config = new_clip_config(tokenizer_2, hidden_size=40, projection_dim=20)
    text_encoder_2 = lively(CLIPTextModelWithProjection(config), 2)
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=72,
        attention_head_dim=8,
        norm_num_groups=8,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 20,
    )
    parts = {
        "vae": new_vae(),
        "text_encoder": text_encoder,
        "text_encoder_2": text_encoder_2,
        "tokenizer": tokenizer,
        "tokenizer_2": tokenizer_2,
        "unet": unet,
        "scheduler": DDIMScheduler(steps_offset=1, clip_sample=False),
        "add_watermarker": False,
    }
    return quiet(StableDiffusionXLPipeline(**(parts | components)))


def new_t5_tokenizer() -> T5Tokenizer:
    """A T5 tokenizer that knows whole words, parts of words and single letters."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    words = [(piece, -3.0) for piece in ("▁um", "▁gato", "▁ver", "mel", "ho", "▁feio", "▁x", ",")]
    letters = [(letter, -9.0) for letter in "▁abcdefghijklmnopqrstuvwxyz+"]
    return T5Tokenizer(vocab=[*special, *words, *letters], extra_ids=0, model_max_length=512)


def new_t5(tokenizer: T5Tokenizer, seed: int, width: int = 96) -> T5EncoderModel:
    config = T5Config(
        vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=48, num_layers=2, num_heads=4, dropout_rate=0.0
    )
    return lively(T5EncoderModel(config), seed)


def new_sd3_pipeline(**components: Any) -> StableDiffusion3Pipeline:
    """CLIP-L of width 32, CLIP-G of width 40, T5 of width 96."""
    tokenizer, tokenizer_2, tokenizer_3 = (
        new_clip_tokenizer(),
        new_clip_tokenizer(pad="!"),
        new_t5_tokenizer(),
    )
    clip_l = new_clip_config(tokenizer, projection_dim=32)
    clip_g = new_clip_config(tokenizer_2, hidden_size=40, projection_dim=40)
    torch.manual_seed(0)
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_projection_dim=16,
        joint_attention_dim=96,
        pooled_projection_dim=72,
    )
    parts = {
        "vae": new_vae(),
        "text_encoder": lively(CLIPTextModelWithProjection(clip_l), 1),
        "text_encoder_2": lively(CLIPTextModelWithProjection(clip_g), 2),
        "text_encoder_3": new_t5(tokenizer_3, 3),
        "tokenizer": tokenizer,
        "tokenizer_2": tokenizer_2,
        "tokenizer_3": tokenizer_3,
        "transformer": transformer,
        "scheduler": FlowMatchEulerDiscreteScheduler(),
    }
    return quiet(StableDiffusion3Pipeline(**(parts | components)))


def new_flux_pipeline(**components: Any) -> FluxPipeline:
    tokenizer, tokenizer_2 = new_clip_tokenizer(), new_t5_tokenizer()
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=96,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
    )
    parts = {
        "vae": new_vae(),
        "text_encoder": lively(CLIPTextModel(new_clip_config(tokenizer)), 1),
        "text_encoder_2": new_t5(tokenizer_2, 3),
        "tokenizer": tokenizer,
        "tokenizer_2": tokenizer_2,
        "transformer": transformer,
        "scheduler": FlowMatchEulerDiscreteScheduler(),
    }
    return quiet(FluxPipeline(**(parts | components)))


@pytest.fixture(scope="session")
def clip_tokenizer() -> CLIPTokenizer:
    return new_clip_tokenizer()


@pytest.fixture(scope="session")
def make_clip_tokenizer() -> Any:
    return new_clip_tokenizer


@pytest.fixture(scope="session")
def prompt_of() -> Any:
    return make_prompt


@pytest.fixture(scope="session")
def sd() -> StableDiffusionPipeline:
    return new_sd_pipeline()


@pytest.fixture(scope="session")
def make_sd() -> Any:
    return new_sd_pipeline


@pytest.fixture(scope="session")
def sdxl() -> StableDiffusionXLPipeline:
    return new_sdxl_pipeline()


@pytest.fixture(scope="session")
def make_sdxl() -> Any:
    return new_sdxl_pipeline


@pytest.fixture(scope="session")
def sd3() -> StableDiffusion3Pipeline:
    return new_sd3_pipeline()


@pytest.fixture(scope="session")
def make_sd3() -> Any:
    return new_sd3_pipeline


@pytest.fixture(scope="session")
def flux() -> FluxPipeline:
    return new_flux_pipeline()


@pytest.fixture(scope="session")
def make_flux() -> Any:
    return new_flux_pipeline


@pytest.fixture(scope="session")
def real_clip_tokenizer() -> CLIPTokenizer:
    folder = SHARED / "tokenizers/clip"
    if not folder.is_dir():
        pytest.skip("the real CLIP vocabulary (../shared/tokenizers) is not on this machine")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=77)


@pytest.fixture(scope="session")
def real_t5_tokenizer() -> Any:
    from transformers import T5TokenizerFast

    folder = SHARED / "tokenizers/t5"
    if not folder.is_dir():
        pytest.skip("the real T5 vocabulary (../shared/tokenizers) is not on this machine")
    return T5TokenizerFast.from_pretrained(folder)
