"""Stage three: text encoder and denoiser learn together to draw what a caption says.

Two ways of saying what the denoiser has to tell: the velocity of a diffusion (`VelocityLoss`, the UNet) and
the direction of a straight flow from noise to picture (`FlowLoss`, the transformer). Both see more of the
noise levels at which places and shapes are decided than of the rest.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPTokenizer

from promptweight.mini import joint_networks, networks
from promptweight.mini.data import SHEET_PROMPTS, EncodedScenes, Shares, draw_batch, save_sheet
from promptweight.mini.learn_text import PromptRows
from promptweight.mini.loop import Batch, Stage
from promptweight.mini.networks import GUIDANCE_SCALE, LATENT_CHANNELS, LATENT_SIZE

COVERED_WEIGHT = 1.5  # how much more things count than empty ground once the layout stands out of the noise


class DenoisingLoss(nn.Module):
    """Squared error of what the denoiser tells of noised latents, plus what keeps the padding silent."""

    def __init__(self, text: nn.Module, denoiser: nn.Module, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.rows, self.denoiser = PromptRows(text, tokenizer), denoiser

    @abstractmethod
    def schedule(self) -> Any:
        """Returns the scheduler that draws with this denoiser."""

    @abstractmethod
    def noise(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Noises latents (batch, 8, 16, 16).

        Returns:
            The noised latents, what the denoiser should tell of them, the timesteps (batch,) and whether the
            layout stands out of the noise (batch,).
        """

    @abstractmethod
    def tell(self, noisy: Tensor, timesteps: Tensor, rows: Tensor, pooled: Tensor | None) -> Tensor:
        """Returns what the denoiser tells of noised latents, in their shape."""

    def forward(self, batch: Batch) -> Tensor:
        """Returns the loss of a batch of latents, captions and places of things."""
        noisy, wanted, timesteps, laid_out = self.noise(batch["latents"])
        spoken = self.rows(batch["ids"])
        told = self.tell(noisy, timesteps, spoken.rows, spoken.pooled).float()
        weight = 1 + COVERED_WEIGHT * batch["covered"][:, None] * laid_out[:, None, None, None]
        return (weight * (told - wanted).square()).mean() + spoken.loudness


class VelocityLoss(DenoisingLoss):
    """The velocity of a diffusion (Salimans and Ho, 2022), told by a UNet."""

    signal: Tensor

    def __init__(self, text: nn.Module, denoiser: nn.Module, tokenizer: CLIPTokenizer) -> None:
        super().__init__(text, denoiser, tokenizer)
        self.register_buffer("signal", self.schedule().alphas_cumprod.float(), persistent=False)

    def schedule(self) -> Any:
        """Returns the scheduler of `mini`."""
        return networks.scheduler()

    def noise(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mixes in noise so that the variance stays."""
        number, device = len(latents), latents.device
        anywhere = torch.rand(number, device=device) * 1000
        early = 700 + 300 * torch.rand(number, device=device)
        middle = 560 + 220 * torch.randn(number, device=device)
        draw = torch.rand(number, device=device)
        chosen = torch.where(draw < 0.45, early, torch.where(draw < 0.9, middle, anywhere))
        timesteps = torch.where((chosen >= 0) & (chosen < 1000), chosen, anywhere).long()
        noise = torch.randn_like(latents)
        signal = self.signal[timesteps][:, None, None, None]
        noisy = signal.sqrt() * latents + (1 - signal).sqrt() * noise
        velocity = signal.sqrt() * noise - (1 - signal).sqrt() * latents
        return noisy, velocity, timesteps, timesteps < 600

    def tell(self, noisy: Tensor, timesteps: Tensor, rows: Tensor, pooled: Tensor | None) -> Tensor:
        """Asks the UNet."""
        assert pooled is None, "a Stable Diffusion UNet takes no pooled vector"
        return self.denoiser(noisy, timesteps, rows).sample


class FlowLoss(DenoisingLoss):
    """The direction of a straight path from noise to picture (Liu et al., 2022), told by a transformer."""

    def schedule(self) -> Any:
        """Returns the scheduler of `mini-dit`."""
        return joint_networks.scheduler()

    def noise(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Goes a share of the way from picture to noise.

        Which of two things comes where is decided above 0.9, where exactly it stands above 0.8; both are hard
        to learn, and more than half of the shares are there.
        """
        number, device = len(latents), latents.device
        anywhere = torch.rand(number, device=device)
        early = 0.8 + 0.2 * torch.rand(number, device=device)
        middle = 0.65 + 0.18 * torch.randn(number, device=device)
        draw = torch.rand(number, device=device)
        chosen = torch.where(draw < 0.55, early, torch.where(draw < 0.9, middle, anywhere))
        sigma = torch.where((chosen >= 0) & (chosen <= 1), chosen, anywhere)
        noise = torch.randn_like(latents)
        noisy = torch.lerp(latents, noise, sigma[:, None, None, None])
        return noisy, noise - latents, 1000 * sigma, sigma < 0.75

    def tell(self, noisy: Tensor, timesteps: Tensor, rows: Tensor, pooled: Tensor | None) -> Tensor:
        """Asks the transformer; one row of zeros stands for all of those in T5's place."""
        absent = rows.new_zeros(len(rows), 1, rows.shape[-1])
        rows = torch.cat([rows, absent], dim=1)
        return self.denoiser(noisy, rows, pooled, timesteps).sample


def draw_sheet(vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> Callable[[nn.Module, Path], None]:
    """Returns the function that draws the prompts of the sheet, four seeds each, 25 steps."""

    @torch.no_grad()
    def draw(module: nn.Module, path: Path) -> None:
        assert isinstance(module, DenoisingLoss)
        schedule, seeds = module.schedule(), 4
        schedule.set_timesteps(25)
        texts = [text for text in SHEET_PROMPTS for _ in range(seeds)]
        ids = tokenizer([*[""] * len(texts), *texts], padding="max_length", return_tensors="pt").input_ids
        device = module.rows.empty.device
        rows, pooled = module.rows.text(ids.to(device))
        noise = torch.randn(seeds, LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE, generator=torch.manual_seed(1))
        latents = noise.repeat(len(SHEET_PROMPTS), 1, 1, 1).to(device)
        for timestep in schedule.timesteps:
            both = module.tell(torch.cat([latents] * 2), timestep.expand(len(ids)), rows, pooled)
            without, with_text = both.chunk(2)
            guided = without + GUIDANCE_SCALE * (with_text - without)
            latents = schedule.step(guided, timestep, latents).prev_sample
        save_sheet(vae, latents, path)

    return draw


def stage(
    loss: DenoisingLoss,
    encoded: EncodedScenes,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    shares: Shares,
) -> Stage:
    """Returns the stage that brings `loss` down, with more of the scenes that are hardest to learn."""
    batches = draw_batch(encoded, tokenizer, shares)
    return Stage("denoiser", loss, batches, draw_sheet(vae, tokenizer))
