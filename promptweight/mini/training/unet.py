"""Networks of `mini`, small enough for a repository, and the export of its pipeline.

| part | class | configuration |
|---|---|---|
| tokenizer | `CLIPTokenizer` | merges learned from the captions, whole byte alphabet: encodes any text |
| text encoder | `CLIPTextModel` | 2 layers of width 128 |
| autoencoder | `AutoencoderKL` | 128 × 128 pixels to 16 × 16 latents of 8 channels |
| denoiser | `UNet2DConditionModel` | 3 resolutions; cross-attention at 16 × 16 (up blocks), 8 × 8, 4 × 4 |
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from promptweight.conditioning import Advice
from promptweight.mini.worlds import FIRST, World

if TYPE_CHECKING:
    from pathlib import Path

BLOCKS = {64: (16, 32, 64), 128: (16, 16, 32, 64)}  # channels of the autoencoder by image size
LATENT_SIZE = 16
LATENT_CHANNELS = 8
TEXT_WIDTH = 128
TEXT_POSITIONS = 77
GUIDANCE_SCALE = 4.5  # recommended value, saved with the pipeline


def train_tokenizer(captions: Iterable[str], merges: int = 700) -> CLIPTokenizer:
    """Train a byte-pair tokenizer on captions; the vocabulary holds every byte, within and ending a word."""
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    blank = CLIPTokenizer()
    learner = Tokenizer(BPE(end_of_word_suffix="</w>"))
    learner.normalizer = blank.backend_tokenizer.normalizer
    learner.pre_tokenizer = blank.backend_tokenizer.pre_tokenizer
    trainer = BpeTrainer(
        vocab_size=2 * len(alphabet) + merges,
        end_of_word_suffix="</w>",
        initial_alphabet=alphabet,
        show_progress=False,
    )
    learner.train_from_iterator(captions, trainer)
    learnt: Any = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    pieces = [*alphabet, *(letter + "</w>" for letter in alphabet), *(left + right for left, right in learnt)]
    pieces = list(dict.fromkeys([*pieces, "<|startoftext|>", "<|endoftext|>"]))
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocabulary, merges=learnt, model_max_length=TEXT_POSITIONS)


class LastRows(nn.Module):
    """Text encoder with the last hidden state as its output, as in Stable Diffusion."""

    def __init__(self, encoder: CLIPTextModel) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Tensor) -> tuple[Tensor, None]:
        """Encode token ids (batch, tokens) as rows (batch, tokens, width), without a pooled vector."""
        return self.encoder(ids).last_hidden_state.float(), None


def text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Create the untrained text encoder for a tokenizer."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TEXT_POSITIONS,
        projection_dim=TEXT_WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def autoencoder(size: int = 128) -> AutoencoderKL:
    """Create the untrained autoencoder for images of `size` pixels.

    It has no attention, because the images consist of flat shapes.
    """
    blocks = BLOCKS[size]
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(blocks),
        up_block_types=("UpDecoderBlock2D",) * len(blocks),
        block_out_channels=blocks,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=size,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )


def denoiser() -> UNet2DConditionModel:
    """Create the untrained denoiser; in this class `attention_head_dim` is the number of heads."""
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(64, 96, 96),
        layers_per_block=1,
        norm_num_groups=16,
        attention_head_dim=4,
        cross_attention_dim=TEXT_WIDTH,
    )


def scheduler() -> DDIMScheduler:
    """Create the scheduler: Stable Diffusion's schedule with zero signal at the last step, for velocity."""
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def save_pipeline(
    folder: Path,
    tokenizer: CLIPTokenizer,
    encoder: CLIPTextModel,
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    world: World = FIRST,
) -> None:
    """Write a `StableDiffusionPipeline` folder in half precision, safetensors only."""
    pipeline = StableDiffusionPipeline(
        vae=vae.half(),
        text_encoder=encoder.half(),
        tokenizer=tokenizer,
        unet=unet.half(),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    write(pipeline, folder, Advice(GUIDANCE_SCALE, traces_words=True), world)


def write(pipeline: DiffusionPipeline, folder: Path, advice: Advice, world: World) -> None:
    """Write a pipeline folder, safetensors only, with advice and the model's world in `promptweight.json`.

    The source folders of the networks, which diffusers writes into the configurations, are removed.
    """
    pipeline.save_pretrained(folder, safe_serialization=True)
    for path in folder.glob("*/config.json"):
        config = json.loads(path.read_text())
        if config.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(config, indent=2) + "\n")
    content = advice.to_json() | {"world": world.to_json()}
    (folder / "promptweight.json").write_text(json.dumps(content) + "\n")
