"""What a picture shows of the two things that were asked for: are they there, how much of it do they take?

Pixels are sorted by the colour that they are nearest to: the ground's, or one of each thing's own (its fill
and its rim). The icons' dark ink is counted for neither thing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptweight.evaluation.recognizer import Found, ground_colour, recognise
from promptweight.mini.scenes import COLOURS, Scene, Thing


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
    fill = np.array(COLOURS[thing.colour], np.float32)
    dark = float(fill @ np.array([0.299, 0.587, 0.114], np.float32)) < 70
    rim = np.float32(80) + fill * np.float32(0.3) if dark else fill * np.float32(0.58)
    colours: NDArray[np.float32] = (np.stack([fill, rim]) / 255).astype(np.float32)
    return colours


def look(picture: NDArray[np.uint8], scene: Scene) -> Seen:
    """Reads a picture (64, 64, 3) of a scene."""
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
            next((each for each in found if (each.kind, each.colour) == (thing.kind, thing.colour)), None)
            for thing in scene.things
        ),
        tuple(any(each.kind == thing.kind for each in found) for thing in scene.things),
        own,
    )
