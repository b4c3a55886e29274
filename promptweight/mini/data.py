"""What text encoder and denoisers learn from: random scenes, encoded once, captioned anew each time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, count, islice
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTokenizer

from promptweight.mini.captions import caption
from promptweight.mini.learn_autoencoder import to_pixels
from promptweight.mini.loop import Batch
from promptweight.mini.networks import LATENT_CHANNELS, LATENT_SIZE
from promptweight.mini.scenes import (
    BACKGROUNDS,
    COLOURS,
    KINDS,
    Scene,
    Thing,
    placements,
    random_scene,
    render,
    to_image,
)

CAPTION_DROPOUT = 0.1
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


@dataclass(frozen=True)
class EncodedScenes:
    """Scenes with their latents (scenes, 8, 16, 16; half) and where things are (scenes, 16, 16; bool).

    `families` says of each scene which of the scenes are its `placements`, itself among them; a range of
    one is a scene whose placements were not all encoded.
    """

    scenes: list[Scene]
    latents: Tensor
    covered: Tensor
    families: list[range]

    def __add__(self, other: EncodedScenes) -> EncodedScenes:
        """Puts scenes behind these."""
        first = len(self.scenes)
        moved = [range(first + family.start, first + family.stop) for family in other.families]
        return EncodedScenes(
            [*self.scenes, *other.scenes],
            torch.cat([self.latents, other.latents]),
            torch.cat([self.covered, other.covered]),
            [*self.families, *moved],
        )


def draw_scenes(seed: int, rank: int, number: int) -> list[Scene]:
    """Draws the scenes of one process; scene i is the same however many are drawn."""
    return [random_scene(Random(f"{seed}/scene/{rank}/{index}")) for index in range(number)]


def draw_families(seed: int, rank: int, pairs: int) -> list[list[Scene]]:
    """Draws scenes of one process, each with all its placements.

    All single things on plain and on one other ground, then `pairs` scenes of two things without a relation.
    """
    rng = Random(f"{seed}/families/{rank}")
    looks = [(kind, colour) for kind in KINDS for colour in COLOURS]
    grounds = list(BACKGROUNDS)
    single = [
        Scene((Thing(kind, colour, 0, 0, 0),), ground)
        for kind, colour in looks
        for ground in (grounds[0], rng.choice(grounds[1:]))
    ]
    drawn = (random_scene(rng) for _ in count())
    together = islice((scene for scene in drawn if len(scene.things) == 2 and not scene.relation), pairs)
    return [placements(scene) for scene in (*single, *together)]


@torch.no_grad()
def encode_scenes(vae: AutoencoderKL, scenes: list[Scene], device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns latents (scenes, 8, 16, 16) in half precision and where things are (scenes, 16, 16), bool."""
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


def _load(kept: Path, families: list[list[Scene]], vae: AutoencoderKL, device: torch.device) -> EncodedScenes:
    scenes = [scene for family in families for scene in family]
    if kept.exists():
        latents, covered = torch.load(kept, weights_only=True)
    else:
        latents, covered = encode_scenes(vae, scenes, device)
        torch.save((latents, covered), kept)
    starts = accumulate((len(family) for family in families), initial=0)
    ranges = [
        range(start, start + len(family))
        for start, family in zip(starts, families, strict=False)
        for _ in family
    ]
    return EncodedScenes(scenes, latents, covered, ranges)


def load_scenes(
    *,
    seed: int,
    rank: int,
    number: int,
    vae: AutoencoderKL,
    cache: Path,
    device: torch.device,
    pairs: int | None = None,
) -> EncodedScenes:
    """Returns one process's scenes, encoded, and keeps the latents in `cache` for the next start.

    With `pairs` the scenes of `draw_families` come after the `number` random ones.
    """
    alone = [[scene] for scene in draw_scenes(seed, rank, number)]
    encoded = _load(cache / f"latents-{seed}-{rank}-{number}.pt", alone, vae, device)
    if pairs is None:
        return encoded
    families = draw_families(seed, rank, pairs)
    return encoded + _load(cache / f"families-{seed}-{rank}-{pairs}.pt", families, vae, device)


@dataclass(frozen=True)
class Shares:
    """Shares of a batch (0 to 1) that come from one group of scenes; the rest comes from all of them."""

    related: float = 0.0
    """Scenes that state a relation."""
    single: float = 0.0
    """Scenes of one thing."""
    pairs: float = 0.0
    """Scenes of two things without a relation, which words alone tell apart."""


def draw_batch(
    encoded: EncodedScenes, tokenizer: CLIPTokenizer, shares: Shares = Shares()
) -> Callable[[Random, int], Batch]:
    """Returns the function that draws a batch of scenes, each with a caption of its own.

    Single things and pairs come from the scenes whose placements are all known, if there are any; everything
    else comes from the rest.
    """
    scenes, families = encoded.scenes, encoded.families
    everything = [index for index, family in enumerate(families) if len(family) == 1] or range(len(scenes))
    placed = [index for index, family in enumerate(families) if len(family) > 1] or everything
    groups = (
        everything,
        [index for index in everything if scenes[index].relation],
        [index for index in placed if not scenes[index].relation and len(scenes[index].things) == 1],
        [index for index in placed if not scenes[index].relation and len(scenes[index].things) == 2],
    )
    rest = 1 - shares.related - shares.single - shares.pairs

    def draw(rng: Random, size: int) -> Batch:
        drawn = rng.choices(groups, (rest, shares.related, shares.single, shares.pairs), k=size)
        chosen = [rng.choice(group or everything) for group in drawn]
        texts = ["" if rng.random() < CAPTION_DROPOUT else caption(scenes[i], rng) for i in chosen]
        ids = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        sizes = torch.tensor([[len(families[i])] for i in chosen])
        nth = torch.arange(int(sizes.max()))
        known = nth < sizes
        starts = torch.tensor([[families[i].start] for i in chosen])
        return {
            "latents": encoded.latents[chosen].float(),
            "covered": encoded.covered[chosen].float(),
            "placements": encoded.latents[starts + nth * known],
            "known": known,
            "ids": ids,
        }

    return draw


@torch.no_grad()
def save_sheet(vae: AutoencoderKL, latents: Tensor, path: Path) -> None:
    """Writes a sheet of the decoded latents (pictures, 8, 16, 16), twelve to a line, at twice their size."""
    pictures = vae.decode(latents).sample.clamp(-1, 1).permute(0, 2, 3, 1).cpu()
    cells = ((pictures + 1) * 127.5).round().to(torch.uint8).numpy()
    strips = [np.concatenate(list(cells[i : i + 12]), axis=1) for i in range(0, len(cells), 12)]
    sheet = to_image(np.concatenate(strips))
    sheet.resize((2 * sheet.width, 2 * sheet.height)).save(path)
