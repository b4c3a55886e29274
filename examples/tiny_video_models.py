"""Pipelines of videos with tiny random weights; see `tiny_models`."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AnimateDiffPipeline,
    AnimateDiffSDXLPipeline,
    AutoencoderKLCogVideoX,
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    FlowMatchEulerDiscreteScheduler,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    MotionAdapter,
    SanaVideoPipeline,
    SanaVideoTransformer3DModel,
    SkyReelsV2Pipeline,
    SkyReelsV2Transformer3DModel,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
)
from tiny_models import T5, pipeline, randomize, sd, sdxl, t5_pipeline, umt5_encoder
from tiny_text_encoders import WIDTH, gemma2, qwen_tokenizer
from transformers import CLIPVisionConfig, CLIPVisionModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil


def animatediff(**parts: Any) -> AnimateDiffPipeline:
    """Make an AnimateDiff pipeline: Stable Diffusion 1 with motion modules after the layers of its UNet."""
    return animate(AnimateDiffPipeline, sd(side=16).components, parts)


def animatediff_xl(**parts: Any) -> AnimateDiffSDXLPipeline:
    """Make an AnimateDiff pipeline of SDXL."""
    return animate(AnimateDiffSDXLPipeline, sdxl(side=16).components, parts)


def animate(kind: Any, components: dict[str, Any], parts: dict[str, Any]) -> Any:
    """Make a pipeline of a class, of the parts of one for images and a motion adapter."""
    adapter = MotionAdapter(
        block_out_channels=(32, 32),
        motion_layers_per_block=1,
        motion_num_attention_heads=2,
        motion_norm_num_groups=8,
        use_motion_mid_block=False,
    )
    names = ("safety_checker", "requires_safety_checker")
    own = {name: part for name, part in components.items() if name not in names}
    pipe = pipeline(kind, parts, **own, motion_adapter=randomize(adapter))
    for name, layer in pipe.unet.named_modules():
        if name.endswith("attn2") and layer.is_cross_attention:
            layer.to_out[0].weight.data *= 8  # so that the text changes the video far beyond rounding
    return pipe


def wan(**parts: Any) -> WanPipeline:
    """Make a Wan 2.1 pipeline: a UMT5, and a transformer with cross-attention over all frames."""
    return t5_pipeline(
        WanPipeline,
        parts,
        vae=wan_autoencoder(),
        make_encoder=umt5_encoder,
        transformer=wan_transformer(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def wan_from_image(**parts: Any) -> WanImageToVideoPipeline:
    """Make a Wan 2.1 pipeline whose videos begin with an image, to which its layers attend, too."""
    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    own = {name: wan().components[name] for name in ("tokenizer", "text_encoder", "vae", "scheduler")}
    return pipeline(
        WanImageToVideoPipeline,
        parts,
        **own,
        image_encoder=randomize(CLIPVisionModel(config)),
        image_processor=CLIPImageProcessorPil(**size),
        transformer=wan_transformer(in_channels=12, image_dim=32, added_kv_proj_dim=32),
    )


def wan_transformer(kind: Any = WanTransformer3DModel, in_channels: int = 4, **settings: Any) -> Any:
    """Make a Wan transformer of two blocks, or one of a class with its settings."""
    torch.manual_seed(0)
    return kind(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=in_channels,
        out_channels=4,
        text_dim=T5,
        freq_dim=16,
        ffn_dim=32,
        num_layers=2,
        rope_max_seq_len=32,
        **settings,
    ).eval()


def skyreels(**parts: Any) -> SkyReelsV2Pipeline:
    """Make a SkyReels V2 pipeline: a UMT5, and a transformer with cross-attention over all frames."""
    transformer = wan_transformer(SkyReelsV2Transformer3DModel)
    own = {name: wan().components[name] for name in ("tokenizer", "text_encoder", "vae")}
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)
    return pipeline(SkyReelsV2Pipeline, parts, **own, transformer=transformer, scheduler=scheduler)


def sana_video(**parts: Any) -> SanaVideoPipeline:
    """Make a SANA-Video pipeline: a Gemma 2, and a transformer with linear self-attention."""
    tokenizer = qwen_tokenizer()
    torch.manual_seed(0)
    transformer = SanaVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=2,
        num_cross_attention_heads=2,
        cross_attention_head_dim=16,
        cross_attention_dim=32,
        caption_channels=WIDTH,
        sample_size=8,
    )
    return pipeline(
        SanaVideoPipeline,
        parts,
        vae=wan_autoencoder(),
        text_encoder=gemma2(tokenizer),
        tokenizer=tokenizer,
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def wan_autoencoder() -> AutoencoderKLWan:
    """Make an autoencoder with latents of an eighth of the side, for the first frame and for each four."""
    torch.manual_seed(0)
    return AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    ).eval()


def ltx(**parts: Any) -> LTXPipeline:
    """Make an LTX-Video pipeline: a T5, and a transformer with cross-attention over all frames."""
    torch.manual_seed(0)
    transformer = LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=2,
        attention_head_dim=16,
        cross_attention_dim=32,
        num_layers=2,
        caption_channels=T5,
    )
    autoencoder = AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        patch_size=1,
    )
    return t5_pipeline(
        LTXPipeline,
        parts,
        vae=autoencoder.eval(),
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def cogvideox(in_channels: int = 4, **parts: Any) -> CogVideoXPipeline:
    """Make a CogVideoX pipeline: a T5, and joint attention of the text and all frames, the text first."""
    torch.manual_seed(0)
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=in_channels,
        out_channels=4,
        time_embed_dim=16,
        text_embed_dim=T5,
        num_layers=2,
        sample_width=8,
        sample_height=4,
        sample_frames=9,
        max_text_seq_length=16,
    )
    autoencoder = AutoencoderKLCogVideoX(
        block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2
    )
    return t5_pipeline(
        CogVideoXPipeline,
        parts,
        vae=autoencoder.eval(),
        transformer=transformer.eval(),
        scheduler=CogVideoXDDIMScheduler(),
    )
