"""Stage one: the autoencoder learns to carry pictures through 16 × 16 latents and back."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from promptweight.mini.scenes import crowded_scene, random_scene, render, to_image
from promptweight.mini.training.trainer import Batch, Stage

LATENT_NOISE = 0.1  # of the latents' own spread: what the decoder learns to forgive
FOREGROUND_WEIGHT = 4.0


def to_pixels(pictures: list[np.ndarray]) -> Tensor:
    """Stacks uint8 pictures (height, width, 3) into (batch, 3, height, width) with values -1 to 1."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def draw_batch(rng: Random, size: int) -> Batch:
    """Draws pictures and the weight of each pixel, larger where there is a thing."""
    drawn = [render(random_scene(rng) if rng.random() < 0.4 else crowded_scene(rng)) for _ in range(size)]
    masks = torch.from_numpy(np.stack([masks.max(0) for _, masks in drawn]))[:, None]
    return {
        "pixels": to_pixels([picture for picture, _ in drawn]),
        "weight": 1 + (FOREGROUND_WEIGHT - 1) * masks,
    }


class ReconstructionLoss(nn.Module):
    """Absolute and squared error of the picture decoded from noisy latents."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, batch: Batch) -> Tensor:
        """Returns the loss of a batch; the posterior's spread is taught to equal the noise."""
        posterior = self.vae.encode(batch["pixels"]).latent_dist
        mean, log_variance = posterior.mean.float(), posterior.logvar.float()
        spread = mean.detach().std(dim=(0, 2, 3), keepdim=True)
        noisy = mean + LATENT_NOISE * spread * torch.randn_like(mean)
        error = self.vae.decode(noisy).sample.float() - batch["pixels"]
        reconstruction = (batch["weight"] * (error.abs() + 2 * error.square())).mean()
        wanted = 2 * (math.log(LATENT_NOISE) + spread.log())
        posterior_error = F.mse_loss(log_variance, wanted.expand_as(log_variance))
        return reconstruction + 1e-4 * mean.square().mean() + 1e-3 * posterior_error


@torch.no_grad()
def draw_sheet(module: nn.Module, path: Path) -> None:
    """Draws held-out scenes and, below each, what comes back."""
    rng = Random("autoencoder sheet")
    pictures = [render(random_scene(rng))[0] for _ in range(12)]
    pixels = to_pixels(pictures).to(next(module.parameters()).device)
    back = module.vae.decode(module.vae.encode(pixels).latent_dist.mode()).sample  # type: ignore[union-attr,operator]
    error = (back.clamp(-1, 1) - pixels).square().mean()
    print(f"autoencoder: {10 * math.log10(4 / error.item()):.2f} dB on held-out scenes", flush=True)
    rows = [pixels, back.clamp(-1, 1)]
    strips = [torch.cat(list(row), dim=2) for row in rows]
    sheet = torch.cat(strips, dim=1).permute(1, 2, 0).cpu()
    to_image(((sheet + 1) * 127.5).round().to(torch.uint8).numpy()).save(path)


@torch.no_grad()
def standardize(vae: AutoencoderKL, scenes: int = 512) -> None:
    """Folds the latents' mean and spread per channel into the two 1 × 1 quantisation convolutions.

    Afterwards latents have mean 0 and spread 1 in every channel and decode exactly as before, so the pipeline
    needs neither a scaling nor a shift factor.
    """
    rng = Random("latent statistics")
    pixels = to_pixels([render(random_scene(rng))[0] for _ in range(scenes)])
    latents = torch.cat([vae.encode(part).latent_dist.mode() for part in pixels.split(64)])
    mean, spread = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    channels = len(mean)
    into, out = vae.quant_conv, vae.post_quant_conv
    into.weight[:channels] /= spread[:, None, None, None]
    into.bias[:channels] = (into.bias[:channels] - mean) / spread
    into.bias[channels:] -= 2 * spread.log()
    out.bias += out.weight[:, :, 0, 0] @ mean
    out.weight *= spread[None, :, None, None]


def stage(vae: AutoencoderKL) -> Stage:
    """Returns the stage that trains an autoencoder."""
    return Stage("autoencoder", ReconstructionLoss(vae), draw_batch, draw_sheet)
