"""Pipelines of images with tiny random weights whose text encoder is a T5; see `tiny_models`."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AuraFlowPipeline,
    AuraFlowTransformer2DModel,
    BriaPipeline,
    BriaTransformer2DModel,
    ChromaPipeline,
    ChromaTransformer2DModel,
    CogVideoXDDIMScheduler,
    CogView3PlusPipeline,
    CogView3PlusTransformer2DModel,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
)
from tiny_models import T5, autoencoder, randomize, t5_pipeline, umt5_encoder


def chroma(**parts: Any) -> ChromaPipeline:
    """Make a Chroma pipeline: a T5, and double and single blocks with the text first."""
    torch.manual_seed(0)
    transformer = ChromaTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=T5,
        axes_dims_rope=(4, 4, 8),
        approximator_num_channels=8,
        approximator_hidden_dim=16,
        approximator_layers=1,
    )
    return t5_pipeline(
        ChromaPipeline,
        parts,
        vae=autoencoder(4),
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def pixart_alpha(**parts: Any) -> PixArtAlphaPipeline:
    """Make a PixArt-Alpha pipeline: a T5 and a transformer with cross-attention."""
    return pixart(PixArtAlphaPipeline, parts)


def pixart_sigma(**parts: Any) -> PixArtSigmaPipeline:
    """Make a PixArt-Sigma pipeline: a T5 and a transformer with cross-attention."""
    return pixart(PixArtSigmaPipeline, parts)


def pixart(kind: Any, parts: dict[str, Any]) -> Any:
    """Make a PixArt pipeline of a class."""
    torch.manual_seed(0)
    transformer = PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        cross_attention_dim=32,
        caption_channels=T5,
        sample_size=32,
        use_additional_conditions=False,
    )
    return t5_pipeline(
        kind,
        parts,
        vae=autoencoder(4),
        transformer=transformer.eval(),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
    )


def bria(**parts: Any) -> BriaPipeline:
    """Make a Bria 3 pipeline: a T5, and double and single blocks with the text first."""
    torch.manual_seed(0)
    transformer = BriaTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=T5,
        axes_dims_rope=[4, 4, 8],
    )
    return t5_pipeline(
        BriaPipeline,
        parts,
        vae=autoencoder(4),
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def auraflow(**parts: Any) -> AuraFlowPipeline:
    """Make an AuraFlow pipeline: a UMT5, and double and single blocks with registers before the text."""
    transformer = AuraFlowTransformer2DModel(
        sample_size=32,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=T5,
        caption_projection_dim=32,
        pos_embed_max_size=1024,
    )
    return t5_pipeline(
        AuraFlowPipeline,
        parts,
        vae=autoencoder(4),
        make_encoder=umt5_encoder,
        transformer=randomize(transformer),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def cogview3_plus(**parts: Any) -> CogView3PlusPipeline:
    """Make a CogView3+ pipeline: a T5, and joint attention with the text first."""
    torch.manual_seed(0)
    transformer = CogView3PlusTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        text_embed_dim=T5,
        time_embed_dim=16,
        condition_dim=4,
        pos_embed_max_size=32,
        sample_size=32,
    )
    return t5_pipeline(
        CogView3PlusPipeline,
        parts,
        vae=autoencoder(4),
        transformer=transformer.eval(),
        scheduler=CogVideoXDDIMScheduler(),
    )
