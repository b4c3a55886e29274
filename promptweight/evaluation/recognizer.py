"""Recognises the built-in world's things in a picture, by drawing every explanation and keeping the best.

Each icon in each size and colour is laid over each place of a grid; what counts is how much of the picture's
difference from its ground the icon explains (1 is all of it). There is nothing to train, and how often it
errs on drawn scenes, whose truth is known, is measured by `recogniser_error`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from promptweight.evaluation.statistics import Share
from promptweight.mini import (
    COLORS,
    GROUP_SIDE,
    KINDS,
    SINGLE_SIDES,
    UNITS,
    Scene,
    Thing,
    paint,
    random_scene,
    render,
)

SIDES = (GROUP_SIDE, *SINGLE_SIDES)
GRID = 2  # places that are tried, in pixels
LEAST_FIT = 0.5  # of the difference from the ground that an explanation must account for
LEAST_ENERGY = 0.6  # summed squared difference (values 0 to 1) under which a square counts as empty ground


@dataclass(frozen=True)
class Found:
    """A thing found in a picture: what, which colour, where (pixels), and how much it explains (0 to 1)."""

    kind: str
    color: str
    x: int
    y: int
    side: int
    fit: float

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of its square (x, y) in pixels."""
        return self.x + self.side / 2, self.y + self.side / 2


@dataclass(frozen=True)
class _Templates:
    """Every kind and colour at one size, as what it adds to the ground: alpha·(colour − ground)."""

    paint: Tensor  # (kinds·colours, 3, side, side), colour premultiplied by its cover
    cover: Tensor  # (kinds·colours, side, side)
    names: tuple[tuple[str, str], ...]


@cache
def _templates(side: int) -> _Templates:
    paints, covers, names = [], [], []
    for kind in KINDS:
        for colour in COLORS:
            black, white = (
                paint(np.full((side, side, 3), ground, np.float32), kind, colour) for ground in (0, 255)
            )
            paints.append(black.transpose(2, 0, 1) / 255)
            covers.append(1 - (white - black).mean(2) / 255)
            names.append((kind, colour))
    return _Templates(torch.from_numpy(np.stack(paints)), torch.from_numpy(np.stack(covers)), tuple(names))


def ground_colour(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the colour (3,) of the ground, 0 to 1: the commonest colour of the outermost two pixels."""
    frame = np.concatenate(
        [
            picture[:2].reshape(-1, 3),
            picture[-2:].reshape(-1, 3),
            picture[:, :2].reshape(-1, 3),
            picture[:, -2:].reshape(-1, 3),
        ]
    )
    return np.median(frame, axis=0).astype(np.float32) / 255


def recognise(picture: NDArray[np.uint8], most: int = 4) -> list[Found]:
    """Find up to `most` things in a picture (64, 64, 3), the best explained first, none over another."""
    if picture.shape != (UNITS, UNITS, 3):
        raise ValueError(f"the picture has shape {picture.shape}; the recogniser reads (64, 64, 3)")
    ground = torch.from_numpy(ground_colour(picture))[:, None, None]
    difference = torch.from_numpy(picture).permute(2, 0, 1).float() / 255 - ground  # (3, 64, 64)
    candidates: list[tuple[float, float, Found]] = []
    for side in SIDES:
        templates = _templates(side)
        added = templates.paint - templates.cover[:, None] * ground  # what each changes on this ground
        energy = F.conv2d(difference.square().sum(0)[None, None], torch.ones(1, 1, side, side), stride=GRID)[
            0, 0
        ]
        overlap = F.conv2d(difference[None], added, stride=GRID)[0]  # (templates, rows, columns)
        explained = 2 * overlap - added.square().sum((1, 2, 3))[:, None, None]
        fit = explained / energy.clamp_min(LEAST_ENERGY)
        for row, column in (fit.amax(0) >= LEAST_FIT).nonzero().tolist():
            best = int(fit[:, row, column].argmax())
            kind, colour = templates.names[best]
            found = Found(
                kind, colour, column * GRID, row * GRID, side, round(float(fit[best, row, column]), 4)
            )
            candidates.append((float(explained[best, row, column]), found.fit, found))
    return _keep_apart(candidates, most)


def _keep_apart(candidates: list[tuple[float, float, Found]], most: int) -> list[Found]:
    """Keep what explains most, leaving out every square that lies over one already kept."""
    kept: list[Found] = []
    for _, _, found in sorted(candidates, key=lambda item: (-item[1] * item[0], item[2].x, item[2].y)):
        x, y = found.centre
        reach = [(other.side + found.side) / 2 * 0.7 for other in kept]
        apart = all(
            max(abs(x - other.centre[0]), abs(y - other.centre[1])) >= limit
            for other, limit in zip(kept, reach, strict=True)
        )
        if apart:
            kept.append(found)
        if len(kept) == most:
            break
    return kept


def recogniser_error(scenes: int = 400, seed: str = "recogniser") -> dict[str, Share]:
    """Measure the recogniser on drawn scenes of one to three things: shares of both that are read right."""
    rng = Random(seed)
    right = things = whole = tried = 0
    while tried < scenes:
        scene: Scene = random_scene(rng)
        if scene.relation in ("ride", "mirror"):
            continue
        tried += 1
        found = {(item.kind, item.color) for item in recognise(render(scene)[0])}
        wanted = {(thing.kind, thing.color) for thing in scene.things}
        right += len(found & wanted)
        things += len(wanted)
        whole += found == wanted
    return {"things": Share(right, things), "scenes": Share(whole, tried)}


@dataclass(frozen=True)
class Seen:
    """A picture, read against its scene."""

    found: tuple[Found | None, ...]
    """For each thing what was found of its kind and colour; None where it is missing."""
    kinds: tuple[bool, ...]
    """For each thing whether its kind is there, in any colour."""
    own: NDArray[np.bool_]
    """The pixels that have a thing's colours, (things, height, width)."""

    def has(self, thing: int) -> bool:
        """Whether the thing is there in its colour."""
        return self.found[thing] is not None

    def area(self, thing: int) -> float:
        """The part of the picture that has the thing's colours."""
        return float(self.own[thing].mean())

    def box(self, thing: int) -> NDArray[np.bool_]:
        """The square that the thing was found in, (height, width); empty where it is missing."""
        inside = np.zeros(self.own.shape[1:], bool)
        found = self.found[thing]
        if found is not None:
            inside[found.y : found.y + found.side, found.x : found.x + found.side] = True
        return inside


def colours_of(thing: Thing) -> NDArray[np.float32]:
    """The colours (2, 3; 0 to 1) that a thing's fill and rim are painted in."""
    fill = np.array(COLORS[thing.color], np.float32)
    dark = float(fill @ np.array([0.299, 0.587, 0.114], np.float32)) < 70
    rim = np.float32(80) + fill * np.float32(0.3) if dark else fill * np.float32(0.58)
    colours: NDArray[np.float32] = (np.stack([fill, rim]) / 255).astype(np.float32)
    return colours


def look(picture: NDArray[np.uint8], scene: Scene) -> Seen:
    """Read a picture (64, 64, 3) of a scene."""
    found = recognise(picture)
    palette = np.concatenate(
        [ground_colour(picture)[None], *(colours_of(thing) for thing in scene.things), [[40 / 255] * 3]]
    )
    distances = np.linalg.norm(picture[:, :, None].astype(np.float32) / 255 - palette, axis=-1)
    nearest = distances.argmin(-1)
    own = np.stack([(nearest - 1) // 2 == index for index in range(len(scene.things))])
    own &= (nearest > 0) & (nearest <= 2 * len(scene.things))
    return Seen(
        tuple(
            next((each for each in found if (each.kind, each.color) == (thing.kind, thing.color)), None)
            for thing in scene.things
        ),
        tuple(any(each.kind == thing.kind for each in found) for thing in scene.things),
        own,
    )
