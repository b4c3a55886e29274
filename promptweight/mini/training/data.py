"""Training data of text encoders and denoisers: random scenes, encoded once, with new captions per batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate, count, islice
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTokenizer

from promptweight.mini.captions import LANGUAGES, caption, plainly
from promptweight.mini.sampling import sample_scene
from promptweight.mini.scenes import (
    BACKGROUNDS,
    COLORS,
    KINDS,
    RELATIONS,
    Scene,
    Thing,
    placements,
    random_scene,
    render,
    to_image,
)
from promptweight.mini.training.attention_loss import Names
from promptweight.mini.training.autoencoder import to_pixels
from promptweight.mini.training.trainer import Batch
from promptweight.mini.training.unet import LATENT_CHANNELS, LATENT_SIZE
from promptweight.mini.vocabulary import unknown_words
from promptweight.mini.worlds import FIRST, World

CAPTION_DROPOUT = 0.1
SHEET_COLUMNS = 12  # images per row of a sample sheet
MAX_GROUPS = 3  # groups of objects of the same look in a scene
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
WORLD_PROMPTS = (
    "um gato vermelho persegue um rato cinza",
    "a yellow sun above a green house",
    "um gato preto e seu reflexo na água",
    "three blue stars",
    "muitos corações rosa",
    "a tiny red car",
    "uma árvore verde enorme",
    "a big brown dog and a small white rabbit",
    "um cachorro marrom usando um chapéu azul",
    "a cat in a red boat",
    "uma borboleta roxa listrada na praia",
    "a spotted orange mushroom in a field at night",
)


def sheet_prompts(world: World) -> tuple[str, ...]:
    """Return the prompts of a world's sample sheet; all their words belong to the world's vocabulary."""
    known = tuple(prompt for prompt in WORLD_PROMPTS if not unknown_words(prompt, world))
    return SHEET_PROMPTS if world == FIRST else known


@dataclass(frozen=True)
class EncodedScenes:
    """Scenes with their latents (scenes, 8, 16, 16; half) and object areas (scenes, 3, 16, 16; uint8).

    An area value is the part of the latent's square that objects fill, in 255ths. Objects of the same look
    are counted together as a group, and a scene has up to three groups.
    `families` holds for each scene the indices of its `placements`, its own index included; a range of length
    one marks a scene without encoded placements.
    """

    scenes: list[Scene]
    latents: Tensor
    areas: Tensor
    families: list[range]

    def __add__(self, other: EncodedScenes) -> EncodedScenes:
        """Append other scenes to these."""
        first = len(self.scenes)
        moved = [range(first + family.start, first + family.stop) for family in other.families]
        return EncodedScenes(
            [*self.scenes, *other.scenes],
            torch.cat([self.latents, other.latents]),
            torch.cat([self.areas, other.areas]),
            [*self.families, *moved],
        )


def draw_scenes(seed: int, rank: int, number: int, world: World = FIRST) -> list[Scene]:
    """Sample the scenes of one process; scene i does not depend on the number of scenes."""
    return [sample_scene(Random(f"{seed}/scene/{rank}/{index}"), world) for index in range(number)]


def draw_families(seed: int, rank: int, pairs: int) -> list[list[Scene]]:
    """Sample scenes of one process, each with all its placements.

    The scenes are all single objects, each on the plain and on one other background, followed by `pairs`
    scenes of two objects without a relation.
    """
    rng = Random(f"{seed}/families/{rank}")
    looks = [(kind, color) for kind in KINDS for color in COLORS]
    grounds = list(BACKGROUNDS)
    single = [
        Scene((Thing(kind, color, 0, 0, 0),), ground)
        for kind, color in looks
        for ground in (grounds[0], rng.choice(grounds[1:]))
    ]
    drawn = (random_scene(rng) for _ in count())
    together = islice((scene for scene in drawn if len(scene.things) == 2 and not scene.relation), pairs)
    return [placements(scene) for scene in (*single, *together)]


@torch.no_grad()
def encode_scenes(vae: AutoencoderKL, scenes: list[Scene], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the latents and areas of scenes, in the shapes and types of `EncodedScenes`."""
    size = vae.config.sample_size
    latents = torch.empty(len(scenes), LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE, dtype=torch.float16)
    areas = torch.zeros(len(scenes), MAX_GROUPS, LATENT_SIZE, LATENT_SIZE, dtype=torch.uint8)
    for first in range(0, len(scenes), 64):
        drawn = [render(scene, size) for scene in scenes[first : first + 64]]
        pixels = to_pixels([picture for picture, _ in drawn]).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            part = vae.encode(pixels).latent_dist.mode()
        latents[first : first + 64] = part.half().cpu()
        for index, (_, masks) in enumerate(drawn, first):
            filled = F.avg_pool2d(torch.from_numpy(masks), masks.shape[-1] // LATENT_SIZE)
            for number, group in enumerate(scenes[index].groups):
                together = filled[group.start : group.stop].sum(0)
                areas[index, number] = (255 * together).round().byte()
    return latents, areas


def _load(kept: Path, families: list[list[Scene]], vae: AutoencoderKL, device: torch.device) -> EncodedScenes:
    scenes = [scene for family in families for scene in family]
    if kept.exists():
        latents, areas = torch.load(kept, weights_only=True)
    else:
        latents, areas = encode_scenes(vae, scenes, device)
        torch.save((latents, areas), kept)
    starts = accumulate((len(family) for family in families), initial=0)
    ranges = [
        range(start, start + len(family))
        for start, family in zip(starts, families, strict=False)
        for _ in family
    ]
    return EncodedScenes(scenes, latents, areas, ranges)


def load_scenes(
    *,
    seed: int,
    rank: int,
    number: int,
    vae: AutoencoderKL,
    cache: Path,
    device: torch.device,
    pairs: int | None = None,
    world: World = FIRST,
) -> EncodedScenes:
    """Return the encoded scenes of one process; the latents are saved in `cache` for the next start.

    If `pairs` is given, the scenes of `draw_families` follow the `number` random scenes.
    """
    alone = [[scene] for scene in draw_scenes(seed, rank, number, world)]
    encoded = _load(cache / f"scenes-{seed}-{rank}-{number}.pt", alone, vae, device)
    if pairs is None:
        return encoded
    families = draw_families(seed, rank, pairs)
    return encoded + _load(cache / f"placements-{seed}-{rank}-{pairs}.pt", families, vae, device)


@dataclass(frozen=True)
class Shares:
    """Shares of a batch (0 to 1) that are drawn from one group of scenes; the rest is drawn from all."""

    related: float = 0.0
    """Scenes that state a relation."""
    single: float = 0.0
    """Scenes of one object."""
    pairs: float = 0.0
    """Scenes of two objects without a relation, which only the words distinguish."""
    white: float = 0.0
    """Scenes of one white object with the plain caption. Only its outline distinguishes a white object from
    most backgrounds, so it requires the most exact shape."""
    unsaid: float = 0.0
    """Share of captions, among scenes of one object, that name a second object with its words dropped (their
    rows are replaced by the empty prompt's). The model thus learns that an object at weight 0 is absent."""


def draw_batch(
    encoded: EncodedScenes,
    tokenizer: CLIPTokenizer,
    shares: Shares = Shares(),
    world: World = FIRST,
) -> Callable[[Random, int], Batch]:
    """Return a function that draws a batch of scenes, each with a new caption.

    Single objects and pairs are drawn from the scenes with all placements encoded, if there are any; all
    other scenes are drawn from the rest.
    """
    scenes, families = encoded.scenes, encoded.families
    everything = [index for index, family in enumerate(families) if len(family) == 1] or range(len(scenes))
    placed = [index for index, family in enumerate(families) if len(family) > 1] or everything
    related = [index for index in everything if scenes[index].relation]
    single = [index for index in placed if not scenes[index].relation and len(scenes[index].things) == 1]
    pairs = [index for index in placed if not scenes[index].relation and len(scenes[index].things) == 2]
    white = [index for index in single if scenes[index].things[0].color == "white"]
    groups = (everything, related, single, pairs, white)
    names = Names(tokenizer, world)
    rest = 1 - shares.related - shares.single - shares.pairs - shares.white
    weights = (rest, shares.related, shares.single, shares.pairs, shares.white)

    def draw(rng: Random, size: int) -> Batch:
        drawn = rng.choices(groups, weights, k=size)
        chosen = [rng.choice(group or everything) for group in drawn]
        told = [
            (plainly(scenes[i], rng.choice(LANGUAGES)), scenes[i], 0)
            if group is white
            else _tell(scenes[i], rng, shares.unsaid, world)
            for i, group in zip(chosen, drawn, strict=True)
        ]
        texts = [text for text, _, _ in told]
        ids = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        named = torch.tensor(
            [names.find(scene, row) for (_, scene, _), row in zip(told, ids.tolist(), strict=True)]
        )
        only = torch.tensor([[thing] for _, _, thing in told])  # 0 if all objects are present
        areas = encoded.areas[chosen].float() / 255
        sizes = torch.tensor([[len(families[i])] for i in chosen])
        nth = torch.arange(int(sizes.max()))
        known = nth < sizes
        starts = torch.tensor([[families[i].start] for i in chosen])
        return {
            "latents": encoded.latents[chosen].float(),
            "covered": (areas.sum(1) > 1 / 255).float(),
            "areas": areas,
            "placements": encoded.latents[starts + nth * known],
            "known": known,
            "ids": ids,
            "named": torch.where(only == 0, named, (named == only).long()),
            "plain": torch.tensor(
                [text in [plainly(scene, language) for language in LANGUAGES] for text, scene, _ in told]
            )
            & (only == 0).flatten(),
            "unsaid": (only > 0) & (named > 0) & (named != only),
        }

    return draw


def _tell(scene: Scene, rng: Random, unsaid: float, world: World) -> tuple[str, Scene, int]:
    """Return a caption, the scene it describes, and the number of the only present object (0: all)."""
    if rng.random() < CAPTION_DROPOUT:
        return "", scene, 0
    alone = len(scene.things) == 1 and not scene.relation
    if not (unsaid and alone and rng.random() < unsaid):
        return caption(scene, rng, world=world), scene, 0
    (thing,) = scene.things
    kind = rng.choice([kind for kind in world.things if kind != thing.kind])
    color = rng.choice([color for color in world.colors if color not in (thing.color, scene.background)])
    other = Thing(kind, color, thing.x, thing.y, thing.side)
    number = rng.choice((1, 2))
    things = (thing, other) if number == 1 else (other, thing)
    pair = replace(scene, things=things, relation=rng.choice(("", "", *RELATIONS)))
    return caption(pair, rng, world=world), pair, number


@torch.no_grad()
def save_sheet(vae: AutoencoderKL, latents: Tensor, path: Path) -> None:
    """Save the decoded latents (images, 8, 16, 16) in rows of `SHEET_COLUMNS`, at twice their size."""
    pictures = vae.decode(latents).sample.clamp(-1, 1).permute(0, 2, 3, 1).cpu()
    cells = ((pictures + 1) * 127.5).round().to(torch.uint8).numpy()
    columns = min(len(cells), SHEET_COLUMNS)
    blank = np.full((-len(cells) % columns, *cells.shape[1:]), 255, np.uint8)
    cells = np.concatenate([cells, blank])
    strips = [np.concatenate(list(cells[i : i + columns]), axis=1) for i in range(0, len(cells), columns)]
    sheet = to_image(np.concatenate(strips))
    sheet.resize((2 * sheet.width, 2 * sheet.height)).save(path)
