"""Stage three: text encoder and denoiser learn together to draw what a caption says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from promptweight.mini.data import SHEET_PROMPTS, EncodedScenes, draw_batch, save_sheet
from promptweight.mini.learn_text import PromptRows
from promptweight.mini.loop import Batch, Stage
from promptweight.mini.networks import GUIDANCE_SCALE, LATENT_CHANNELS, LATENT_SIZE, scheduler


class VelocityLoss(nn.Module):
    """Squared error of the predicted velocity (Salimans and Ho, 2022), plus what keeps the padding silent."""

    signal: Tensor

    def __init__(self, encoder: CLIPTextModel, unet: UNet2DConditionModel, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.rows, self.unet = PromptRows(encoder, tokenizer), unet
        self.register_buffer("signal", scheduler().alphas_cumprod.float(), persistent=False)

    def _timesteps(self, number: int, device: torch.device) -> Tensor:
        """Draws the timesteps where places are decided and those where shapes are, some anywhere."""
        anywhere = torch.rand(number, device=device) * 1000
        early = 700 + 300 * torch.rand(number, device=device)
        middle = 560 + 220 * torch.randn(number, device=device)
        draw = torch.rand(number, device=device)
        chosen = torch.where(draw < 0.45, early, torch.where(draw < 0.9, middle, anywhere))
        return torch.where((chosen >= 0) & (chosen < 1000), chosen, anywhere).long()

    def forward(self, batch: Batch) -> Tensor:
        """Returns the loss of a batch of latents, captions and places of things."""
        latents = batch["latents"]
        timesteps = self._timesteps(len(latents), latents.device)
        noise = torch.randn_like(latents)
        signal = self.signal[timesteps][:, None, None, None]
        noisy = signal.sqrt() * latents + (1 - signal).sqrt() * noise
        velocity = signal.sqrt() * noise - (1 - signal).sqrt() * latents
        rows, loudness = self.rows(batch["ids"])
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
        device = module.rows.empty.device
        rows = module.rows.encoder(ids.to(device)).last_hidden_state
        empty, said = rows[:1].expand(len(texts), -1, -1), rows[1:]
        noise = torch.randn(seeds, LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE, generator=torch.manual_seed(1))
        latents = noise.repeat(len(SHEET_PROMPTS), 1, 1, 1).to(device)
        for timestep in schedule.timesteps:
            without, with_text = module.unet(
                torch.cat([latents] * 2), timestep, torch.cat([empty, said])
            ).sample.chunk(2)
            guided = without + GUIDANCE_SCALE * (with_text - without)
            latents = schedule.step(guided, timestep, latents).prev_sample
        save_sheet(vae, latents, path)

    return draw


def stage(
    encoded: EncodedScenes,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    encoder: CLIPTextModel,
    unet: UNet2DConditionModel,
) -> Stage:
    """Returns the stage."""
    batches = draw_batch(encoded, tokenizer)
    return Stage("denoiser", VelocityLoss(encoder, unet, tokenizer), batches, draw_sheet(vae, tokenizer))
