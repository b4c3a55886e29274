"""Object search: match of icons to the difference between an image and its ground, at all positions.

An icon with coverage a and color c changes the ground g by a(c - g). The part of the difference d that it
explains is

    2 <d, a(c - g)> - |a(c - g)|²,

which equals |d|² if the icon explains the whole difference. The colors enter linearly through the coverages
of fill, rim, ink and pattern (`_Layers`), so a few convolutions serve all colors. No training is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from promptweight.mini import anchors, palette
from promptweight.mini.backdrops import CELL, UNITS
from promptweight.mini.icons import layers
from promptweight.mini.painting import pattern_cover
from promptweight.mini.sampling import CROWD_SIDE, GROUP_SIZES, HAT, SINGLE_SIZES
from promptweight.mini.worlds import World

STRIDE = 2  # pixels between tested positions
MIN_GAIN = 0.5  # minimum explained fraction of the change that an icon makes
MIN_ENERGY = 0.6  # minimum explained sum of squares, of values 0 to 1
MIN_FIT = 0.35  # minimum explained fraction of the difference in the icon's square
MIRROR_SIDE = 28
SUNK = 0.6  # visible fraction of an object, above the rim of its container
PLACES_TRIED = 12  # best positions kept for each search


@dataclass(frozen=True)
class ReadThing:
    """Object detected in an image.

    Position and side are in 64ths of the image; `gain` is the explained fraction of the object's own change.
    """

    kind: str
    color: str
    shade: str
    pattern: str
    x: int
    y: int
    side: int
    gain: float

    @property
    def center(self) -> tuple[float, float]:
        """Center (x, y) of the bounding square, in 64ths of the image."""
        return self.x + self.side / 2, self.y + self.side / 2


@dataclass(frozen=True)
class _Layers:
    """Coverages of fill, rim, ink and pattern for several kinds at one side; they sum to `cover`."""

    kinds: tuple[str, ...]
    parts: Tensor
    """Coverages of fill, rim, ink and pattern: (kinds, 4, side, side)."""

    @property
    def cover(self) -> Tensor:
        """Whole coverage: (kinds, side, side)."""
        return self.parts.sum(1)


@cache
def _layers(kinds: tuple[str, ...], side: int, pattern: str, rows: int) -> _Layers:
    """Return the layers of kinds, drawn at twice the side and downsampled; rows from `rows` on are hidden."""
    stacked = []
    for kind in kinds:
        silhouette, rim, ink = layers(kind, 2 * side)
        second = np.zeros_like(silhouette)
        if pattern:
            second = pattern_cover(pattern, 2 * side, 2 * CELL) * silhouette
        over = (1 - rim) * (1 - ink)
        parts = np.stack([silhouette * (1 - second) * over, rim * (1 - ink), ink, second * over])
        reduced = parts.reshape(4, side, 2, side, 2).mean((2, 4))
        reduced[:, rows:] = 0
        stacked.append(reduced)
    return _Layers(kinds, torch.from_numpy(np.stack(stacked)).float())


@cache
def list_looks(world: World) -> tuple[tuple[tuple[str, str], ...], Tensor]:
    """Return all pairs of color and shade, and their RGB values (looks, 4, 3): fill, rim, ink, pattern."""
    names = [(color, "") for color in world.colors]
    names += [
        (color, shade) for shade in world.shades for color in palette.SHADES[shade] if color in world.colors
    ]
    rows = []
    for color, shade in names:
        fill = palette.fill(color, shade)
        rows.append(np.stack([fill, palette.rim(fill), palette.ink(fill), palette.second(fill)]) / 255)
    return tuple(names), torch.from_numpy(np.stack(rows)).float()


@dataclass(frozen=True)
class Search:
    """Search for several kinds at one side: stride in pixels, and number of visible icon rows."""

    kinds: tuple[str, ...]
    side: int
    stride: int
    rows: int


@cache
def _searches(world: World) -> tuple[Search, ...]:
    sides = {
        CROWD_SIDE,
        MIRROR_SIDE,
        *(s for table in (SINGLE_SIZES, GROUP_SIZES) for ss in table.values() for s in ss),
    }
    searches = [Search(world.things, side, STRIDE, side) for side in sorted(sides)]
    if "in" in world.relations:
        searches.append(Search(world.things, 24, 4, round(SUNK * 24)))
    if "wear" in world.relations:
        searches += [Search((HAT,), 2 * round(anchors.HAT_SHARE * side / 2), 1, UNITS) for side in (24, 32)]
    if "hold" in world.relations:
        side = 2 * round(anchors.HELD_SHARE * 16)
        searches.append(Search(tuple(world.of(anchors.HELD)), side, 1, UNITS))
    return tuple(searches)


def _explained(
    difference: Tensor, ground: Tensor, shapes: _Layers, colors: Tensor, stride: int
) -> tuple[Tensor, Tensor]:
    """Return the explained difference and the own change of each kind in each color at each position.

    Args:
        difference: image minus ground (3, height, width).
        ground: ground (3, height, width).
        shapes: layers of the kinds.
        colors: RGB values of fill, rim, ink and pattern (looks, 4, 3).
        stride: pixels between positions.

    Returns:
        Two tensors (kinds, looks, rows, columns), in summed squares.
    """
    kinds, parts = shapes.parts.shape[:2]
    cover = shapes.cover

    def scan(planes: Tensor, kernels: Tensor) -> Tensor:
        return F.conv2d(planes[:, None], kernels[:, None], stride=stride)

    flat = shapes.parts.flatten(0, 1)
    covered = (shapes.parts * cover[:, None]).flatten(0, 1)
    shape = (3, kinds, parts)
    overlap = scan(difference, flat).unflatten(1, shape[1:])  # (3, kinds, 4, rows, columns)
    behind = scan(ground, covered).unflatten(1, shape[1:])
    with_paint = torch.einsum("ckprs,lpc->klrs", overlap, colors)
    ground_paint = torch.einsum("ckprs,lpc->klrs", behind, colors)
    lost = scan((difference * ground).sum(0, keepdim=True), cover)[0]  # (kinds, rows, columns)
    hidden = scan(ground.square().sum(0, keepdim=True), cover.square())[0]
    products = torch.einsum("kpxy,kqxy->kpq", shapes.parts, shapes.parts)
    own = torch.einsum("kpq,lpc,lqc->kl", products, colors, colors)
    change = own[..., None, None] - 2 * ground_paint + hidden[:, None]
    return 2 * (with_paint - lost[:, None]) - change, change.clamp_min(1e-6)


def find_candidates(
    target: Tensor, ground: Tensor, world: World, exactness: float
) -> list[tuple[float, Search, int, int]]:
    """Return the best positions of each search, as tuples (rank, search, x, y).

    The rank is the explained difference, times its fraction of the whole difference in the object's square,
    times the gain (the explained fraction of the object's own change) to the power `exactness`. A large power
    ranks several exact matches before one large object that covers them all.

    Args:
        target: image to explain (3, 64, 64), 0 to 1.
        ground: ground with the objects painted so far (3, 64, 64).
        world: world of the image.
        exactness: exponent of the gain.
    """
    _, colors = list_looks(world)
    difference = target - ground
    found = []
    for search in _searches(world):
        shapes = _layers(search.kinds, search.side, "", search.rows)
        explained, change = _explained(difference, ground, shapes, colors, search.stride)
        square = torch.ones(1, 1, min(search.rows, search.side), search.side)
        energy = F.conv2d(difference.square().sum(0)[None, None], square, stride=search.stride)[0, 0]
        fit = explained / energy[: explained.shape[2]].clamp_min(MIN_ENERGY)
        gain = explained / change
        valid = (gain >= MIN_GAIN) & (explained >= MIN_ENERGY) & (fit >= MIN_FIT)
        rank = torch.where(valid, explained * fit * gain.clamp(0, 1) ** exactness, 0).amax((0, 1))
        values, places = rank.flatten().topk(min(PLACES_TRIED, rank.numel()))
        for value, place in zip(values.tolist(), places.tolist(), strict=True):
            if value > 0:
                row, column = divmod(place, rank.shape[1])
                found.append((value, search, column * search.stride, row * search.stride))
    return found


def refine_candidate(
    target: Tensor, ground: Tensor, world: World, search: Search, x: int, y: int
) -> ReadThing:
    """Return the object that explains most of the difference at one position, over all looks and patterns.

    Args:
        target: image to explain (3, 64, 64), 0 to 1.
        ground: ground with the objects painted so far (3, 64, 64).
        world: world of the image.
        search: kinds and side of the object.
        x: left edge of the object in pixels.
        y: top edge of the object in pixels.
    """
    names, colors = list_looks(world)
    box = (slice(None), slice(y, y + search.side), slice(x, x + search.side))
    best: tuple[float, ReadThing] | None = None
    for pattern in ("", *world.patterns):
        shapes = _layers(search.kinds, search.side, pattern, search.rows)
        explained, change = _explained((target - ground)[box], ground[box], shapes, colors, 1)
        top, index = explained.flatten().max(0)
        if best is None or float(top) > best[0]:
            kind, look = divmod(int(index), len(names))
            gain = float(top) / float(change.flatten()[index])
            best = float(top), ReadThing(search.kinds[kind], *names[look], pattern, x, y, search.side, gain)
    assert best is not None
    return best[1]


def paint_object(ground: Tensor, thing: ReadThing, rows: int) -> Tensor:
    """Return a copy of the ground with the first `rows` rows of an object painted onto it."""
    shapes = _layers((thing.kind,), thing.side, thing.pattern, rows)
    fill = palette.fill(thing.color, thing.shade)
    colors = np.stack([fill, palette.rim(fill), palette.ink(fill), palette.second(fill)]) / 255
    paint = torch.einsum("pxy,pc->cxy", shapes.parts[0], torch.from_numpy(colors).float())
    painted = ground.clone()
    box = (slice(None), slice(thing.y, thing.y + thing.side), slice(thing.x, thing.x + thing.side))
    painted[box] = painted[box] * (1 - shapes.cover) + paint
    return painted
