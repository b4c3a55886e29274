"""Training stage three: text encoder and denoiser, trained together on captioned scenes.

There are two losses, one per prediction type: the velocity of a diffusion (`VelocityLoss`, the UNet) and the
direction of a straight flow from noise to image (`FlowLoss`, the transformer). Both sample the noise levels
that determine positions and shapes more often than the rest.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPTokenizer

from promptweight.mini.training import attention_loss, mmdit, unet
from promptweight.mini.training.data import EncodedScenes, Shares, draw_batch, save_sheet, sheet_prompts
from promptweight.mini.training.posterior import posterior_mean
from promptweight.mini.training.rollouts import Walks
from promptweight.mini.training.text_encoder import PromptRows, Spoken
from promptweight.mini.training.trainer import Batch, Stage
from promptweight.mini.training.unet import LATENT_CHANNELS, LATENT_SIZE
from promptweight.mini.worlds import FIRST, World

GROUNDED_BELOW = 0.9  # noise level below which the positions of objects are roughly visible
COVERED_WEIGHT = 1.5  # extra weight of objects over empty background once the layout is visible in the noise


@dataclass(frozen=True)
class NoiseLevels:
    """Noise levels of a batch: `noisy = signal · latents + sigma · noise`."""

    signal: Tensor
    """(batch, 1, 1, 1)."""
    sigma: Tensor
    """(batch, 1, 1, 1), above 0."""
    timesteps: Tensor
    """(batch,), as the denoiser receives them."""
    laid_out: Tensor
    """True where the layout is visible in the noise (batch, 1, 1, 1)."""


class DenoisingLoss(nn.Module):
    """Squared error of the denoiser's prediction, plus the padding loss of `PromptRows`.

    For scenes with all placements encoded, the target is the mean of the placements given the noised latents
    (`posterior_mean`).
    """

    guidance_scale: float
    """Guidance scale of the sample sheets."""

    def __init__(self, text: nn.Module, denoiser: nn.Module, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.rows, self.denoiser = PromptRows(text, tokenizer), denoiser

    @abstractmethod
    def schedule(self) -> Any:
        """Return the scheduler that samples with this denoiser."""

    @abstractmethod
    def draw_levels(self, number: int, device: torch.device) -> NoiseLevels:
        """Sample the noise levels of a batch."""

    @abstractmethod
    def wanted(self, latents: Tensor, noise: Tensor, levels: NoiseLevels) -> Tensor:
        """Return the target of the prediction for these latents and this noise, in their shape."""

    def noised(self, batch: Batch) -> tuple[Batch, Tensor, NoiseLevels]:
        """Return a batch, its noised latents and their noise levels."""
        latents = batch["latents"]
        levels = self.draw_levels(len(latents), latents.device)
        return batch, levels.signal * latents + levels.sigma * torch.randn_like(latents), levels

    def go_on(self, noisy: Tensor, told: Tensor, levels: NoiseLevels) -> None:
        """Advance the rollouts by the predictions `told` of a batch; without rollouts do nothing."""

    def attention_penalty(self, _batch: Batch, spoken: Spoken, _levels: NoiseLevels) -> Tensor:
        """Return the weighted loss of the attention in the last prediction; 0 where it is not trained."""
        return spoken.loudness.new_zeros(())

    @abstractmethod
    def tell(self, noisy: Tensor, timesteps: Tensor, rows: Tensor, pooled: Tensor | None) -> Tensor:
        """Return the denoiser's prediction for noised latents, in their shape."""

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of latents, captions and object areas."""
        batch, noisy, levels = self.noised(batch)
        mean = posterior_mean(noisy, levels.signal, levels.sigma, batch["placements"], batch["known"])
        mean_noise = (noisy - levels.signal * mean) / levels.sigma
        wanted = self.wanted(mean, mean_noise, levels)
        spoken = self.rows(batch["ids"], batch["unsaid"], batch.get("walking"))
        told = self.tell(noisy, levels.timesteps, spoken.rows, spoken.pooled).float()
        self.go_on(noisy, told, levels)
        weight = 1 + COVERED_WEIGHT * batch["covered"][:, None] * levels.laid_out
        missed = (weight * (told - wanted).square()).mean()
        return missed + spoken.loudness + self.attention_penalty(batch, spoken, levels)


class VelocityLoss(DenoisingLoss):
    """Loss of a UNet that predicts the velocity of a diffusion (Salimans and Ho, 2022)."""

    guidance_scale = unet.GUIDANCE_SCALE
    signal: Tensor

    def __init__(self, text: nn.Module, denoiser: nn.Module, tokenizer: CLIPTokenizer) -> None:
        super().__init__(text, denoiser, tokenizer)
        self.register_buffer("signal", self.schedule().alphas_cumprod.float(), persistent=False)

    def schedule(self) -> Any:
        """Return the scheduler of `mini`."""
        return unet.scheduler()

    def draw_levels(self, number: int, device: torch.device) -> NoiseLevels:
        """Sample timesteps of a variance-preserving diffusion: `signal² + sigma² = 1`."""
        anywhere = torch.rand(number, device=device) * 1000
        early = 700 + 300 * torch.rand(number, device=device)
        middle = 560 + 220 * torch.randn(number, device=device)
        draw = torch.rand(number, device=device)
        chosen = torch.where(draw < 0.45, early, torch.where(draw < 0.9, middle, anywhere))
        timesteps = torch.where((chosen >= 0) & (chosen < 1000), chosen, anywhere).long()
        signal, laid_out = _as_map(self.signal[timesteps]), _as_map(timesteps < 600)
        return NoiseLevels(signal.sqrt(), (1 - signal).sqrt(), timesteps, laid_out)

    def wanted(self, latents: Tensor, noise: Tensor, levels: NoiseLevels) -> Tensor:
        """Return the velocity."""
        return levels.signal * noise - levels.sigma * latents

    def tell(self, noisy: Tensor, timesteps: Tensor, rows: Tensor, pooled: Tensor | None) -> Tensor:
        """Return the prediction of the UNet."""
        assert pooled is None, "a Stable Diffusion UNet takes no pooled vector"
        return self.denoiser(noisy, timesteps, rows).sample


class FlowLoss(DenoisingLoss):
    """Loss of a transformer that predicts a straight flow from noise to image (Liu et al., 2022)."""

    guidance_scale = mmdit.GUIDANCE_SCALE
    grounding = 0.0
    """Weight of the attention loss (`attention_loss.misplaced`)."""
    walks: Walks | None = None
    """Rollouts of the denoiser that replace rows of every batch; None for none."""

    def schedule(self) -> Any:
        """Return the scheduler of `mini-dit`."""
        return mmdit.scheduler()

    def draw_levels(self, number: int, device: torch.device) -> NoiseLevels:
        """Sample sigma, the share of noise on the straight path from image to noise.

        Noise levels above 0.93 determine the order of two objects, those above 0.78 their exact positions.
        Both are hard to learn, so two thirds of the samples are in these ranges.
        """
        anywhere = torch.rand(number, device=device)
        first = 0.93 + 0.07 * torch.rand(number, device=device)
        early = 0.78 + 0.15 * torch.rand(number, device=device)
        middle = 0.65 + 0.18 * torch.randn(number, device=device)
        draw = torch.rand(number, device=device)
        later = torch.where(draw < 0.68, early, torch.where(draw < 0.9, middle, anywhere))
        chosen = torch.where(draw < 0.18, first, later)
        sigma = torch.where((chosen >= 0) & (chosen <= 1), chosen, anywhere).clamp(min=1e-3)
        return NoiseLevels(_as_map(1 - sigma), _as_map(sigma), 1000 * sigma, _as_map(sigma < 0.75))

    def wanted(self, latents: Tensor, noise: Tensor, _levels: NoiseLevels) -> Tensor:
        """Return the direction from image to noise."""
        return noise - latents

    def noised(self, batch: Batch) -> tuple[Batch, Tensor, NoiseLevels]:
        """Noise the latents and replace rows of the batch by rollouts."""
        batch, noisy, levels = super().noised(batch)
        if self.walks is None:
            return batch, noisy, levels
        batch, noisy, sigma = self.walks.join(batch, noisy, levels.sigma)
        is_told = ~batch["walking"]  # only these rows have known object positions
        batch["named"] = batch["named"] * is_told[:, None]
        laid_out = levels.laid_out & is_told[:, None, None, None]
        return batch, noisy, NoiseLevels(1 - sigma, sigma, 1000 * sigma.flatten(), laid_out)

    def go_on(self, noisy: Tensor, told: Tensor, levels: NoiseLevels) -> None:
        """Advance the rollouts by one step."""
        if self.walks is not None:
            self.walks.go_on(noisy, told, levels.sigma)

    def tell(self, noisy: Tensor, timesteps: Tensor, rows: Tensor, pooled: Tensor | None) -> Tensor:
        """Return the prediction of the transformer; one row of zeros replaces all rows of the absent T5."""
        absent = rows.new_zeros(len(rows), 1, rows.shape[-1])
        rows = torch.cat([rows, absent], dim=1)
        return self.denoiser(noisy, rows, pooled, timesteps).sample

    def attention_penalty(self, batch: Batch, spoken: Spoken, levels: NoiseLevels) -> Tensor:
        """Return the attention loss of `mmdit.MAP_BLOCKS` at noise levels below `GROUNDED_BELOW`."""
        if not self.grounding:
            return super().attention_penalty(batch, spoken, levels)
        denoiser: Any = self.denoiser
        blocks = [denoiser.transformer_blocks[index] for index in mmdit.MAP_BLOCKS]
        attention = torch.stack([block.attn.processor.to_text for block in blocks]).mean(0)
        named = batch["named"] * spoken.is_said * (levels.sigma.flatten(1) < GROUNDED_BELOW)
        areas = F.avg_pool2d(batch["areas"], denoiser.config.patch_size)
        return self.grounding * attention_loss.misplaced(attention, named, areas)


def _as_map(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def draw_sheet(
    vae: AutoencoderKL, tokenizer: CLIPTokenizer, prompts: Sequence[str]
) -> Callable[[nn.Module, Path], None]:
    """Return a function that saves samples of prompts: four seeds per prompt, 25 steps."""

    @torch.no_grad()
    def draw(module: nn.Module, path: Path) -> None:
        assert isinstance(module, DenoisingLoss)
        schedule, seeds = module.schedule(), 4
        schedule.set_timesteps(25)
        texts = [text for text in prompts for _ in range(seeds)]
        ids = tokenizer([*[""] * len(texts), *texts], padding="max_length", return_tensors="pt").input_ids
        device = module.rows.empty.device
        rows, pooled = module.rows.text(ids.to(device))
        noise = torch.randn(seeds, LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE, generator=torch.manual_seed(1))
        latents = noise.repeat(len(prompts), 1, 1, 1).to(device)
        for timestep in schedule.timesteps:
            both = module.tell(torch.cat([latents] * 2), timestep.expand(len(ids)), rows, pooled)
            without, with_text = both.chunk(2)
            guided = without + module.guidance_scale * (with_text - without)
            latents = schedule.step(guided, timestep, latents).prev_sample
        save_sheet(vae, latents, path)

    return draw


def stage(
    loss: DenoisingLoss,
    encoded: EncodedScenes,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    shares: Shares,
    world: World = FIRST,
) -> Stage:
    """Return the stage that minimizes `loss`, with the given shares of the scenes that are hard to learn."""
    batches = draw_batch(encoded, tokenizer, shares, world)
    return Stage("denoiser", loss, batches, draw_sheet(vae, tokenizer, sheet_prompts(world)))
