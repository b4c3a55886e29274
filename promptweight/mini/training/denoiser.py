"""Stage three: text encoder and denoiser learn together to draw what a caption says.

Two ways of saying what the denoiser has to tell: the velocity of a diffusion (`VelocityLoss`, the UNet) and
the direction of a straight flow from noise to picture (`FlowLoss`, the transformer). Both see more of the
noise levels at which places and shapes are decided than of the rest.
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

GROUNDED_BELOW = 0.9  # noise levels at which it shows where things are, more or less
COVERED_WEIGHT = 1.5  # how much more things count than empty ground once the layout stands out of the noise


@dataclass(frozen=True)
class NoiseLevels:
    """How much latents are noised: `noisy = signal · latents + sigma · noise`."""

    signal: Tensor
    """(batch, 1, 1, 1)."""
    sigma: Tensor
    """(batch, 1, 1, 1), above 0."""
    timesteps: Tensor
    """(batch,), as the denoiser is told them."""
    laid_out: Tensor
    """Whether the layout stands out of the noise (batch, 1, 1, 1)."""


class DenoisingLoss(nn.Module):
    """Squared error of what the denoiser tells of noised latents, plus what keeps the padding silent.

    Where all placements of a scene are known it has to tell their mean, given the noised latents.
    """

    guidance_scale: float
    """What the sheets are drawn with."""
    grounding = 0.0
    """The weight of attention that lies beside what its words name."""

    def __init__(self, text: nn.Module, denoiser: nn.Module, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.rows, self.denoiser = PromptRows(text, tokenizer), denoiser

    @abstractmethod
    def schedule(self) -> Any:
        """Return the scheduler that draws with this denoiser."""

    @abstractmethod
    def draw_levels(self, number: int, device: torch.device) -> NoiseLevels:
        """Draw how much a batch is noised."""

    @abstractmethod
    def wanted(self, latents: Tensor, noise: Tensor, levels: NoiseLevels) -> Tensor:
        """Return what the denoiser should tell of these latents with this noise, in their shape."""

    def noised(self, batch: Batch) -> tuple[Batch, Tensor, NoiseLevels]:
        """Return a batch, its latents noised, and how much."""
        latents = batch["latents"]
        levels = self.draw_levels(len(latents), latents.device)
        return batch, levels.signal * latents + levels.sigma * torch.randn_like(latents), levels

    def go_on(self, noisy: Tensor, told: Tensor, levels: NoiseLevels) -> None:
        """Take what is told of a batch further, where anything is made of it."""

    def misplaced(self, batch: Batch, spoken: Spoken, levels: NoiseLevels) -> Tensor:
        """Return how far attention lies from what its words name (`grounding.misplaced`)."""
        raise NotImplementedError(f"{type(self).__name__} cannot see the attention of its denoiser")

    @abstractmethod
    def tell(self, noisy: Tensor, timesteps: Tensor, rows: Tensor, pooled: Tensor | None) -> Tensor:
        """Return what the denoiser tells of noised latents, in their shape."""

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of latents, captions and places of things."""
        batch, noisy, levels = self.noised(batch)
        mean = posterior_mean(noisy, levels.signal, levels.sigma, batch["placements"], batch["known"])
        mean_noise = (noisy - levels.signal * mean) / levels.sigma
        wanted = self.wanted(mean, mean_noise, levels)
        spoken = self.rows(batch["ids"], batch["unsaid"], batch.get("walking"))
        told = self.tell(noisy, levels.timesteps, spoken.rows, spoken.pooled).float()
        self.go_on(noisy, told, levels)
        weight = 1 + COVERED_WEIGHT * batch["covered"][:, None] * levels.laid_out
        missed = (weight * (told - wanted).square()).mean()
        loss = missed + spoken.loudness
        return loss + self.grounding * self.misplaced(batch, spoken, levels) if self.grounding else loss


class VelocityLoss(DenoisingLoss):
    """The velocity of a diffusion (Salimans and Ho, 2022), told by a UNet."""

    guidance_scale = unet.GUIDANCE_SCALE
    signal: Tensor

    def __init__(self, text: nn.Module, denoiser: nn.Module, tokenizer: CLIPTokenizer) -> None:
        super().__init__(text, denoiser, tokenizer)
        self.register_buffer("signal", self.schedule().alphas_cumprod.float(), persistent=False)

    def schedule(self) -> Any:
        """Return the scheduler of `mini`."""
        return unet.scheduler()

    def draw_levels(self, number: int, device: torch.device) -> NoiseLevels:
        """Mixes in noise so that the variance stays."""
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
        """Ask the UNet."""
        assert pooled is None, "a Stable Diffusion UNet takes no pooled vector"
        return self.denoiser(noisy, timesteps, rows).sample


class FlowLoss(DenoisingLoss):
    """The direction of a straight path from noise to picture (Liu et al., 2022), told by a transformer."""

    guidance_scale = mmdit.GUIDANCE_SCALE
    walks: Walks | None = None
    """Rows of every batch that are pictures which the denoiser itself is drawing."""

    def schedule(self) -> Any:
        """Return the scheduler of `mini-dit`."""
        return mmdit.scheduler()

    def draw_levels(self, number: int, device: torch.device) -> NoiseLevels:
        """Go a share of the way from picture to noise.

        Which of two things comes where is decided above 0.93, where exactly it stands above 0.78; both are
        hard to learn, and two thirds of the shares are there.
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
        """Return the direction from picture to noise."""
        return noise - latents

    def noised(self, batch: Batch) -> tuple[Batch, Tensor, NoiseLevels]:
        """Put the walks among the noised latents."""
        batch, noisy, levels = super().noised(batch)
        if self.walks is None:
            return batch, noisy, levels
        batch, noisy, sigma = self.walks.join(batch, noisy, levels.sigma)
        is_told = ~batch["walking"]  # where its things stand is known of these rows alone
        batch["named"] = batch["named"] * is_told[:, None]
        laid_out = levels.laid_out & is_told[:, None, None, None]
        return batch, noisy, NoiseLevels(1 - sigma, sigma, 1000 * sigma.flatten(), laid_out)

    def go_on(self, noisy: Tensor, told: Tensor, levels: NoiseLevels) -> None:
        """Let the walks take a step."""
        if self.walks is not None:
            self.walks.go_on(noisy, told, levels.sigma)

    def tell(self, noisy: Tensor, timesteps: Tensor, rows: Tensor, pooled: Tensor | None) -> Tensor:
        """Ask the transformer; one row of zeros stands for all of those in T5's place."""
        absent = rows.new_zeros(len(rows), 1, rows.shape[-1])
        rows = torch.cat([rows, absent], dim=1)
        return self.denoiser(noisy, rows, pooled, timesteps).sample

    def misplaced(self, batch: Batch, spoken: Spoken, levels: NoiseLevels) -> Tensor:
        """Look at the blocks that maps are read from, where things begin to stand out of the noise."""
        denoiser: Any = self.denoiser
        blocks = [denoiser.transformer_blocks[index] for index in mmdit.MAP_BLOCKS]
        attention = torch.stack([block.attn.processor.to_text for block in blocks]).mean(0)
        named = batch["named"] * spoken.is_said * (levels.sigma.flatten(1) < GROUNDED_BELOW)
        areas = F.avg_pool2d(batch["areas"], denoiser.config.patch_size)
        return attention_loss.misplaced(attention, named, areas)


def _as_map(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def draw_sheet(
    vae: AutoencoderKL, tokenizer: CLIPTokenizer, prompts: Sequence[str]
) -> Callable[[nn.Module, Path], None]:
    """Return the function that draws prompts, four seeds each, 25 steps."""

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
    """Return the stage that brings `loss` down, with more of the scenes that are hardest to learn."""
    batches = draw_batch(encoded, tokenizer, shares, world)
    return Stage("denoiser", loss, batches, draw_sheet(vae, tokenizer, sheet_prompts(world)))
