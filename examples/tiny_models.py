"""Pipelines of diffusers' real classes with tiny random weights, for examples and tests without a network.

Their images are colored noise. Everything else, from the text encoders to the attention, works as in the real
models. Any part of a pipeline may be replaced, or removed with None:
`sd3(text_encoder_3=None, tokenizer_3=None)`.
"""

from __future__ import annotations

from typing import Any

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
    UMT5Config,
    UMT5EncoderModel,
)

SIDE = 64
"""Height and width of an image in pixels; the latents have the same size."""
CLIP_L, CLIP_G, T5 = 32, 40, 96
"""Widths of the text encoders; they differ, as in the real models."""
MERGES = (
    *[("g", "a"), ("t", "o</w>"), ("ga", "to</w>"), ("c", "o"), ("co", "r"), ("v", "e"), ("ve", "r")],
    *[("m", "e"), ("me", "l"), ("h", "o</w>"), ("u", "m</w>"), ("Ã", "£"), ("Ã£", "o</w>"), ("Ã", "§")],
    *[("ð", "Ł"), ("ðŁ", "Ĳ"), ("ðŁĲ", "±"), ("ðŁĲ", "¶</w>")],
)
"""Merges of the CLIP tokenizers: some words are one token (um, gato), others two or many."""


def sd(*, side: int = SIDE, **parts: Any) -> StableDiffusionPipeline:
    """Make a Stable Diffusion 1 pipeline: a CLIP text encoder and a UNet."""
    tokenizer = clip_tokenizer()
    text_encoder = randomize(CLIPTextModel(clip_config(tokenizer)))
    # A mean away from zero, as trained encoders have, keeps the a1111 normalization stable.
    text_encoder.final_layer_norm.bias += 0.2
    unet = random_unet(
        sample_size=side,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=CLIP_L,
    )
    return pipeline(
        StableDiffusionPipeline,
        parts,
        vae=autoencoder(4),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl(*, side: int = SIDE, **parts: Any) -> StableDiffusionXLPipeline:
    """Make an SDXL pipeline: two CLIP text encoders with different padding, and a UNet."""
    tokenizer, tokenizer_2 = clip_tokenizer(), clip_tokenizer(pad="!")
    config_2 = clip_config(tokenizer_2, hidden_size=CLIP_G, projection_dim=20)
    unet = random_unet(
        sample_size=side,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=CLIP_L + CLIP_G,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 20,
    )
    return pipeline(
        StableDiffusionXLPipeline,
        parts,
        vae=autoencoder(4),
        text_encoder=randomize(CLIPTextModel(clip_config(tokenizer)), 1),
        text_encoder_2=randomize(CLIPTextModelWithProjection(config_2), 2),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        unet=unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        add_watermarker=False,
    )


def sd3(*, side: int = SIDE, **parts: Any) -> StableDiffusion3Pipeline:
    """Make a Stable Diffusion 3.5 pipeline: two CLIP text encoders, a T5, a joint-attention transformer."""
    tokenizer, tokenizer_2, tokenizer_3 = clip_tokenizer(), clip_tokenizer(pad="!"), t5_tokenizer()
    config = clip_config(tokenizer, projection_dim=CLIP_L)
    config_2 = clip_config(tokenizer_2, hidden_size=CLIP_G, projection_dim=CLIP_G)
    torch.manual_seed(0)
    transformer = SD3Transformer2DModel(
        sample_size=side,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_projection_dim=16,
        joint_attention_dim=T5,
        pooled_projection_dim=CLIP_L + CLIP_G,
        qk_norm="rms_norm",
    )
    return pipeline(
        StableDiffusion3Pipeline,
        parts,
        vae=autoencoder(4),
        text_encoder=randomize(CLIPTextModelWithProjection(config), 1),
        text_encoder_2=randomize(CLIPTextModelWithProjection(config_2), 2),
        text_encoder_3=t5_encoder(tokenizer_3),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        tokenizer_3=tokenizer_3,
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def flux(**parts: Any) -> FluxPipeline:
    """Make a FLUX.1 pipeline: a T5, a CLIP for the pooled embedding, and a joint-attention transformer."""
    tokenizer, tokenizer_2 = clip_tokenizer(), t5_tokenizer()
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=T5,
        pooled_projection_dim=CLIP_L,
        axes_dims_rope=(4, 4, 8),
    )
    return pipeline(
        FluxPipeline,
        parts,
        vae=autoencoder(4),
        text_encoder=randomize(CLIPTextModel(clip_config(tokenizer)), 1),
        text_encoder_2=t5_encoder(tokenizer_2),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def pipeline(pipeline_class: Any, overrides: dict[str, Any], **parts: Any) -> Any:
    """Make a pipeline of `parts`, replaced by `overrides` of the same names, without a progress bar."""
    pipe = pipeline_class(**(parts | overrides))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def randomize(model: Any, seed: int = 0) -> Any:
    """Fill a model with random weights, large enough that every token changes every later one."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return model.eval().requires_grad_(False)


def random_unet(**settings: Any) -> UNet2DConditionModel:
    """Make a UNet of two levels."""
    torch.manual_seed(0)
    return UNet2DConditionModel(
        block_out_channels=(32, 32), layers_per_block=1, attention_head_dim=8, norm_num_groups=8, **settings
    )


def autoencoder(channels: int) -> AutoencoderKL:
    """Make an autoencoder whose latents have the size of the image."""
    return AutoencoderKL(
        block_out_channels=(32,), latent_channels=channels, norm_num_groups=8, sample_size=8, shift_factor=0.0
    )


def byte_letters() -> list[str]:
    """Return the 256 characters that stand for bytes in byte-level BPE (Radford et al., 2019)."""
    printable = [*range(33, 127), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(len(others))]


def clip_tokenizer(
    pad: str = "<|endoftext|>", max_length: int = 77, merges: tuple[tuple[str, str], ...] = MERGES
) -> CLIPTokenizer:
    """Make a CLIP tokenizer over bytes with these merges, in this order."""
    letters = byte_letters()
    pieces = [*letters, *(letter + "</w>" for letter in letters), *(first + last for first, last in merges)]
    vocabulary = {piece: number for number, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=list(merges), pad_token=pad, model_max_length=max_length)


def clip_config(tokenizer: CLIPTokenizer, **changes: Any) -> CLIPTextConfig:
    """Make the configuration of a CLIP text encoder of three layers."""
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": CLIP_L,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "projection_dim": 24,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return CLIPTextConfig(**(settings | changes))


def t5_tokenizer() -> T5Tokenizer:
    """Make a T5 tokenizer of some words, parts of words and single letters."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    words = [(piece, -3.0) for piece in ("▁um", "▁gato", "▁ver", "mel", "ho", "▁feio", "▁x", ",")]
    letters = [(letter, -9.0) for letter in "▁abcdefghijklmnopqrstuvwxyz+"]
    return T5Tokenizer(vocab=[*special, *words, *letters], extra_ids=0, model_max_length=512)


def t5_encoder(tokenizer: T5Tokenizer) -> T5EncoderModel:
    """Make a T5 encoder of two layers."""
    config = T5Config(
        vocab_size=len(tokenizer), d_model=T5, d_kv=8, d_ff=48, num_layers=2, num_heads=4, dropout_rate=0.0
    )
    return randomize(T5EncoderModel(config), 3)


def umt5_encoder(tokenizer: T5Tokenizer) -> UMT5EncoderModel:
    """Make a UMT5 encoder of two layers."""
    config = UMT5Config(vocab_size=len(tokenizer), d_model=T5, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
    return randomize(UMT5EncoderModel(config), 3)


def t5_pipeline(
    pipeline_class: Any, overrides: dict[str, Any], *, make_encoder: Any = t5_encoder, **parts: Any
) -> Any:
    """Make a pipeline as `pipeline` does, whose text encoder is a T5 or one of `make_encoder`."""
    tokenizer = t5_tokenizer()
    encoder = make_encoder(tokenizer)
    return pipeline(pipeline_class, overrides, tokenizer=tokenizer, text_encoder=encoder, **parts)
