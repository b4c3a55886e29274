"""Training recipes of the built-in models: their networks, loss and pipeline export."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from diffusers import StableDiffusion3Pipeline, StableDiffusionPipeline
from diffusers.models.attention_processor import AttnProcessor

from promptweight.mini import worlds
from promptweight.mini.training import mmdit, unet
from promptweight.mini.training.denoiser import DenoisingLoss, FlowLoss, VelocityLoss
from promptweight.mini.training.embeddings import carry_over
from promptweight.mini.vocabulary import nearest_in
from promptweight.mini.worlds import FIRST, World

if TYPE_CHECKING:
    from pathlib import Path

    from diffusers import AutoencoderKL
    from torch import nn
    from transformers import CLIPTokenizer


@dataclass
class Networks:
    """The trained parts of a model."""

    tokenizer: CLIPTokenizer
    vae: AutoencoderKL
    text: nn.Module
    denoiser: Any
    world: World = FIRST


class Recipe(ABC):
    """Base class of the recipes: everything that differs between the built-in models."""

    pipeline: Any
    absent: ClassVar[dict[str, None]] = {}
    """Components of the pipeline that the model does not have."""

    @abstractmethod
    def make(self, tokenizer: CLIPTokenizer, vae: AutoencoderKL) -> Networks:
        """Create the untrained networks for a tokenizer and an autoencoder."""

    @abstractmethod
    def take(self, pipeline: Any) -> Networks:
        """Return the networks of a pipeline."""

    @abstractmethod
    def loss(self, parts: Networks) -> DenoisingLoss:
        """Return the loss that trains the denoiser."""

    @abstractmethod
    def save(self, folder: Path, parts: Networks) -> None:
        """Write the pipeline folder."""

    def load(self, folder: Path) -> Networks:
        """Load the networks of an earlier pipeline folder."""
        parts = self.take(
            self.pipeline.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, **self.absent)
        )
        parts.world = worlds.read(folder) or FIRST
        return parts

    @abstractmethod
    def encoders(self, parts: Networks) -> list[Any]:
        """Return the text encoders, as models of the transformers library."""

    def put_tokenizer(self, parts: Networks, tokenizer: CLIPTokenizer) -> None:
        """Replace the tokenizer; must be called before `parts.world` is replaced.

        The encoders keep the embeddings of the tokens that both tokenizers have.
        """
        for encoder in self.encoders(parts):
            carry_over(encoder, parts.tokenizer, tokenizer, nearest_in(parts.world))
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.model_max_length = parts.tokenizer.model_max_length
        parts.tokenizer = tokenizer


class Mini(Recipe):
    """Recipe of `mini`: Stable Diffusion, a UNet with cross-attention."""

    pipeline = StableDiffusionPipeline

    def make(self, tokenizer: CLIPTokenizer, vae: AutoencoderKL) -> Networks:
        """Create the untrained networks."""
        text = unet.LastRows(unet.text_encoder(tokenizer))
        return Networks(tokenizer, vae, text, unet.denoiser())

    def take(self, pipeline: Any) -> Networks:
        """Return the networks of a `StableDiffusionPipeline`."""
        text = unet.LastRows(pipeline.text_encoder)
        return Networks(pipeline.tokenizer, pipeline.vae, text, pipeline.unet)

    def loss(self, parts: Networks) -> DenoisingLoss:
        """Return the velocity loss."""
        # trains faster than the fused kernel with heads this small
        parts.denoiser.set_attn_processor(AttnProcessor())
        return VelocityLoss(parts.text, parts.denoiser, parts.tokenizer)

    def save(self, folder: Path, parts: Networks) -> None:
        """Write a `StableDiffusionPipeline` folder."""
        assert isinstance(parts.text, unet.LastRows)
        unet.save_pipeline(
            folder, parts.tokenizer, parts.text.encoder, parts.vae, parts.denoiser, parts.world
        )

    def encoders(self, parts: Networks) -> list[Any]:
        """Return the single text encoder."""
        return [parts.text.encoder]


class MiniDit(Recipe):
    """Recipe of `mini-dit`: Stable Diffusion 3, a transformer with joint attention."""

    pipeline = StableDiffusion3Pipeline
    absent: ClassVar[dict[str, None]] = {"text_encoder_3": None, "tokenizer_3": None}

    def make(self, tokenizer: CLIPTokenizer, vae: AutoencoderKL) -> Networks:
        """Create the untrained networks."""
        tokenizer = mmdit.shorten(tokenizer)
        text = mmdit.JointTextEncoders(tokenizer)
        return Networks(tokenizer, vae, text, mmdit.denoiser())

    def take(self, pipeline: Any) -> Networks:
        """Return the networks of a `StableDiffusion3Pipeline`."""
        text = mmdit.JointTextEncoders(pipeline.tokenizer)
        text.first, text.second = pipeline.text_encoder, pipeline.text_encoder_2
        return Networks(pipeline.tokenizer, pipeline.vae, text, pipeline.transformer)

    def loss(self, parts: Networks) -> DenoisingLoss:
        """Return the flow loss."""
        parts.denoiser.set_attn_processor(
            {name: mmdit.CountedJointAttention() for name in parts.denoiser.attn_processors}
        )
        return FlowLoss(parts.text, parts.denoiser, parts.tokenizer)

    def save(self, folder: Path, parts: Networks) -> None:
        """Write a `StableDiffusion3Pipeline` folder."""
        assert isinstance(parts.text, mmdit.JointTextEncoders)
        mmdit.save_pipeline(folder, parts.tokenizer, parts.text, parts.vae, parts.denoiser, parts.world)

    def encoders(self, parts: Networks) -> list[Any]:
        """Return both text encoders."""
        return [parts.text.first, parts.text.second]


RECIPES: dict[str, Recipe] = {"mini": Mini(), "mini-dit": MiniDit()}
