"""Reading pictures of the built-in world by synthesis: ground, light and weather first, then thing by thing.

A picture is reduced to 64 pixels. The ground is the nearest of all grounds that the world has, in every
light. Then the icon whose painting explains most of the difference from the ground is painted onto the
ground, and the rest is explained in the same way, so that things may overlap. An icon of cover a and color c
changes the ground g by a(c - g); of the difference d it explains

    2 <d, a(c - g)> - |a(c - g)|²,

which is |d|² where it explains all. The colors enter linearly through the cover of fill, rim, ink and pattern
(`_Layers`), so that few convolutions serve all colors. Nothing is trained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from promptweight.mini import anchors, backdrops, palette
from promptweight.mini.backdrops import CELL, LAKE, LIGHTS, UNITS, WATERLINE
from promptweight.mini.icons import layers
from promptweight.mini.painting import pattern_cover
from promptweight.mini.sampling import CROWD_SIDE, GROUP_SIZES, HAT, SINGLE_SIZES
from promptweight.mini.worlds import World

FRAME = 3  # pixels at the edges that show the ground
STRIDE = 2  # pixels between the places that are tried
MIN_GAIN = 0.5  # of the change that an icon makes, which it must explain
EXACTNESS = (0, 12)  # powers of the gain in the rank of a thing: large things first, or perfect ones
THING_COST = 1.0  # in summed squares: of two explanations the shorter one is better
ENOUGH, FEW = (
    0.03,
    4,
)  # part of the difference that may be left by fewer things, to take the first explanation
MIN_ENERGY = 0.6  # that it must explain, in summed squares of values 0 to 1
MIRROR_SIDE = 28
SUNK = 0.6  # the part of a thing that is seen above the edge of what it sits in
MIN_FIT = 0.35  # of all that differs in its square, which a thing must explain
MIN_NEED = 0.25  # of the change that a thing makes, by which the picture must be explained better with it
MAX_PASSES, PLACES_TRIED = 5, 12


@dataclass(frozen=True)
class Ground:
    """Ground, light and weather of a picture."""

    background: str
    place: str
    light: str
    weather: str
    amount: int


@dataclass(frozen=True)
class ReadThing:
    """A thing found in a picture; places and sides in 64ths, `gain` the explained part of its change."""

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
        """The middle of its square (x, y)."""
        return self.x + self.side / 2, self.y + self.side / 2


@dataclass(frozen=True)
class Reading:
    """Content of a picture: its ground, and its things, those that explain most first."""

    ground: Ground
    things: tuple[ReadThing, ...]


@dataclass(frozen=True)
class _Layers:
    """Cover of fill, rim, ink and pattern of kinds at one side; together they are the whole cover."""

    kinds: tuple[str, ...]
    parts: Tensor
    """(kinds, 4, side, side)"""

    @property
    def cover(self) -> Tensor:
        """(kinds, side, side)."""
        return self.parts.sum(1)


@cache
def _layers(kinds: tuple[str, ...], side: int, pattern: str, rows: int) -> _Layers:
    """Return the layers of kinds, drawn at twice the side and reduced; only the first rows are seen."""
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
def _looks(world: World) -> tuple[tuple[tuple[str, str], ...], Tensor]:
    """Return every color with its shade, and the colors (looks, 4, 3) of fill, rim, ink and pattern."""
    names = [(color, "") for color in world.colors]
    names += [
        (color, shade) for shade in world.shades for color in palette.SHADES[shade] if color in world.colors
    ]
    rows = []
    for color, shade in names:
        fill = palette.fill(color, shade)
        rows.append(np.stack([fill, palette.rim(fill), palette.ink(fill), palette.second(fill)]) / 255)
    return tuple(names), torch.from_numpy(np.stack(rows)).float()


def _grounds(world: World) -> list[tuple[str, str]]:
    places = [(world.backgrounds[0], place) for place in world.places]
    lakes = [(background, LAKE) for background in world.backgrounds if "mirror" in world.relations]
    return [(background, "") for background in world.backgrounds] + places + lakes


@cache
def _canvas(background: str, place: str, weather: str, amount: int) -> NDArray[np.float32]:
    canvas = np.empty((2 * UNITS, 2 * UNITS, 3), np.float32)
    canvas[:] = np.array(palette.BACKGROUNDS[background], np.float32)
    if place:
        backdrops.draw_place(canvas, place)
    if weather:
        backdrops.draw_weather(canvas, weather, amount)
    reduced: NDArray[np.float32] = canvas.reshape(UNITS, 2, UNITS, 2, 3).mean((1, 3)) / 255
    return reduced


def _apart(picture: NDArray[np.float32], ground: NDArray[np.float32]) -> float:
    """Return how far a picture is from a ground: the mean of clipped differences, and that of the frame.

    Things count little where differences are clipped, and seldom reach into the frame.
    """
    clipped = np.minimum(np.abs(picture - ground).max(-1), 0.15)
    frame = np.concatenate([clipped[:FRAME].ravel(), clipped[-FRAME:].ravel(), clipped[:, :FRAME].ravel()])
    return float(clipped.mean() + frame.mean())


def read_ground(picture: NDArray[np.float32], world: World) -> Ground:
    """Return the ground, light and weather of a picture (64, 64, 3; 0 to 1)."""
    lights = [light for light in LIGHTS if light != "day" and (not light or light in world.lights)]
    light, (background, place) = min(
        product(lights, _grounds(world)),
        key=lambda each: _apart(picture, _canvas(*each[1], "", 0) * np.array(LIGHTS[each[0]], np.float32)),
    )
    weather, amount = min(
        [("", 0), *((weather, amount) for weather in world.weathers for amount in (1, 2, 3))],
        key=lambda each: _apart(
            picture, _canvas(background, place, *each) * np.array(LIGHTS[light], np.float32)
        ),
    )
    return Ground(background, place, light, weather, amount)


@dataclass(frozen=True)
class _Search:
    """Kinds that are searched for at one side."""

    kinds: tuple[str, ...]
    side: int
    stride: int
    rows: int


@cache
def _searches(world: World) -> tuple[_Search, ...]:
    sides = {
        CROWD_SIDE,
        MIRROR_SIDE,
        *(s for table in (SINGLE_SIZES, GROUP_SIZES) for ss in table.values() for s in ss),
    }
    searches = [_Search(world.things, side, STRIDE, side) for side in sorted(sides)]
    if "in" in world.relations:
        searches.append(_Search(world.things, 24, 4, round(SUNK * 24)))
    if "wear" in world.relations:
        searches += [_Search((HAT,), 2 * round(anchors.HAT_SHARE * side / 2), 1, UNITS) for side in (24, 32)]
    if "hold" in world.relations:
        side = 2 * round(anchors.HELD_SHARE * 16)
        searches.append(_Search(tuple(world.of(anchors.HELD)), side, 1, UNITS))
    return tuple(searches)


def _explained(
    difference: Tensor, ground: Tensor, shapes: _Layers, colors: Tensor, stride: int
) -> tuple[Tensor, Tensor]:
    """Return what every kind in every color explains, and its own change, at every place.

    Args:
        difference: picture less ground (3, height, width).
        ground: (3, height, width).
        shapes: of some kinds.
        colors: (looks, 4, 3).
        stride: pixels between places.

    Returns:
        Two tensors (kinds, looks, rows, columns).
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


def read(picture: NDArray[np.uint8], world: World) -> Reading:
    """Read a picture (size, size, 3) of a world.

    Args:
        picture: in sRGB, its side a multiple of 64.
        world: what may be in it.
    """
    scale = picture.shape[0] // UNITS
    if picture.shape != (scale * UNITS, scale * UNITS, 3) or scale < 1:
        raise ValueError(f"the picture must have a side that is a multiple of {UNITS}; got {picture.shape}")
    small = (
        picture.reshape(UNITS, scale, UNITS, scale, 3).mean((1, 3), dtype=np.float64).astype(np.float32) / 255
    )
    found = read_ground(small, world)
    unlit = small / np.array(LIGHTS[found.light], np.float32)
    base = _canvas(found.background, found.place, found.weather, found.amount)
    target = torch.from_numpy(unlit).permute(2, 0, 1)
    ground = torch.from_numpy(base.copy()).permute(2, 0, 1)
    if found.place == LAKE:  # the lower half repeats the upper one
        target = torch.cat([target[:, :WATERLINE], ground[:, WATERLINE:]], 1)
    readings = []
    for exactness in EXACTNESS:
        painted = _explain(target, ground, world, exactness)
        error = float((target - _all_painted(ground, painted)).square().sum())
        readings.append((error + THING_COST * len(painted), painted))
        if error <= ENOUGH * float((target - ground).square().sum()) and len(painted) < FEW:
            break
    _, painted = min(readings, key=lambda each: each[0])
    things: list[ReadThing] = []
    for thing, _ in painted:
        if not any(_same(thing, other) for other in things):
            things.append(thing)
    return Reading(found, tuple(things))


def _explain(target: Tensor, ground: Tensor, world: World, exactness: float) -> list[tuple[ReadThing, int]]:
    """Return things that explain a picture, with their seen rows, in the order of painting."""
    painted: list[tuple[ReadThing, int]] = []
    canvas = ground
    for _ in range(MAX_PASSES):
        chosen = _keep_apart(_candidates(target, canvas, world, exactness))
        if not chosen:
            break
        for search, x, y in chosen:
            thing = _refine(target, canvas, world, search, x, y)
            if thing.gain >= MIN_GAIN:
                canvas = _painted(canvas, thing, search.rows)
                painted.append((thing, search.rows))
    return _recolored(target, ground, _needed(target, ground, painted), world)


def _recolored(
    target: Tensor, ground: Tensor, painted: list[tuple[ReadThing, int]], world: World
) -> list[tuple[ReadThing, int]]:
    """Choose color, shade and pattern anew for things that others are painted over."""
    names, _ = _looks(world)
    kept = list(painted)
    for index, (thing, rows) in enumerate(painted):
        if not any(_meet(thing, later) for later, _ in painted[index + 1 :]):
            continue
        before = _all_painted(ground, kept[:index])

        def error(other: ReadThing, before: Tensor = before, index: int = index, rows: int = rows) -> float:
            canvas = _all_painted(_painted(before, other, rows), kept[index + 1 :])
            return float((target - canvas).square().sum())

        others = [
            replace(thing, color=color, shade=shade, pattern=pattern)
            for color, shade in names
            for pattern in ("", *world.patterns)
        ]
        kept[index] = min([thing, *others], key=error), rows
    return kept


def _meet(one: ReadThing, other: ReadThing) -> bool:
    across, down = (abs(a - b) for a, b in zip(one.center, other.center, strict=True))
    return max(across, down) < (one.side + other.side) / 2


def _all_painted(ground: Tensor, painted: list[tuple[ReadThing, int]]) -> Tensor:
    for thing, rows in painted:
        ground = _painted(ground, thing, rows)
    return ground


def _needed(
    target: Tensor, ground: Tensor, painted: list[tuple[ReadThing, int]]
) -> list[tuple[ReadThing, int]]:
    """Leave out the things without which the picture is explained as well, such as those painted over."""

    def error(kept: list[tuple[ReadThing, int]]) -> float:
        return float((target - _all_painted(ground, kept)).square().sum())

    kept = list(painted)
    for each in sorted(painted, key=lambda one: one[0].side):
        without = [one for one in kept if one is not each]
        alone = float((_painted(ground, *each) - ground).square().sum())
        if error(without) - error(kept) < max(MIN_ENERGY, MIN_NEED * alone):
            kept = without
    return kept


def _same(one: ReadThing, other: ReadThing) -> bool:
    """Return whether a thing is one that was found before and partly painted over since."""
    apart = max(abs(a - b) for a, b in zip(one.center, other.center, strict=True))
    return one.kind == other.kind and one.side == other.side and apart <= STRIDE


def _candidates(
    target: Tensor, ground: Tensor, world: World, exactness: float
) -> list[tuple[float, _Search, int, int]]:
    """Return the places of every search where a thing explains most: (rank, search, x, y).

    The rank is what is explained, times its part of all that differs in the thing's square, times a power of
    the explained part of the thing's own change, with which many things that are explained perfectly come
    before a large one that covers them all.
    """
    _, colors = _looks(world)
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


def _keep_apart(candidates: list[tuple[float, _Search, int, int]]) -> list[tuple[_Search, int, int]]:
    """Keep the best candidates whose squares do not meet."""
    kept: list[tuple[_Search, int, int]] = []
    for _, search, x, y in sorted(candidates, key=lambda each: (-each[0], each[2], each[3])):
        if all(
            x + search.side <= left
            or left + other.side <= x
            or y + search.side <= top
            or top + other.side <= y
            for other, left, top in kept
        ):
            kept.append((search, x, y))
    return kept


def _refine(target: Tensor, ground: Tensor, world: World, search: _Search, x: int, y: int) -> ReadThing:
    """Return the thing, with its color, shade and pattern, that explains most at one place."""
    names, colors = _looks(world)
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


def _painted(ground: Tensor, thing: ReadThing, rows: int) -> Tensor:
    """Return the ground with the seen rows of a thing painted onto it."""
    shapes = _layers((thing.kind,), thing.side, thing.pattern, rows)
    fill = palette.fill(thing.color, thing.shade)
    colors = np.stack([fill, palette.rim(fill), palette.ink(fill), palette.second(fill)]) / 255
    paint = torch.einsum("pxy,pc->cxy", shapes.parts[0], torch.from_numpy(colors).float())
    painted = ground.clone()
    box = (slice(None), slice(thing.y, thing.y + thing.side), slice(thing.x, thing.x + thing.side))
    painted[box] = painted[box] * (1 - shapes.cover) + paint
    return painted
