"""Stage two: text encoder and denoiser learn together to draw what a caption says.

Two things make every word carry its own meaning, so that weights and attention maps mean something:

- The end-of-text and padding rows of a prompt are taught to equal those of the empty prompt. A causal text
  encoder would otherwise gather the whole sentence there, where nobody can see or weight it.
- In some prompts words' rows are replaced by the empty prompt's: a word at weight 0 means "not said", and a
  noun cannot leave all that it means to the colour after it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from promptweight.mini.captions import caption
from promptweight.mini.learn_autoencoder import to_pixels
from promptweight.mini.loop import Batch, Stage
from promptweight.mini.networks import GUIDANCE_SCALE, LATENT_CHANNELS, LATENT_SIZE, TEXT_POSITIONS, scheduler
from promptweight.mini.scenes import Scene, random_scene, render, to_image

CAPTION_DROPOUT = 0.1
RELATED_SHARE = 0.35  # of a batch, drawn only from scenes that state a relation: the last thing to be learnt
THINNED_PROMPTS = 0.4  # share of prompts of which words are left out
WORD_DROPOUT = 0.25  # of the words of such a prompt
SHEET_PROMPTS = (
    "um gato vermelho persegue um rato cinza",
    "a red cat and a blue square",
    "a yellow sun above a green house",
    "uma casa rosa à esquerda de uma árvore verde",
    "a purple fish",
    "um coração vermelho em um fundo azul",
    "an orange star on a blue background",
    "a black car and a white heart, green background",
    "um astronauta azul a cavalo",
    "um gato preto e seu reflexo na água",
    "um triângulo amarelo abaixo de um círculo roxo",
    "a brown horse to the right of a pink star",
)


def draw_scenes(seed: int, rank: int, number: int) -> list[Scene]:
    """Draws the scenes of one process; scene i is the same however many are drawn."""
    return [random_scene(Random(f"{seed}/scene/{rank}/{index}")) for index in range(number)]


@torch.no_grad()
def encode_scenes(vae: AutoencoderKL, scenes: list[Scene], device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns latents (scenes, 8, 16, 16) in half precision and where things are (scenes, 16, 16), 0 or 1."""
    latents = torch.empty(len(scenes), LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE, dtype=torch.float16)
    covered = torch.empty(len(scenes), LATENT_SIZE, LATENT_SIZE, dtype=torch.bool)
    for first in range(0, len(scenes), 64):
        drawn = [render(scene) for scene in scenes[first : first + 64]]
        pixels = to_pixels([picture for picture, _ in drawn]).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            part = vae.encode(pixels).latent_dist.mode()
        latents[first : first + 64] = part.half().cpu()
        masks = torch.from_numpy(np.stack([masks.max(0) for _, masks in drawn]))
        covered[first : first + 64] = F.max_pool2d(masks[:, None], 4)[:, 0] > 0.1
    return latents, covered


def draw_batch(
    scenes: list[Scene], latents: Tensor, covered: Tensor, tokenizer: CLIPTokenizer
) -> Callable[[Random, int], Batch]:
    """Returns the function that draws a batch of scenes, each with a caption of its own."""

    related = [index for index, scene in enumerate(scenes) if scene.relation] or [0]

    def draw(rng: Random, size: int) -> Batch:
        chosen = [
            rng.choice(related) if rng.random() < RELATED_SHARE else rng.randrange(len(scenes))
            for _ in range(size)
        ]
        texts = ["" if rng.random() < CAPTION_DROPOUT else caption(scenes[i], rng) for i in chosen]
        ids = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        return {"latents": latents[chosen].float(), "covered": covered[chosen].float(), "ids": ids}

    return draw


class VelocityLoss(nn.Module):
    """Squared error of the predicted velocity (Salimans and Ho, 2022), plus what keeps the padding silent."""

    empty: Tensor
    signal: Tensor

    def __init__(self, encoder: CLIPTextModel, unet: UNet2DConditionModel, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.encoder, self.unet = encoder, unet
        self.end = tokenizer.eos_token_id
        empty = tokenizer("", padding="max_length", return_tensors="pt").input_ids
        self.register_buffer("empty", empty, persistent=False)
        self.register_buffer("signal", scheduler().alphas_cumprod.float(), persistent=False)

    def _timesteps(self, number: int, device: torch.device) -> Tensor:
        """Draws the timesteps where places are decided and those where shapes are, some anywhere."""
        anywhere = torch.rand(number, device=device) * 1000
        early = 700 + 300 * torch.rand(number, device=device)
        middle = 560 + 220 * torch.randn(number, device=device)
        draw = torch.rand(number, device=device)
        chosen = torch.where(draw < 0.45, early, torch.where(draw < 0.9, middle, anywhere))
        return torch.where((chosen >= 0) & (chosen < 1000), chosen, anywhere).long()

    def _rows(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes the prompts; returns rows (batch, 77, width) with silent padding, and how loud it was."""
        longest = int((ids != self.end).sum(1).max()) + 4
        length = TEXT_POSITIONS if torch.rand(()) < 0.05 else min(TEXT_POSITIONS, longest)
        said = self.encoder(ids[:, :length]).last_hidden_state.float()  # (batch, length, width)
        empty = self.encoder(self.empty).last_hidden_state.float()  # (1, 77, width)
        is_word = (ids != self.end)[:, :length, None]
        silence = empty[:, :length].detach().expand_as(said)
        loudness = F.mse_loss(torch.where(is_word, silence, said), silence)
        thinned = torch.rand(len(ids), 1, 1, device=ids.device) < THINNED_PROMPTS
        dropped = thinned & (torch.rand(*ids[:, :length].shape, 1, device=ids.device) < WORD_DROPOUT)
        dropped[:, 0] = False  # the beginning of the text is never a word
        rows = torch.where(is_word & ~dropped, said, empty[:, :length])
        return torch.cat([rows, empty[:, length:].expand(len(ids), -1, -1)], dim=1), loudness

    def forward(self, batch: Batch) -> Tensor:
        """Returns the loss of a batch of latents, captions and places of things."""
        latents = batch["latents"]
        timesteps = self._timesteps(len(latents), latents.device)
        noise = torch.randn_like(latents)
        signal = self.signal[timesteps][:, None, None, None]
        noisy = signal.sqrt() * latents + (1 - signal).sqrt() * noise
        velocity = signal.sqrt() * noise - (1 - signal).sqrt() * latents
        rows, loudness = self._rows(batch["ids"])
        predicted = self.unet(noisy, timesteps, rows).sample.float()
        # once the layout stands out of the noise, things count more than the empty ground
        weight = 1 + 1.5 * batch["covered"][:, None] * (timesteps < 600)[:, None, None, None]
        return (weight * (predicted - velocity).square()).mean() + loudness


def draw_sheet(vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> Callable[[nn.Module, Path], None]:
    """Returns the function that draws the prompts of the sheet, four seeds each, 25 steps."""

    @torch.no_grad()
    def draw(module: nn.Module, path: Path) -> None:
        assert isinstance(module, VelocityLoss)
        schedule, seeds = scheduler(), 4
        schedule.set_timesteps(25)
        texts = [text for text in SHEET_PROMPTS for _ in range(seeds)]
        ids = tokenizer(["", *texts], padding="max_length", return_tensors="pt").input_ids
        device = module.empty.device
        rows = module.encoder(ids.to(device)).last_hidden_state
        empty, said = rows[:1].expand(len(texts), -1, -1), rows[1:]
        noise = torch.randn(seeds, LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE, generator=torch.manual_seed(1))
        latents = noise.repeat(len(SHEET_PROMPTS), 1, 1, 1).to(device)
        for timestep in schedule.timesteps:
            without, with_text = module.unet(
                torch.cat([latents] * 2), timestep, torch.cat([empty, said])
            ).sample.chunk(2)
            guided = without + GUIDANCE_SCALE * (with_text - without)
            latents = schedule.step(guided, timestep, latents).prev_sample
        pictures = vae.decode(latents).sample.clamp(-1, 1).permute(0, 2, 3, 1).cpu()
        cells = ((pictures + 1) * 127.5).round().to(torch.uint8).numpy()
        strips = [np.concatenate(list(cells[i : i + 12]), axis=1) for i in range(0, len(cells), 12)]
        sheet = to_image(np.concatenate(strips))
        sheet.resize((2 * sheet.width, 2 * sheet.height)).save(path)

    return draw


def stage(
    *,
    seed: int,
    rank: int,
    number: int,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    encoder: CLIPTextModel,
    unet: UNet2DConditionModel,
    cache: Path,
    device: torch.device,
) -> Stage:
    """Returns the stage, with this process's scenes encoded (and kept in `cache` for the next start)."""
    scenes = draw_scenes(seed, rank, number)
    kept = cache / f"latents-{rank}-{number}.pt"
    if kept.exists():
        latents, covered = torch.load(kept, weights_only=True)
    else:
        latents, covered = encode_scenes(vae, scenes, device)
        torch.save((latents, covered), kept)
    batches = draw_batch(scenes, latents, covered, tokenizer)
    return Stage("denoiser", VelocityLoss(encoder, unet, tokenizer), batches, draw_sheet(vae, tokenizer))
