"""Training stage one: the autoencoder, from images to 16 × 16 latents and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from promptweight.mini.crowds import crowded_world_scene
from promptweight.mini.sampling import sample_scene
from promptweight.mini.scenes import Scene, crowded_scene, render, to_image
from promptweight.mini.training.trainer import Batch, Stage
from promptweight.mini.worlds import FIRST, World

LATENT_NOISE = 0.1  # relative to the standard deviation of the latents; makes the decoder robust to errors
FOREGROUND_WEIGHT = 4.0
EDGE_WEIGHT = 0.5
DETAIL_WINDOW, DETAIL_CONTRAST = 15, 0.08  # window in pixels; contrast for values from -1 to 1
PULL = 0.015  # weight of the squared distance to the latents of a teacher


def to_pixels(pictures: list[np.ndarray]) -> Tensor:
    """Stack uint8 images (height, width, 3) into a tensor (batch, 3, height, width) with values -1 to 1."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def scene_of(world: World, rng: Random) -> Scene:
    """Sample a scene of a world; more than half of the scenes (60 %) are crowded."""
    if rng.random() < 0.4:
        return sample_scene(rng, world)
    return crowded_scene(rng) if world == FIRST else crowded_world_scene(rng)


def detail(pixels: Tensor) -> Tensor:
    """Return a mask (batch, 1, height, width): 1 where pixels differ from their surroundings, else 0.

    The pixels are (batch, 3, height, width). A pixel differs when one of its channels is more than
    `DETAIL_CONTRAST` away from the mean of a window of `DETAIL_WINDOW` pixels around it.
    """
    around = F.avg_pool2d(pixels, DETAIL_WINDOW, 1, DETAIL_WINDOW // 2, count_include_pad=False)
    return ((pixels - around).abs().amax(1, keepdim=True) > DETAIL_CONTRAST).float()


def draw_batch(world: World = FIRST, teacher: AutoencoderKL | None = None) -> Callable[[Random, int], Batch]:
    """Return a function that draws a batch of images and pixel weights, larger on objects and on detail.

    With a teacher, which is an autoencoder of smaller images, the batch also holds the latents of the
    downscaled images (key `taught`).
    """

    @torch.no_grad()
    def draw(rng: Random, size: int) -> Batch:
        drawn = [render(scene_of(world, rng), world.size) for _ in range(size)]
        masks = torch.from_numpy(np.stack([masks.max(0) for _, masks in drawn]))[:, None]
        pixels = to_pixels([picture for picture, _ in drawn])
        weight = 1 + (FOREGROUND_WEIGHT - 1) * torch.maximum(masks, detail(pixels))
        batch = {"pixels": pixels, "weight": weight}
        if teacher is not None:
            reduced = F.adaptive_avg_pool2d(pixels, teacher.config.sample_size)
            batch["taught"] = teacher.encode(reduced).latent_dist.mode()
        return batch

    return draw


class ReconstructionLoss(nn.Module):
    """Absolute and squared error of the image decoded from noisy latents, and of its edges.

    If the batch holds a teacher's latents, the squared distance to them is part of the loss, so that a
    denoiser that was trained on the teacher's latents can be trained further.
    """

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch; one term fits the posterior's standard deviation to the noise."""
        posterior = self.vae.encode(batch["pixels"]).latent_dist
        mean, log_variance = posterior.mean.float(), posterior.logvar.float()
        spread = mean.detach().std(dim=(0, 2, 3), keepdim=True)
        noisy = mean + LATENT_NOISE * spread * torch.randn_like(mean)
        error = self.vae.decode(noisy).sample.float() - batch["pixels"]
        reconstruction = (batch["weight"] * (error.abs() + 2 * error.square())).mean()
        edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
        pull = (mean - batch["taught"]).square().mean() if "taught" in batch else mean.new_zeros(())
        wanted = 2 * (math.log(LATENT_NOISE) + spread.log())
        posterior_error = F.mse_loss(log_variance, wanted.expand_as(log_variance))
        small = 1e-4 * mean.square().mean() + 1e-3 * posterior_error
        return reconstruction + EDGE_WEIGHT * edges + PULL * pull + small


@torch.no_grad()
def reconstruction_quality(vae: AutoencoderKL, pixels: Tensor) -> tuple[Tensor, float]:
    """Return images (batch, 3, height, width; -1 to 1) after encoding and decoding, and the PSNR in dB."""
    parts = [vae.decode(vae.encode(part).latent_dist.mode()).sample for part in pixels.split(16)]
    back = torch.cat(parts).clamp(-1, 1)
    return back, 10 * math.log10(4 / (back - pixels).square().mean().item())


def draw_sheet(world: World = FIRST) -> Callable[[nn.Module, Path], None]:
    """Return a function that saves held-out scenes with the reconstruction below each."""

    def draw(module: nn.Module, path: Path) -> None:
        rng = Random("autoencoder sheet")
        pictures = [render(sample_scene(rng, world), world.size)[0] for _ in range(48)]
        pixels = to_pixels(pictures).to(next(module.parameters()).device)
        back, quality = reconstruction_quality(module.vae, pixels)
        print(f"autoencoder: {quality:.2f} dB on held-out scenes", flush=True)
        strips = [torch.cat(list(row[:12]), dim=2) for row in (pixels, back)]
        sheet = torch.cat(strips, dim=1).permute(1, 2, 0).cpu()
        to_image(((sheet + 1) * 127.5).round().to(torch.uint8).numpy()).save(path)

    return draw


@torch.no_grad()
def standardize(vae: AutoencoderKL, scenes: int = 512, world: World = FIRST) -> None:
    """Fold the latents' mean and standard deviation per channel into the 1 × 1 quantization convolutions.

    Afterwards latents have mean 0 and standard deviation 1 in every channel and decode exactly as before, so
    the pipeline needs neither a scaling nor a shift factor.

    Args:
        vae: the autoencoder, changed in place.
        scenes: number of scenes from which mean and standard deviation are computed.
        world: the world of the scenes.
    """
    rng = Random("latent statistics")
    pixels = to_pixels([render(sample_scene(rng, world), world.size)[0] for _ in range(scenes)])
    latents = torch.cat([vae.encode(part).latent_dist.mode() for part in pixels.split(64)])
    mean, spread = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    channels = len(mean)
    into, out = vae.quant_conv, vae.post_quant_conv
    into.weight[:channels] /= spread[:, None, None, None]
    into.bias[:channels] = (into.bias[:channels] - mean) / spread
    into.bias[channels:] -= 2 * spread.log()
    out.bias += out.weight[:, :, 0, 0] @ mean
    out.weight *= spread[None, :, None, None]


def stage(vae: AutoencoderKL, world: World = FIRST, teacher: AutoencoderKL | None = None) -> Stage:
    """Return the stage that trains an autoencoder."""
    return Stage("autoencoder", ReconstructionLoss(vae), draw_batch(world, teacher), draw_sheet(world))
