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
from promptweight.mini.scenes import KINDS, Scene, crowded_scene, render, to_image
from promptweight.mini.training.trainer import Batch, Stage
from promptweight.mini.worlds import FIRST, World

LATENT_NOISE = 0.1  # relative to the standard deviation of the latents; makes the decoder robust to errors
FOREGROUND_WEIGHT = 4.0
EDGE_WEIGHT = 0.5
DETAIL_WINDOW, DETAIL_CONTRAST = 15, 0.08  # window in pixels; contrast for values from -1 to 1
CROWDED = 0.6  # share of crowded scenes in the training from scratch
CROWDED_LATER = 0.2  # the same in the training for another world, which needs more of what is new there
PULL = 0.015  # weight of the squared distance to the latents of a teacher


def to_pixels(pictures: list[np.ndarray]) -> Tensor:
    """Stack uint8 images (height, width, 3) into a tensor (batch, 3, height, width) with values -1 to 1."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def scene_of(world: World, rng: Random, crowded: float = CROWDED) -> Scene:
    """Sample a scene of a world, crowded in a share of the cases."""
    if rng.random() >= crowded:
        return sample_scene(rng, world)
    return crowded_scene(rng) if world.things == KINDS else crowded_world_scene(rng)


def render_scenes(scenes: list[Scene], size: int) -> tuple[Tensor, Tensor]:
    """Render scenes: pixels (batch, 3, size, size), -1 to 1, and masks of objects (batch, 1, size, size)."""
    drawn = [render(scene, size) for scene in scenes]
    masks = torch.from_numpy(np.stack([masks.max(0) for _, masks in drawn]))[:, None]
    return to_pixels([picture for picture, _ in drawn]), masks


def contrast(pixels: Tensor) -> Tensor:
    """Return how much pixels (batch, 3, height, width) differ from their surroundings, with one channel.

    The value is the largest distance of a channel to the mean of a window of `DETAIL_WINDOW` pixels.
    """
    radius = DETAIL_WINDOW // 2
    rows = F.avg_pool2d(pixels, (DETAIL_WINDOW, 1), 1, (radius, 0), count_include_pad=False)
    around = F.avg_pool2d(rows, (1, DETAIL_WINDOW), 1, (0, radius), count_include_pad=False)
    return (pixels - around).abs().amax(1, keepdim=True)


def weigh_pixels(masks: Tensor, differing: Tensor) -> Tensor:
    """Return the weights of pixels, larger on objects and on detail, from their masks and their contrast."""
    return 1 + (FOREGROUND_WEIGHT - 1) * torch.maximum(masks, (differing > DETAIL_CONTRAST).float())


def compute_image_error(decoded: Tensor, batch: Batch) -> Tensor:
    """Return the weighted absolute and squared error of the decoded images of a batch, and of their edges."""
    error = decoded.float() - batch["pixels"]
    reconstruction = (batch["weight"] * (error.abs() + 2 * error.square())).mean()
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return reconstruction + EDGE_WEIGHT * edges


def draw_batch(world: World = FIRST, teacher: AutoencoderKL | None = None) -> Callable[[Random, int], Batch]:
    """Return a function that draws a batch of images and pixel weights, larger on objects and on detail.

    With a teacher, which is the autoencoder of another world, the batch also holds its latents of the images
    (key `taught`).
    """
    crowded = CROWDED if teacher is None else CROWDED_LATER

    @torch.no_grad()
    def draw(rng: Random, size: int) -> Batch:
        pixels, masks = render_scenes([scene_of(world, rng, crowded) for _ in range(size)], world.size)
        batch = {"pixels": pixels, "weight": weigh_pixels(masks, contrast(pixels))}
        if teacher is not None:
            batch["taught"] = teacher.encode(pixels).latent_dist.mode()
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
        error = compute_image_error(self.vae.decode(noisy).sample, batch)
        wanted = 2 * (math.log(LATENT_NOISE) + spread.log())
        pull = (mean - batch["taught"]).square().mean() if "taught" in batch else mean.new_zeros(())
        posterior_error = F.mse_loss(log_variance, wanted.expand_as(log_variance))
        small = 1e-4 * mean.square().mean() + 1e-3 * posterior_error
        return error + PULL * pull + small


@torch.no_grad()
def encode_images(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    """Return the latents of images (batch, 3, height, width) with values -1 to 1."""
    return torch.cat([vae.encode(part).latent_dist.mode() for part in pixels.split(16)])


@torch.no_grad()
def decode_images(vae: AutoencoderKL, latents: Tensor, pixels: Tensor) -> tuple[Tensor, float]:
    """Return the images (batch, 3, height, width) decoded from latents, and their PSNR in dB to `pixels`."""
    back = torch.cat([vae.decode(part).sample for part in latents.split(16)]).clamp(-1, 1)
    return back, 10 * math.log10(4 / (back - pixels).square().mean().item())


def draw_sheet(world: World = FIRST) -> Callable[[nn.Module, Path], None]:
    """Return a function that saves held-out scenes with the reconstruction below each."""

    def draw(module: nn.Module, path: Path) -> None:
        rng = Random("autoencoder sheet")
        pictures = [render(sample_scene(rng, world), world.size)[0] for _ in range(48)]
        pixels = to_pixels(pictures).to(next(module.parameters()).device)
        back, quality = decode_images(module.vae, encode_images(module.vae, pixels), pixels)
        print(f"autoencoder: {quality:.2f} dB on held-out scenes", flush=True)
        save_reconstructions([pixels[:12], back[:12]], path)

    return draw


def save_reconstructions(rows: list[Tensor], path: Path) -> None:
    """Save a sheet of rows of images (images, 3, height, width), with values -1 to 1."""
    sheet = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1).permute(1, 2, 0).cpu()
    to_image(((sheet + 1) * 127.5).round().to(torch.uint8).numpy()).save(path)


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
