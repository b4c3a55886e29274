"""Which map finds the thing best: by rule, layer, head and noise level, for every kind of word.

The same scenes and calls of the model serve all; what differs is how one recording becomes one map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from promptweight.evaluation.map_metrics import average_precision, best_ious, iou_at, mass_in, points_at
from promptweight.evaluation.map_rules import RULES, heat, layers
from promptweight.evaluation.noising import TIMESTEPS, Noised, _predict, noise_levels, noised, scenes
from promptweight.evaluation.statistics import Mean, Share
from promptweight.mini import LANGUAGES, RELATION_WORDS, Scene, phrase, plainly, render
from promptweight.mini.training.autoencoder import to_pixels
from promptweight.render import upsample_maps

PARTS = ("noun", "colour", "phrase")
MEASURES = ("iou", "iou at 0.4", "precision", "pointing", "inside", "leaked", "elsewhere")
MOST_MAPS = 120
"""Layers are chosen on about so many maps, which is enough to tell them apart."""
CHOOSING = 2
"""Every second scene chooses the best layers; they are measured on the others."""


@dataclass(frozen=True)
class Finding:
    """How one map found its thing, or for relation words both things."""

    scene: int
    language: str
    level: int
    part: str
    rule: str
    values: dict[str, float]
    things: int = 1


@dataclass(frozen=True)
class LayerFinding:
    """How a phrase's share map of one layer, or of one of its heads, found its thing."""

    scene: int
    level: int
    layer: str
    head: int | None
    iou: float
    pointing: float
    heat: Tensor | None = None
    """The map of the layer, half precision, for choosing among combinations."""
    mask: Tensor | None = None
    refined_iou: float = torch.nan
    """Of the layer's refined map; no number for heads."""
    refined_pointing: float = torch.nan


def values_of(heats: Tensor, own: Tensor, other: Tensor) -> list[dict[str, float]]:
    """Every measure of `MEASURES` for every map; what leaked is no number where there is no other thing."""
    inside, leaked = mass_in(heats, torch.stack([own, other])).unbind(1)
    elsewhere = 1 - inside - leaked
    if not other.any():
        leaked = torch.full_like(leaked, torch.nan)
    columns = (
        best_ious(heats, own),
        iou_at(heats, own),
        average_precision(heats, own),
        points_at(heats, own),
        inside,
        leaked,
        elsewhere,
    )
    rows = torch.stack([column.double() for column in columns], 1).tolist()
    return [dict(zip(MEASURES, row, strict=True)) for row in rows]


def findings(noise: Noised, shape: str = "") -> Iterator[Finding]:
    """Yield every thing, part and rule of one call of the model."""
    maps, scene = noise.session.maps, noise.scene
    nothing = torch.zeros_like(noise.masks[0])
    texts: list[tuple[str, str, Tensor, Tensor]] = []
    for index, thing in enumerate(scene.things):
        words = phrase(thing, noise.language)
        others = [mask for other, mask in enumerate(noise.masks) if other != index]
        other = torch.stack(others).any(0) if others else nothing
        for part, text in zip(PARTS, (words.noun, words.adjective, words.core), strict=True):
            texts.append((part, text, noise.masks[index], other))
    relation = RELATION_WORDS[noise.language].get(scene.relation, ("",))[0]
    if relation and len(scene.things) == 2:
        texts.append(("relation", relation, noise.masks.any(0), nothing))
    for part, text, own, other in texts:
        heats = torch.stack([heat(maps, text, rule) for rule in RULES])
        for rule, values in zip(RULES, values_of(heats, own, other), strict=True):
            yield Finding(
                noise.number,
                noise.language,
                noise.level.name,
                part,
                f"{rule}{shape}",
                values,
                len(scene.things),
            )


def layer_findings(noise: Noised) -> Iterator[LayerFinding]:
    """Yield every layer and head for the phrases of one call of the model."""
    maps = noise.session.maps
    columns = maps.recording.columns(("positive", 0))
    tables = maps.recording.tables["positive", 0]
    words = [columns[row] for placed in tables for row in placed.rows("text")]
    for index, thing in enumerate(noise.scene.things):
        core = phrase(thing, noise.language).core
        rows = [
            columns[placed.start + position]
            for placed in tables
            for word in placed.table.find(core)
            for position in word.positions
        ]
        mask = noise.masks[index]
        for slot, p in layers(maps):
            shares = p[..., rows].sum(-1) / p[..., words].sum(-1).clamp_min(1e-12)
            mean = p.mean(0)
            whole = mean[..., rows].sum(-1) / mean[..., words].sum(-1).clamp_min(1e-12)
            heats = torch.cat([whole[None], shares])
            heats = upsample_maps(heats, mask.shape)
            found = zip(best_ious(heats, mask).tolist(), points_at(heats, mask).tolist(), strict=True)
            for number, (iou, hit) in enumerate(found):
                is_whole = number == 0
                refined = maps.layers(slot.layers[0]).refined().word(core).tensor.cpu() if is_whole else None
                yield LayerFinding(
                    noise.number,
                    noise.level.name,
                    slot.layers[0],
                    None if is_whole else number - 1,
                    iou,
                    float(hit),
                    heats[0].half() if is_whole else None,
                    mask if is_whole else None,
                    *refined_values(refined, mask),
                )


def refined_values(heat: Tensor | None, mask: Tensor) -> tuple[float, float]:
    """IoU and pointing of a map; no numbers where there is none."""
    if heat is None:
        return torch.nan, torch.nan
    return float(best_ious(heat[None], mask)[0]), float(points_at(heat[None], mask)[0])


@dataclass(frozen=True)
class Bound:
    """How well a map on a grid can find a thing at all."""

    scene: int
    grid: str
    iou: float
    """Of the thing's own mask, averaged over the cells, enlarged as maps are."""


def bounds(noise: Noised) -> Iterator[Bound]:
    """Yield what every grid of the recording can hold of every thing's mask."""
    sizes = dict.fromkeys((slot.height, slot.width) for slot, _ in layers(noise.session.maps))
    for height, width in sizes:
        for mask in noise.masks:
            cells = F.adaptive_avg_pool2d(mask[None, None].float(), (height, width))
            heat = upsample_maps(cells, mask.shape)[0]
            yield Bound(noise.number, f"{height}x{width}", float(best_ious(heat, mask)[0]))


def best_layers(found: Iterable[LayerFinding]) -> tuple[tuple[str, ...], dict[str, list[tuple[int, float]]]]:
    """Choose layers on half of the scenes and measures them on the others.

    Layers are taken one by one, each time the one that helps the mean of the maps most, until none helps.

    Returns:
        The layers chosen, and on the other scenes the (scene, IoU) pairs of them ("chosen") and of all
        layers ("all").
    """
    maps: dict[tuple[int, int], dict[str, Tensor]] = {}
    masks: dict[tuple[int, int], Tensor] = {}
    scenes: dict[tuple[int, int], int] = {}
    count: dict[tuple[int, int, str], int] = {}
    for each in found:
        if each.heat is None or each.mask is None:
            continue
        turn = count.get((each.scene, each.level, each.layer), 0)  # of several things and languages
        count[each.scene, each.level, each.layer] = turn + 1
        key = (each.scene * 1_000_000 + each.level * 100 + turn, each.level)
        maps.setdefault(key, {})[each.layer] = each.heat.float()
        masks[key], scenes[key] = each.mask, each.scene
    names = list(dict.fromkeys(name for each in maps.values() for name in each))
    choosing = [key for key in maps if scenes[key] % CHOOSING == 0]
    choosing = choosing[:: max(1, len(choosing) // MOST_MAPS)]
    claiming = [key for key in maps if scenes[key] % CHOOSING]

    def ious(keys: list[tuple[int, int]], chosen: list[str]) -> list[float]:
        return [
            float(best_ious(torch.stack([maps[key][name] for name in chosen]).mean(0)[None], masks[key])[0])
            for key in keys
        ]

    chosen: list[str] = []
    best = -1.0
    while len(chosen) < len(names):
        tried = {
            name: sum(ious(choosing, [*chosen, name])) / max(1, len(choosing))
            for name in names
            if name not in chosen
        }
        winner = max(tried, key=lambda name: tried[name])
        if tried[winner] <= best:
            break
        chosen, best = [*chosen, winner], tried[winner]
    pairs = {
        kind: list(zip((scenes[key] for key in claiming), ious(claiming, which), strict=True))
        for kind, which in (("chosen", chosen), ("all", names))
    }
    return tuple(name for name in names if name in chosen), pairs


@dataclass(frozen=True)
class Found:
    """All that was measured about finding."""

    findings: tuple[Finding, ...]
    layers: tuple[LayerFinding, ...]
    bounds: tuple[Bound, ...] = ()


def measure(pipeline: Any, *, number: int, seed: int, timesteps: tuple[int, ...] = TIMESTEPS) -> Found:
    """Show the model `number` scenes at these noise levels, then a third as many wide ones at one."""
    from promptweight.attention import Record

    record = Record(heads="keep", refine=True)
    square: list[Finding] = []
    of_layers: list[LayerFinding] = []
    of_grids: list[Bound] = []
    for noise in noised(pipeline, number=number, seed=seed, timesteps=timesteps, record=record):
        square += findings(noise)
        of_layers += layer_findings(noise)
        of_grids += bounds(noise)
    wide = [
        found
        for noise in noised(
            pipeline, number=max(1, number // 3), seed=seed + 1, wide=True, timesteps=(300,), record=record
        )
        for found in findings(noise, ", wide")
    ]
    return Found((*square, *wide), tuple(of_layers), tuple(of_grids))


PARTS = ("noun", "colour", "phrase")


THRESHOLDS = torch.linspace(0, 1, 51)[1:-1]


@dataclass(frozen=True)
class Sample:
    """How one map of one word found its thing."""

    language: str
    part: str
    timestep: int
    things: int
    iou: float
    """Intersection over union at the best threshold of this map: an upper bound."""
    hit: bool
    """The map's maximum lies on the thing."""
    astray: bool
    """The map's maximum lies on another thing."""


def best_iou(heat: Tensor, mask: Tensor) -> float:
    """The largest intersection over union of a mask (height, width; bool) with the map above a threshold."""
    low, high = heat.min(), heat.max()
    above = (heat - low) / (high - low).clamp_min(1e-12) > THRESHOLDS[:, None, None]
    union = (above | mask).sum((1, 2))
    return float(((above & mask).sum((1, 2)) / union.clamp_min(1)).max())


@torch.no_grad()
def samples(
    pipeline: Any, *, number: int = 60, seed: int = 0, timesteps: tuple[int, ...] = TIMESTEPS
) -> Iterator[Sample]:
    """Yield a sample for every scene, language, noise level, thing and part of its phrase."""
    from promptweight.attention import attach

    generator = torch.Generator().manual_seed(seed)
    levels = noise_levels(pipeline.scheduler, timesteps)
    factor, shift = pipeline.vae.config.scaling_factor, pipeline.vae.config.shift_factor or 0.0
    for scene in scenes(number, seed):
        picture, masks = render(scene)
        pixels = to_pixels([picture]).to(pipeline.device, pipeline.vae.dtype)
        latents = pipeline.vae.encode(pixels).latent_dist.mode()
        latents = (latents - shift) * factor
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        solid = torch.from_numpy(masks) > 0.5
        for language in LANGUAGES:
            with attach(pipeline, plainly(scene, language)) as session:
                for level in levels:
                    session.reset()
                    noisy = level.signal * latents + level.noise * noise
                    _predict(pipeline, noisy, level.timestep, session.inputs)
                    yield from _read(session.maps, scene, solid, language, level.name)


def _read(maps: Any, scene: Scene, solid: Tensor, language: str, timestep: int) -> Iterator[Sample]:
    for index, thing in enumerate(scene.things):
        words = phrase(thing, language)
        others = solid[[other for other in range(len(scene.things)) if other != index]].any(0)
        for part, text in zip(PARTS, (words.noun, words.adjective, words.core), strict=True):
            heat = maps.word(text).tensor.cpu()
            yield Sample(
                language,
                part,
                timestep,
                len(scene.things),
                best_iou(heat, solid[index]),
                bool(points_at(heat[None], solid[index])[0]),
                bool(points_at(heat[None], others)[0]),
            )


def summarise(measured: list[Sample]) -> dict[str, dict[str, Mean | Share]]:
    """Return mean IoU and pointing shares by language and part, over timesteps and things."""
    table: dict[str, dict[str, Mean | Share]] = {}
    for language in LANGUAGES:
        for part in PARTS:
            own = [s for s in measured if (s.language, s.part) == (language, part)]
            table[f"{language} {part}"] = {
                "iou": Mean.of_all(s.iou for s in own),
                "pointing": Share.of_all(s.hit for s in own),
                "astray": Share.of_all(s.astray for s in own if s.things > 1),
            }
    return table
