"""Enlargement of an autoencoder: images of twice the side to the same latents.

The decoder learns to draw the larger image from exactly the latents of the former autoencoder, its teacher,
and the encoder learns to give these latents. A denoiser that was trained on them needs no further training.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from promptweight.mini.sampling import sample_scene
from promptweight.mini.scenes import Scene
from promptweight.mini.training import unet
from promptweight.mini.training.autoencoder import (
    compute_image_error,
    contrast,
    decode_images,
    encode_images,
    render_scenes,
    save_reconstructions,
    scene_of,
    weigh_pixels,
)
from promptweight.mini.training.trainer import Batch, Stage
from promptweight.mini.worlds import FIRST, WHOLE

MAX_NOISE = 0.2  # upper bound of the noise on latents, relative to their standard deviation, which is 1
FIRST_SHARE = 0.75  # share of scenes of the first world, whose latents the teacher has learned
WHITE_SHARE = 0.2  # share of scenes whose objects are made white
INK_CONTRAST = 0.5  # difference of fine dark lines from their surroundings, for values from -1 to 1
INK_WEIGHT = 4.0  # additional weight of such pixels
ENCODED_SHARE = 1 / 6  # share of a batch on which the encoder learns; it starts close to the teacher's
SPREAD_WEIGHT = 0.01


@torch.no_grad()
def enlarge(teacher: AutoencoderKL) -> AutoencoderKL:
    """Create an autoencoder for images of twice the side that starts as the teacher on halved images.

    Its last block of the decoder passes enlarged features on, and its first block of the encoder averages
    2 × 2 pixels, up to a small difference at edges.
    """
    vae = unet.autoencoder(2 * teacher.config.sample_size)
    former = teacher.state_dict()
    for name, value in vae.state_dict().items():
        source = re.sub(r"(?<=encoder\.down_blocks\.)\d+", lambda found: str(int(found[0]) - 1), name)
        if source in former:
            value.copy_(former[source])
    _pass_through(vae)
    _halve(vae, former["encoder.conv_in.weight"], former["encoder.conv_in.bias"])
    return vae


def _silence(block: Any) -> None:
    """Make the residual networks of a block return their input."""
    for resnet in block.resnets:
        nn.init.zeros_(resnet.conv2.weight)
        nn.init.zeros_(resnet.conv2.bias)


def _pass_through(vae: AutoencoderKL) -> None:
    """Make the last block of the decoder pass on the features of the block before, enlarged."""
    convolution = vae.decoder.up_blocks[-2].upsamplers[0].conv
    nn.init.dirac_(convolution.weight)
    nn.init.zeros_(convolution.bias)
    _silence(vae.decoder.up_blocks[-1])


def _halve(vae: AutoencoderKL, weight: Tensor, bias: Tensor) -> None:
    """Make the first block of the encoder compute the teacher's first convolution of the halved image.

    On each axis, the first convolution computes the mean of a pixel and the next, and the pixel before; the
    downsampling convolution combines them. The row and column before are thus one pixel instead of a mean of
    two.
    """
    first, block = vae.encoder.conv_in, vae.encoder.down_blocks[0]
    taps = torch.tensor([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]])  # mean of pixel and next; pixel before
    nn.init.zeros_(first.weight)
    nn.init.zeros_(first.bias)
    _silence(block)
    down = block.downsamplers[0].conv
    nn.init.zeros_(down.weight)
    down.bias.copy_(bias)
    sources = ((1, 0), (0, 0), (0, 2))  # (taps, offset of the downsampling convolution) of the three columns
    for color in range(3):
        for rows in range(2):
            for columns in range(2):
                first.weight[4 * color + 2 * rows + columns, color] = torch.outer(taps[rows], taps[columns])
        for row, (rows, y) in enumerate(sources):
            for column, (columns, x) in enumerate(sources):
                down.weight[:, 4 * color + 2 * rows + columns, y, x] += weight[:, color, row, column]


def _whitened(scene: Scene) -> Scene:
    return replace(scene, things=tuple(replace(thing, color="white", shade="") for thing in scene.things))


def _scene(rng: Random) -> Scene:
    scene = scene_of(FIRST if rng.random() < FIRST_SHARE else WHOLE, rng)
    return _whitened(scene) if rng.random() < WHITE_SHARE else scene


def draw_batch(teacher: AutoencoderKL) -> Callable[[Random, int], Batch]:
    """Return a function that draws a batch of images, pixel weights and the teacher's latents.

    The teacher encodes the scene rendered at its own size, as when its denoisers were trained: the latents of
    the halved image are off by 0.11 of their standard deviation.
    """
    small = teacher.config.sample_size

    @torch.no_grad()
    def draw(rng: Random, size: int) -> Batch:
        scenes = [_scene(rng) for _ in range(size)]
        pixels, masks = render_scenes(scenes, 2 * small)
        differing = contrast(pixels)
        posterior = teacher.encode(render_scenes(scenes, small)[0]).latent_dist
        return {
            "pixels": pixels,
            "weight": weigh_pixels(masks, differing) + INK_WEIGHT * (differing > INK_CONTRAST),
            "taught": posterior.mean,
            "taught_spread": posterior.logvar,
        }

    return draw


class EnlargementLoss(nn.Module):
    """Error of the image decoded from the teacher's noisy latents, and of the latents of the encoder."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        taught = batch["taught"]
        amount = MAX_NOISE * torch.rand(len(taught), 1, 1, 1, device=taught.device)
        noisy = taught + amount * torch.randn_like(taught)
        error = compute_image_error(self.vae.decode(noisy).sample, batch)
        encoded = math.ceil(ENCODED_SHARE * len(taught))
        posterior = self.vae.encode(batch["pixels"][:encoded]).latent_dist
        means = F.mse_loss(posterior.mean.float(), taught[:encoded])
        spreads = F.mse_loss(posterior.logvar.float(), batch["taught_spread"][:encoded])
        return error + means + SPREAD_WEIGHT * spreads


@torch.no_grad()
def measure(vae: AutoencoderKL, teacher: AutoencoderKL, scenes: list[Scene]) -> tuple[list[Tensor], str]:
    """Return images of scenes and those decoded from the teacher's latents, and the measured quality."""
    small, device = teacher.config.sample_size, next(vae.parameters()).device
    pixels = render_scenes(scenes, 2 * small)[0].to(device)
    taught = encode_images(teacher, render_scenes(scenes, small)[0]).to(device)
    back, decoded = decode_images(vae, taught, pixels)
    own = encode_images(vae, pixels)
    _, encoded = decode_images(vae, own, pixels)
    distance = (own - taught).square().mean().sqrt().item()
    return [pixels, back], (
        f"{decoded:.2f} dB from the teacher's latents, {encoded:.2f} dB through the encoder, whose latents "
        f"are off by {distance:.3f}"
    )


def draw_sheet(teacher: AutoencoderKL) -> Callable[[nn.Module, Path], None]:
    """Return a function that saves held-out scenes of both worlds with the decoded latents below each."""

    def draw(module: nn.Module, path: Path) -> None:
        rows = []
        for name, world in (("first", FIRST), ("whole", WHOLE)):
            rng = Random("autoencoder sheet")
            images, quality = measure(module.vae, teacher, [sample_scene(rng, world) for _ in range(48)])
            print(f"autoencoder, {name} world: {quality}", flush=True)
            rows += [part[:12] for part in images]
        save_reconstructions(rows, path)

    return draw


def stage(vae: AutoencoderKL, teacher: AutoencoderKL) -> Stage:
    """Return the stage that trains an enlarged autoencoder."""
    return Stage("autoencoder", EnlargementLoss(vae), draw_batch(teacher), draw_sheet(teacher))
