"""Localization by layer and head, the upper bound of each grid, and a greedy selection of layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from promptweight.evaluation.map_metrics import best_iou, is_peak_inside
from promptweight.evaluation.map_rules import find_columns, layer_probabilities
from promptweight.evaluation.noising import NoisedScene
from promptweight.mini import phrase
from promptweight.render import upsample_maps

MAX_MAPS = 120
"""Number of maps on which layers are selected; more maps do not change the ranking."""
SELECTION_STRIDE = 2
"""Every second scene selects the layers; the others measure them."""


@dataclass(frozen=True)
class LayerSample:
    """Accuracy of a phrase's share map of one layer or one of its heads."""

    scene: int
    level: int
    layer: str
    head: int | None
    """None for the mean over the heads."""
    iou: float
    pointing: float
    heat: Tensor | None = None
    """The map of the layer in half precision, for the selection of layers; None for heads."""
    mask: Tensor | None = None
    refined_iou: float = torch.nan
    """Of the layer's refined map; NaN for heads."""
    refined_pointing: float = torch.nan


@dataclass(frozen=True)
class GridBound:
    """Upper bound of the accuracy of maps on a grid."""

    scene: int
    grid: str
    iou: float
    """Of the object's own mask, averaged over the cells and upsampled as maps are."""


def measure_layers(noised: NoisedScene) -> Iterator[LayerSample]:
    """Yield a sample of every layer and head for the phrases of one call of the model."""
    maps = noised.session.maps
    columns = maps.recording.columns(("positive", 0))
    tables = maps.recording.tables["positive", 0]
    word_columns = [columns[row] for placed in tables for row in placed.rows("text")]
    for index, thing in enumerate(noised.scene.things):
        core = phrase(thing, noised.language).core
        phrase_columns = find_columns(maps, core)
        mask = noised.masks[index]
        for slot, p in layer_probabilities(maps):
            by_head = p[..., phrase_columns].sum(-1) / p[..., word_columns].sum(-1).clamp_min(1e-12)
            mean = p.mean(0)
            mean_share = mean[..., phrase_columns].sum(-1) / mean[..., word_columns].sum(-1).clamp_min(1e-12)
            heats = upsample_maps(torch.cat([mean_share[None], by_head]), mask.shape)
            refined = maps.layers(slot.layers[0]).refined().word(core).tensor.cpu()[None]
            ious, hits = best_iou(heats, mask).tolist(), is_peak_inside(heats, mask).tolist()
            yield LayerSample(
                noised.number,
                noised.level.name,
                slot.layers[0],
                None,
                ious[0],
                float(hits[0]),
                heats[0].half(),
                mask,
                float(best_iou(refined, mask)[0]),
                float(is_peak_inside(refined, mask)[0]),
            )
            for head, (iou, hit) in enumerate(zip(ious[1:], hits[1:], strict=True)):
                yield LayerSample(noised.number, noised.level.name, slot.layers[0], head, iou, float(hit))


def measure_grid_bounds(noised: NoisedScene) -> Iterator[GridBound]:
    """Yield the IoU of every object's mask after averaging over the cells of every recorded grid."""
    grids = dict.fromkeys((slot.height, slot.width) for slot, _ in layer_probabilities(noised.session.maps))
    for height, width in grids:
        for mask in noised.masks:
            cells = F.adaptive_avg_pool2d(mask[None, None].float(), (height, width))
            heat = upsample_maps(cells, mask.shape)[0]
            yield GridBound(noised.number, f"{height}x{width}", float(best_iou(heat, mask)[0]))


def select_layers(
    samples: Iterable[LayerSample],
) -> tuple[tuple[str, ...], dict[str, list[tuple[int, float]]]]:
    """Select layers on half of the scenes and measure them on the other half.

    The selection is greedy: it adds the layer that increases the mean IoU of the mean map most, until none
    does.

    Returns:
        The selected layers, and on the other scenes the (scene, IoU) pairs of these layers ("selected") and
        of all layers ("all").
    """
    maps: dict[tuple[int, int, int], dict[str, Tensor]] = {}
    masks: dict[tuple[int, int, int], Tensor] = {}
    counts: dict[tuple[int, int, str], int] = {}
    for sample in samples:
        if sample.heat is None or sample.mask is None:
            continue
        counter = (sample.scene, sample.level, sample.layer)
        phrase_number = counts.get(counter, 0)  # several objects and languages
        counts[counter] = phrase_number + 1
        key = (sample.scene, sample.level, phrase_number)
        maps.setdefault(key, {})[sample.layer] = sample.heat.float()
        masks[key] = sample.mask
    names = list(dict.fromkeys(name for by_layer in maps.values() for name in by_layer))
    selection = [key for key in maps if key[0] % SELECTION_STRIDE == 0]
    selection = selection[:: max(1, len(selection) // MAX_MAPS)]
    evaluation = [key for key in maps if key[0] % SELECTION_STRIDE]

    def measure(keys: list[tuple[int, int, int]], layers: list[str]) -> list[float]:
        return [
            float(best_iou(torch.stack([maps[key][name] for name in layers]).mean(0)[None], masks[key])[0])
            for key in keys
        ]

    selected: list[str] = []
    best = -1.0
    while len(selected) < len(names):
        scores = {
            name: sum(measure(selection, [*selected, name])) / max(1, len(selection))
            for name in names
            if name not in selected
        }
        winner = max(scores, key=lambda name: scores[name])
        if scores[winner] <= best:
            break
        selected, best = [*selected, winner], scores[winner]
    pairs = {
        name: list(zip((key[0] for key in evaluation), measure(evaluation, layers), strict=True))
        for name, layers in (("selected", selected), ("all", names))
    }
    return tuple(name for name in names if name in selected), pairs
