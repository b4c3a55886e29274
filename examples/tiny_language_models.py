"""Pipelines with tiny random weights whose text encoders are language models; see `tiny_models`."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    CogView4Pipeline,
    CogView4Transformer2DModel,
    DPMSolverMultistepScheduler,
    ErnieImagePipeline,
    ErnieImageTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    Krea2Pipeline,
    Krea2Transformer2DModel,
    Lumina2Pipeline,
    Lumina2Transformer2DModel,
    NucleusMoEImagePipeline,
    NucleusMoEImageTransformer2DModel,
    OvisImagePipeline,
    OvisImageTransformer2DModel,
    PRXPipeline,
    PRXTransformer2DModel,
    QwenImageControlNetModel,
    QwenImageControlNetPipeline,
    QwenImageEditPipeline,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SanaPipeline,
    SanaSprintPipeline,
    SanaTransformer2DModel,
    SCMScheduler,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from tiny_models import autoencoder, pipeline, randomize
from tiny_text_encoders import (
    PICTURE,
    WIDTH,
    PictureProcessor,
    TextProcessor,
    gemma2,
    glm,
    glm_tokenizer,
    mistral3,
    qwen3,
    qwen3_vl,
    qwen_tokenizer,
    qwen_vl,
    t5gemma,
)
from transformers import Qwen3ForCausalLM, Qwen3VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil


def qwen_image(**parts: Any) -> QwenImagePipeline:
    """Make a Qwen-Image pipeline: a Qwen2.5-VL and a joint-attention transformer with the text first."""
    tokenizer = qwen_tokenizer()
    torch.manual_seed(0)
    transformer = QwenImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(4, 4, 8),
    )
    return pipeline(
        QwenImagePipeline,
        parts,
        vae=qwen_autoencoder(),
        text_encoder=qwen_vl(tokenizer),
        tokenizer=tokenizer,
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def qwen_image_edit(kind: Any = QwenImageEditPipeline, **parts: Any) -> Any:
    """Make a pipeline that edits a picture; its Qwen2.5-VL reads the picture before the text."""
    own = qwen_image(**parts).components
    own["tokenizer"].add_special_tokens({"additional_special_tokens": list(PICTURE)})
    text_encoder = qwen_vl(own["tokenizer"])
    pictures = Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=56 * 56)
    return pipeline(
        kind, own | {"text_encoder": text_encoder}, processor=PictureProcessor(pictures, own["tokenizer"])
    )


def qwen_image_controlnet(kind: Any = QwenImageControlNetPipeline, mask_channels: int = 0) -> Any:
    """Make a Qwen-Image pipeline with a ControlNet of one block, which may take a mask beside the picture."""
    pipe = qwen_image()
    torch.manual_seed(1)
    settings = {**pipe.transformer.config, "num_layers": 1, "extra_condition_channels": mask_channels}
    controlnet = QwenImageControlNetModel.from_config(settings).eval()
    for block in controlnet.controlnet_blocks:  # zeros at first, so that the picture has no influence
        torch.nn.init.normal_(block.weight, std=0.02)
    return pipeline(kind, pipe.components, controlnet=controlnet)


def z_image(**parts: Any) -> ZImagePipeline:
    """Make a Z-Image pipeline: a Qwen3 and a transformer of one stream with the image first."""
    tokenizer = qwen_tokenizer()
    torch.manual_seed(0)
    transformer = ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=WIDTH,
        axes_dims=[4, 6, 6],
        axes_lens=[256, 64, 64],
    )
    return pipeline(
        ZImagePipeline,
        parts,
        vae=autoencoder(4),
        text_encoder=qwen3(tokenizer),
        tokenizer=tokenizer,
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def flux2(**parts: Any) -> Flux2Pipeline:
    """Make a FLUX.2 pipeline: a Mistral 3, and double and single blocks with the text first."""
    tokenizer = qwen_tokenizer()
    return pipeline(
        Flux2Pipeline,
        parts,
        vae=flux2_autoencoder(),
        text_encoder=mistral3(tokenizer),
        tokenizer=TextProcessor(tokenizer),
        transformer=flux2_transformer(guidance_embeds=True),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def flux2_klein(**parts: Any) -> Flux2KleinPipeline:
    """Make a FLUX.2 klein pipeline: a Qwen3, and double and single blocks with the text first."""
    tokenizer = qwen_tokenizer()
    return pipeline(
        Flux2KleinPipeline,
        parts,
        vae=flux2_autoencoder(),
        text_encoder=qwen3(tokenizer, Qwen3ForCausalLM, layers=27),
        tokenizer=tokenizer,
        transformer=flux2_transformer(guidance_embeds=False),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def flux2_transformer(*, guidance_embeds: bool) -> Flux2Transformer2DModel:
    """Make a FLUX.2 transformer of one double and one single block."""
    torch.manual_seed(0)
    return Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * WIDTH,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance_embeds,
    ).eval()


def flux2_autoencoder() -> AutoencoderKLFlux2:
    """Make FLUX.2's autoencoder, whose latents have the size of the image."""
    return AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        block_out_channels=(8,),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
    ).eval()


def lumina2(**parts: Any) -> Lumina2Pipeline:
    """Make a Lumina-Image 2 pipeline: a Gemma 2 and a transformer of one stream with the text first."""
    tokenizer = qwen_tokenizer()
    torch.manual_seed(0)
    transformer = Lumina2Transformer2DModel(
        in_channels=4,
        hidden_size=32,
        num_layers=2,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=16,
        axes_dim_rope=(4, 6, 6),
        axes_lens=(512, 64, 64),
        cap_feat_dim=WIDTH,
    )
    return pipeline(
        Lumina2Pipeline,
        parts,
        vae=autoencoder(4),
        text_encoder=gemma2(tokenizer),
        tokenizer=tokenizer,
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def krea2(**parts: Any) -> Krea2Pipeline:
    """Make a Krea 2 pipeline: a Qwen3-VL, layers that fuse its hidden states, and joint attention."""
    tokenizer = qwen_tokenizer()
    torch.manual_seed(0)
    transformer = Krea2Transformer2DModel(
        in_channels=16,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        timestep_embed_dim=16,
        text_hidden_dim=WIDTH,
        num_text_layers=2,
        text_num_attention_heads=2,
        text_num_key_value_heads=2,
        text_intermediate_size=48,
        num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1,
        axes_dims_rope=(4, 6, 6),
    )
    return pipeline(
        Krea2Pipeline,
        parts,
        vae=qwen_autoencoder(),
        text_encoder=qwen3_vl(tokenizer),
        tokenizer=tokenizer,
        transformer=randomize(transformer),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        text_encoder_select_layers=(1, 2),
    )


def sana(**parts: Any) -> SanaPipeline:
    """Make a SANA pipeline: a Gemma 2 and a transformer with linear self-attention and cross-attention."""
    tokenizer = qwen_tokenizer()
    return pipeline(
        SanaPipeline,
        parts,
        vae=sana_autoencoder(),
        text_encoder=gemma2(tokenizer),
        tokenizer=tokenizer,
        transformer=sana_transformer(),
        scheduler=DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True),
    )


def sana_sprint(**parts: Any) -> SanaSprintPipeline:
    """Make a SANA Sprint pipeline: a Gemma 2 and a SANA transformer that is distilled with its guidance."""
    tokenizer = qwen_tokenizer()
    return pipeline(
        SanaSprintPipeline,
        parts,
        vae=sana_autoencoder(),
        text_encoder=gemma2(tokenizer),
        tokenizer=tokenizer,
        transformer=sana_transformer(guidance_embeds=True, qk_norm="rms_norm_across_heads"),
        scheduler=SCMScheduler(),
    )


def sana_transformer(**settings: Any) -> SanaTransformer2DModel:
    """Make a SANA transformer of two blocks."""
    torch.manual_seed(0)
    return SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=2,
        num_cross_attention_heads=2,
        cross_attention_head_dim=16,
        cross_attention_dim=32,
        caption_channels=WIDTH,
        sample_size=32,
        **settings,
    ).eval()


def sana_autoencoder() -> AutoencoderDC:
    """Make SANA's autoencoder."""
    blocks = {"encoder_block_types": ("ResBlock",) * 2, "decoder_block_types": ("ResBlock",) * 2}
    return AutoencoderDC(
        latent_channels=4,
        **blocks,
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        encoder_qkv_multiscales=((), ()),
        decoder_qkv_multiscales=((), ()),
        upsample_block_type="interpolate",
        downsample_block_type="conv",
    ).eval()


def ovis_image(**parts: Any) -> OvisImagePipeline:
    """Make an Ovis-Image pipeline: a Qwen3, and double and single blocks with the text first."""
    tokenizer = qwen_tokenizer()
    torch.manual_seed(0)
    transformer = OvisImageTransformer2DModel(
        in_channels=16,
        out_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(4, 4, 8),
    )
    return pipeline(
        OvisImagePipeline,
        parts,
        vae=autoencoder(4),
        text_encoder=qwen3(tokenizer),
        tokenizer=tokenizer,
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def ernie_image(**parts: Any) -> ErnieImagePipeline:
    """Make an ERNIE-Image pipeline: a Mistral 3 and a transformer of one stream with the image first."""
    tokenizer = qwen_tokenizer()
    torch.manual_seed(0)
    transformer = ErnieImageTransformer2DModel(
        hidden_size=32,
        num_attention_heads=2,
        num_layers=2,
        ffn_hidden_size=48,
        in_channels=16,
        out_channels=16,
        text_in_dim=WIDTH,
        rope_axes_dim=(4, 6, 6),
    )
    return pipeline(
        ErnieImagePipeline,
        parts,
        vae=flux2_autoencoder(),
        text_encoder=mistral3(tokenizer).model,
        tokenizer=tokenizer,
        transformer=randomize(transformer),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def nucleus(**parts: Any) -> NucleusMoEImagePipeline:
    """Make a NucleusMoE-Image pipeline: a Qwen3-VL, and blocks of experts with queries of the image alone."""
    tokenizer = qwen_tokenizer()
    torch.manual_seed(0)
    transformer = NucleusMoEImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        num_key_value_heads=1,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(4, 4, 8),
        mlp_ratio=6.0,
        dense_moe_strategy="leave_first_block_dense",
        num_experts=4,
        moe_intermediate_dim=16,
        capacity_factors=2.0,
    )
    return pipeline(
        NucleusMoEImagePipeline,
        parts,
        vae=qwen_autoencoder(),
        text_encoder=qwen3_vl(tokenizer, Qwen3VLForConditionalGeneration, layers=8),
        processor=TextProcessor(tokenizer),
        transformer=randomize(transformer),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def prx(**parts: Any) -> PRXPipeline:
    """Make a PRX pipeline: a T5Gemma, and blocks whose queries are those of the image alone."""
    tokenizer = qwen_tokenizer()
    tokenizer.model_max_length = 16
    torch.manual_seed(0)
    transformer = PRXTransformer2DModel(
        in_channels=4, context_in_dim=WIDTH, hidden_size=32, num_heads=2, depth=2, axes_dim=[8, 8]
    )
    return pipeline(
        PRXPipeline,
        parts,
        vae=autoencoder(4),
        text_encoder=t5gemma(tokenizer),
        tokenizer=tokenizer,
        transformer=randomize(transformer),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def cogview4(**parts: Any) -> CogView4Pipeline:
    """Make a CogView4 pipeline: a GLM, whose texts are padded on the left, and joint attention."""
    tokenizer = glm_tokenizer()
    return pipeline(
        CogView4Pipeline,
        parts,
        vae=autoencoder(4),
        text_encoder=glm(tokenizer),
        tokenizer=tokenizer,
        transformer=cogview4_transformer(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def cogview4_transformer(in_channels: int = 4) -> CogView4Transformer2DModel:
    """Make a CogView4 transformer of two blocks."""
    torch.manual_seed(0)
    return CogView4Transformer2DModel(
        in_channels=in_channels,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        text_embed_dim=WIDTH,
        time_embed_dim=16,
        condition_dim=4,
        sample_size=32,
    ).eval()


def qwen_autoencoder() -> AutoencoderKLQwenImage:
    """Make an autoencoder whose latents have half the side of the image."""
    torch.manual_seed(0)
    return AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1],
        num_res_blocks=1,
        temperal_downsample=[False],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    ).eval()
