"""Networks of `mini-dit`, the built-in Stable Diffusion 3 model, and the export of its pipeline.

| part | class | configuration |
|---|---|---|
| tokenizers | `CLIPTokenizer`, twice | the merges of `mini`; 32 positions, enough for every caption |
| text encoders | `CLIPTextModelWithProjection`, twice | 3 layers of width 64, rows of the second |
| autoencoder | `AutoencoderKL` | that of `mini`: 128 × 128 pixels to 16 × 16 latents of 8 channels |
| denoiser | `SD3Transformer2DModel` | 6 blocks of width 128, normalized queries and keys; 16 × 16 patches |

Training begins with 8 × 8 patches, a quarter as many tokens; `split_patches` then makes them 16 × 16. There
is no T5: the pipeline replaces its rows by `ABSENT_T5_ROWS` rows of zeros.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from diffusers.models.embeddings import get_2d_sincos_pos_embed_from_grid
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from promptweight.conditioning import Advice
from promptweight.mini.training.unet import LATENT_CHANNELS, LATENT_SIZE, write
from promptweight.mini.worlds import FIRST, World

if TYPE_CHECKING:
    from pathlib import Path

    from diffusers import AutoencoderKL
    from diffusers.models.attention_processor import Attention

TEXT_POSITIONS = 32
TEXT_WIDTH = 64  # width of each of the two text encoders
WIDTH = 128
ABSENT_T5_ROWS = 256
SHIFT = 3.0  # shift of the scheduler; values above 1 put more steps at high noise levels
GUIDANCE_SCALE = 2.0  # higher values add a white glow to lines
MAP_BLOCKS = (1, 3, 4)  # blocks whose attention maps are supervised in training and shown to users
ADVICE = Advice(GUIDANCE_SCALE, tuple(f"transformer_blocks.{block}." for block in MAP_BLOCKS))


class JointTextEncoders(nn.Module):
    """Both text encoders, with outputs concatenated in the same way as in `StableDiffusion3Pipeline`."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        config = CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=TEXT_POSITIONS,
            projection_dim=TEXT_WIDTH // 2,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        self.first = CLIPTextModelWithProjection(copy.deepcopy(config))
        self.second = CLIPTextModelWithProjection(copy.deepcopy(config))

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Encode token ids (batch, tokens) as rows (batch, tokens, 128) and a pooled vector (batch, 64)."""
        told = [encoder(ids, output_hidden_states=True) for encoder in (self.first, self.second)]
        rows = torch.cat([each.hidden_states[-2] for each in told], dim=-1)
        return rows.float(), torch.cat([each.text_embeds for each in told], dim=-1).float()


class CountedJointAttention:
    """Joint attention in which the last text row replaces `count` equal rows, with exactly the same result.

    Text rows have no positional embedding in this transformer, so equal rows stay equal from block to block.
    The rows of zeros that replace T5 are therefore computed once and counted `count` times in the softmax.
    """

    to_text: Tensor
    """Attention of patches to the other text rows in the last call (batch, patches, rows), mean of heads."""

    def __init__(self, count: int = ABSENT_T5_ROWS) -> None:
        self.bias = math.log(count)

    def __call__(
        self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: Any
    ) -> tuple[Tensor, Tensor]:
        """Compute attention from image (batch, patches, width) and text (batch, rows, width) to both."""
        patches = hidden_states.shape[1]

        def heads(image: Tensor, text: Tensor, image_norm: Any, text_norm: Any) -> Tensor:
            split = [x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in (image, text)]
            normed = [
                x if norm is None else norm(x) for x, norm in zip(split, (image_norm, text_norm), strict=True)
            ]
            return torch.cat(normed, dim=2)

        query, key, value = (
            heads(
                getattr(attn, f"to_{name}")(hidden_states),
                getattr(attn, f"add_{name}_proj")(encoder_hidden_states),
                getattr(attn, f"norm_{name}", None),
                getattr(attn, f"norm_added_{name}", None),
            )
            for name in "qkv"
        )
        logits = (query @ key.transpose(-1, -2)) * query.shape[-1] ** -0.5
        counts = logits.new_zeros(logits.shape[-1])
        counts[-1] = self.bias
        attention = (logits + counts).softmax(-1)
        self.to_text = attention[:, :, :patches, patches:-1].mean(1)
        joined = (attention @ value).transpose(1, 2).flatten(2)
        image, text = joined[:, :patches], joined[:, patches:]
        return attn.to_out[0](image), text if attn.context_pre_only else attn.to_add_out(text)


def denoiser() -> SD3Transformer2DModel:
    """Create the untrained transformer; every block starts as the identity (Peebles and Xie, 2023)."""
    transformer = SD3Transformer2DModel(
        sample_size=LATENT_SIZE,
        patch_size=2,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=6,
        num_attention_heads=4,
        attention_head_dim=WIDTH // 4,
        joint_attention_dim=2 * TEXT_WIDTH,
        caption_projection_dim=WIDTH,
        pooled_projection_dim=TEXT_WIDTH,
        pos_embed_max_size=16,
        qk_norm="rms_norm",
    )
    modulations = [
        norm.linear for block in transformer.transformer_blocks for norm in (block.norm1, block.norm1_context)
    ]
    for linear in (*modulations, transformer.norm_out.linear, transformer.proj_out):
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
    return transformer


def split_patches(transformer: SD3Transformer2DModel) -> SD3Transformer2DModel:
    """Return a transformer with the same weights and a patch size of 1, for further training.

    The input projection treats a latent as a patch with this value everywhere. The output projection gives a
    latent the mean of the former outputs of its patch. The positional embedding is that of the latent's
    position within its former patch. The number of image tokens grows by a factor of `patch_size²`; the
    largest image size stays the same.
    """
    config = transformer.config
    side = config.patch_size
    split = SD3Transformer2DModel.from_config(
        config, patch_size=1, pos_embed_max_size=config.pos_embed_max_size * side
    )
    weights = transformer.state_dict()
    weights["pos_embed.proj.weight"] = weights["pos_embed.proj.weight"].sum((2, 3), keepdim=True)
    for name in ("proj_out.weight", "proj_out.bias"):  # rows: patch_size × patch_size × channels
        weights[name] = weights[name].unflatten(0, (side, side, -1)).mean((0, 1))
    weights["pos_embed.pos_embed"] = _places_of_split_patches(config)
    split.load_state_dict(weights)
    return split


def _places_of_split_patches(config: Any) -> Tensor:
    """Return positional embeddings (1, max_size², width) of single latents on the grid of larger patches.

    diffusers stores `pos_embed_max_size` positions per axis at a fixed distance, and uses the middle ones.
    """
    side, kept = config.patch_size, config.pos_embed_max_size
    patches = (torch.arange(kept * side, dtype=torch.float64) + 0.5) / side - 0.5
    places = patches * (config.sample_size // side) / kept
    grid = torch.stack(torch.meshgrid(places, places, indexing="xy"))
    width = config.num_attention_heads * config.attention_head_dim
    return get_2d_sincos_pos_embed_from_grid(width, grid[:, None], output_type="pt")[None].float()


def scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Create the scheduler of Stable Diffusion 3: a straight flow with small steps at high noise levels."""
    return FlowMatchEulerDiscreteScheduler(shift=SHIFT)


def shorten(tokenizer: CLIPTokenizer) -> CLIPTokenizer:
    """Return a copy of the tokenizer with the maximum length of this model, `TEXT_POSITIONS`."""
    shorter = copy.deepcopy(tokenizer)
    shorter.model_max_length = TEXT_POSITIONS
    return shorter


def save_pipeline(
    folder: Path,
    tokenizer: CLIPTokenizer,
    encoders: JointTextEncoders,
    vae: AutoencoderKL,
    transformer: SD3Transformer2DModel,
    world: World = FIRST,
) -> None:
    """Write a `StableDiffusion3Pipeline` folder in half precision, safetensors only."""
    vae.register_to_config(shift_factor=0.0)
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer.half(),
        scheduler=scheduler(),
        vae=vae.half(),
        text_encoder=encoders.first.half(),
        tokenizer=tokenizer,
        text_encoder_2=encoders.second.half(),
        tokenizer_2=tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )
    write(pipeline, folder, ADVICE, world)
