"""Scene reader for images of the built-in world, by analysis through synthesis.

The image is reduced to 64 pixels. `read_ground` selects the nearest of all backgrounds and places of the
world, in all lights, and then the nearest weather. The icons that explain most of the difference between
image and ground (`object_search`) are then painted onto the ground, and the remaining difference is explained
in the same way, so objects may overlap. No training is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from promptweight.evaluation.object_search import (
    MIN_ENERGY,
    MIN_GAIN,
    STRIDE,
    ReadThing,
    Search,
    find_candidates,
    list_looks,
    paint_object,
    refine_candidate,
)
from promptweight.mini import backdrops, palette
from promptweight.mini.backdrops import LAKE, LIGHTS, UNITS, WATERLINE
from promptweight.mini.worlds import World

FRAME = 3  # width of the image's border that shows the ground, in pixels
EXACTNESS = (0, 12)  # exponents of the gain in an object's rank: 0 favors large objects, 12 exact matches
THING_COST = 1.0  # penalty per object, in summed squares, so that the shorter of two explanations wins
ENOUGH = 0.03  # maximum unexplained fraction of the difference for the first explanation to be accepted
FEW = 4  # number of objects below which the first explanation may be accepted
MIN_NEED = 0.25  # minimum reduction of the error by an object, as a fraction of the change that it makes
MAX_PASSES = 5


@dataclass(frozen=True)
class Ground:
    """Background color, place, light and weather of an image."""

    background: str
    place: str
    light: str
    weather: str
    amount: int


@dataclass(frozen=True)
class Reading:
    """Content of an image: ground and objects, the objects that explain most first."""

    ground: Ground
    things: tuple[ReadThing, ...]


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
    """Return the distance of an image from a ground: mean clipped difference plus its mean over the frame.

    Clipping limits the influence of objects, and objects seldom reach into the frame.
    """
    clipped = np.minimum(np.abs(picture - ground).max(-1), 0.15)
    frame = np.concatenate([clipped[:FRAME].ravel(), clipped[-FRAME:].ravel(), clipped[:, :FRAME].ravel()])
    return float(clipped.mean() + frame.mean())


def read_ground(picture: NDArray[np.float32], world: World) -> Ground:
    """Return the ground, light and weather of an image (64, 64, 3), 0 to 1."""
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


def read(picture: NDArray[np.uint8], world: World) -> Reading:
    """Read the ground and the objects of an image.

    Args:
        picture: sRGB image (size, size, 3), with a side that is a multiple of 64.
        world: world that limits the content of the image.

    Returns:
        The ground and the detected objects.

    Raises:
        ValueError: the shape of the image is invalid.
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
    if found.place == LAKE:  # the lower half reflects the upper half
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
    """Return the objects that explain an image, with their visible rows, in painting order."""
    painted: list[tuple[ReadThing, int]] = []
    canvas = ground
    for _ in range(MAX_PASSES):
        chosen = _keep_apart(find_candidates(target, canvas, world, exactness))
        if not chosen:
            break
        for search, x, y in chosen:
            thing = refine_candidate(target, canvas, world, search, x, y)
            if thing.gain >= MIN_GAIN:
                canvas = paint_object(canvas, thing, search.rows)
                painted.append((thing, search.rows))
    return _recolored(target, ground, _needed(target, ground, painted), world)


def _recolored(
    target: Tensor, ground: Tensor, painted: list[tuple[ReadThing, int]], world: World
) -> list[tuple[ReadThing, int]]:
    """Select color, shade and pattern again for each object under a later object."""
    names, _ = list_looks(world)
    kept = list(painted)
    for index, (thing, rows) in enumerate(painted):
        if not any(_meet(thing, later) for later, _ in painted[index + 1 :]):
            continue
        before = _all_painted(ground, kept[:index])

        def error(other: ReadThing, before: Tensor = before, index: int = index, rows: int = rows) -> float:
            canvas = _all_painted(paint_object(before, other, rows), kept[index + 1 :])
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
        ground = paint_object(ground, thing, rows)
    return ground


def _needed(
    target: Tensor, ground: Tensor, painted: list[tuple[ReadThing, int]]
) -> list[tuple[ReadThing, int]]:
    """Remove the objects that do not reduce the error enough, such as completely covered objects."""

    def error(kept: list[tuple[ReadThing, int]]) -> float:
        return float((target - _all_painted(ground, kept)).square().sum())

    kept = list(painted)
    for each in sorted(painted, key=lambda one: one[0].side):
        without = [one for one in kept if one is not each]
        alone = float((paint_object(ground, *each) - ground).square().sum())
        if error(without) - error(kept) < max(MIN_ENERGY, MIN_NEED * alone):
            kept = without
    return kept


def _same(one: ReadThing, other: ReadThing) -> bool:
    """Return whether two detections are the same object, detected again after partial occlusion."""
    apart = max(abs(a - b) for a, b in zip(one.center, other.center, strict=True))
    return one.kind == other.kind and one.side == other.side and apart <= STRIDE


def _keep_apart(candidates: list[tuple[float, Search, int, int]]) -> list[tuple[Search, int, int]]:
    """Select the best candidates with disjoint squares."""
    kept: list[tuple[Search, int, int]] = []
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
