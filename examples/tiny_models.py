"""Pipelines of the real classes with tiny random weights, so that the examples run without a network.

Their pictures are coloured noise: only a trained model draws what a prompt says. Everything else, from the
text encoders to the attention, is as it is in the models that they stand for.
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

WIDTH = 32


def sdxl() -> StableDiffusionXLPipeline:
    """SDXL: two CLIP text encoders side by side, a UNet."""
    tokenizer = clip_tokenizer()
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=2 * WIDTH,
        attention_head_dim=8,
        norm_num_groups=8,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + WIDTH,
    )
    return ready(
        StableDiffusionXLPipeline(
            vae=autoencoder(4),
            text_encoder=CLIPTextModel(clip_config(tokenizer)),
            text_encoder_2=CLIPTextModelWithProjection(clip_config(tokenizer)),
            tokenizer=tokenizer,
            tokenizer_2=tokenizer,
            unet=unet,
            scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
            add_watermarker=False,
        )
    )


def sd3() -> StableDiffusion3Pipeline:
    """Stable Diffusion 3.5: two CLIP text encoders and a T5, a transformer with joint attention."""
    tokenizer, t5 = clip_tokenizer(), t5_tokenizer()
    transformer = SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=2 * WIDTH,
        pooled_projection_dim=2 * WIDTH,
        qk_norm="rms_norm",
    )
    return ready(
        StableDiffusion3Pipeline(
            vae=autoencoder(16),
            text_encoder=CLIPTextModelWithProjection(clip_config(tokenizer)),
            text_encoder_2=CLIPTextModelWithProjection(clip_config(tokenizer)),
            text_encoder_3=t5_encoder(t5, 2 * WIDTH),
            tokenizer=tokenizer,
            tokenizer_2=tokenizer,
            tokenizer_3=t5,
            transformer=transformer,
            scheduler=FlowMatchEulerDiscreteScheduler(),
        )
    )


def flux() -> FluxPipeline:
    """FLUX.1: a T5 for the words, a CLIP for the pooled vector, a transformer with joint attention."""
    tokenizer, t5 = clip_tokenizer(), t5_tokenizer()
    transformer = FluxTransformer2DModel(
        in_channels=64,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=2 * WIDTH,
        pooled_projection_dim=WIDTH,
        axes_dims_rope=(4, 4, 8),
    )
    return ready(
        FluxPipeline(
            vae=autoencoder(16),
            text_encoder=CLIPTextModel(clip_config(tokenizer)),
            text_encoder_2=t5_encoder(t5, 2 * WIDTH),
            tokenizer=tokenizer,
            tokenizer_2=t5,
            transformer=transformer,
            scheduler=FlowMatchEulerDiscreteScheduler(),
        )
    )


def ready(pipe: Any) -> Any:
    """The pipeline, silent, and with text that means something to it: random weights are small at first."""
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    for name in ("text_encoder", "text_encoder_2", "text_encoder_3"):
        encoder = getattr(pipe, name, None)
        if encoder is not None:
            for parameter in encoder.eval().requires_grad_(False).parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return pipe


def autoencoder(channels: int) -> AutoencoderKL:
    """An autoencoder whose latents are an eighth of the picture's sides, as in the models themselves."""
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=channels,
        norm_num_groups=4,
        shift_factor=0.0,
    )


def clip_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer without a vocabulary: every byte of a word is a token."""
    printable = [*range(33, 127), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = [chr(byte) for byte in printable] + [
        chr(256 + number) for number in range(256 - len(printable))
    ]
    pieces = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def clip_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    """Of a text encoder of two layers."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def t5_tokenizer() -> T5Tokenizer:
    """A T5 tokenizer that knows letters alone."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    letters = [(letter, -9.0) for letter in "▁abcdefghijklmnopqrstuvwxyz,"]
    return T5Tokenizer(vocab=[*special, *letters], extra_ids=0, model_max_length=512)


def t5_encoder(tokenizer: T5Tokenizer, width: int) -> T5EncoderModel:
    """A T5 of one layer."""
    return T5EncoderModel(
        T5Config(vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=48, num_layers=1, num_heads=4)
    )
