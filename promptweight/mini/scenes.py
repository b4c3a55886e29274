"""Scenes of the built-in world and their renderer, with exact masks of their objects.

A scene is data (`Scene`), sampled (`random_scene`) or made by hand, and `render` draws it:

>>> import numpy as np
>>> scene = Scene((Thing("cat", "red", 4, 20, 24), Thing("mouse", "gray", 36, 20, 24)), relation="chase")
>>> picture, masks = render(scene)
>>> picture.shape, masks.shape
((64, 64, 3), (2, 64, 64))

Positions and sizes are in 64ths of the picture, multiples of 4, so that every object lies on the grid of the
16 × 16 latents: shapes are learned several times faster than at free positions. The relations of the first
object to the second are `LEFT`, `RIGHT`, `ABOVE`, `BELOW`, `BESIDE` and `CHASE` (`RELATIONS`), and those of
the larger world `RIDE`, `MIRROR`, `WEAR`, `HOLD`, `ON` and `IN`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from promptweight.mini import anchors, backdrops
from promptweight.mini.backdrops import CELL, LAKE, UNITS, WATERLINE
from promptweight.mini.icons import layers
from promptweight.mini.painting import paint
from promptweight.mini.palette import BACKGROUNDS, COLORS

KINDS = (
    "cat",
    "mouse",
    "house",
    "tree",
    "sun",
    "car",
    "fish",
    "star",
    "heart",
    "circle",
    "square",
    "triangle",
    "astronaut",
    "horse",
)
"""Kinds of objects that the shipped models know."""

SINGLE_SIDES = (32, 40)
"""Sides of the square of a single object, in 64ths of the picture."""

GROUP_SIDE = 24
"""Side of the square of each of several objects, in 64ths of the picture."""

LEFT, RIGHT, ABOVE, BELOW, BESIDE, CHASE = "left", "right", "above", "below", "beside", "chase"
RELATIONS = (LEFT, RIGHT, ABOVE, BELOW, BESIDE, CHASE)
"""Relations of the first of two objects to the second."""

DRAWN_AS = {"": (LEFT, RIGHT, ABOVE, BELOW), BESIDE: (LEFT, RIGHT)}  # what may be drawn where less is said
OFFSETS = (-8, -4, 0, 4, 8)  # how far off the middle things are drawn


RIDE, MIRROR, WEAR, HOLD, ON, IN = "ride", "mirror", "wear", "hold", "on", "in"
TINY, SMALL, BIG, HUGE = "tiny", "small", "big", "huge"
MANY = "many"
MURKY, CLEAR = 0.55, 0.85  # how much of a thing its reflection shows


@dataclass(frozen=True)
class Thing:
    """One object: its kind, its color, the square it fills (corner and side in 64ths), and its adjectives.

    `shade` is "", "light" or "dark", `pattern` "", "striped" or "spotted". `size` is the word that is said of
    it, "" or one of "tiny", "small", "big" and "huge"; `side` is how large it is drawn.
    """

    kind: str
    color: str
    x: int
    y: int
    side: int
    shade: str = ""
    pattern: str = ""
    size: str = ""

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of its square (x, y) in 64ths of the picture."""
        return self.x + self.side / 2, self.y + self.side / 2

    @property
    def look(self) -> tuple[str, str, str, str, str]:
        """Everything but the place and the side: what one noun phrase says of it."""
        return self.kind, self.color, self.shade, self.pattern, self.size


@dataclass(frozen=True)
class Scene:
    """Things, ground, and how the first thing stands to the second.

    `relation` is one of `RELATIONS`, "" (none said), "ride" (the first sits on the second), "mirror" (water
    fills the lower half and shows the first thing upside down), "wear", "hold", "on" or "in". Without a place
    the ground is the color `background`. Rain or snow (`weather`) falls a little (1), normally (2) or heavily
    (3). Several things in a row that look alike are one group, counted in captions.
    """

    things: tuple[Thing, ...]
    background: str = "plain"
    relation: str = ""
    place: str = ""
    weather: str = ""
    amount: int = 0
    light: str = ""

    @property
    def groups(self) -> list[range]:
        """Which things one noun phrase names together: ranges of things that look alike."""
        groups: list[range] = []
        for index, thing in enumerate(self.things):
            if groups and thing.look == self.things[groups[-1].start].look:
                groups[-1] = range(groups[-1].start, index + 1)
            else:
                groups.append(range(index, index + 1))
        return groups


@dataclass(frozen=True)
class Drawing:
    """A picture (size, size, 3; uint8) and where in it everything is, masks of values 0 to 1.

    Attributes:
        picture: in sRGB.
        things: the visible part of each thing (things, size, size), without its reflection.
        reflection: where the water shows the first thing (size, size).
        weather: drops and flakes that are not hidden by things (size, size).
        place: what is neither a thing nor a reflection (size, size).
    """

    picture: NDArray[np.uint8]
    things: NDArray[np.float32]
    reflection: NDArray[np.float32]
    weather: NDArray[np.float32]
    place: NDArray[np.float32]


def _draw(
    canvas: NDArray[np.float32], thing: Thing, scale: int, flipped: bool = False, first_row: int = 0
) -> NDArray[np.float32]:
    """Paint a thing at its place and return its mask over the whole picture."""
    x, y, side = thing.x * scale, thing.y * scale, thing.side * scale
    paint(
        canvas[y : y + side, x : x + side],
        thing.kind,
        thing.color,
        shade=thing.shade,
        pattern=thing.pattern,
        cell=CELL * scale,
        flipped=flipped,
        first_row=first_row,
    )
    mask = np.zeros(canvas.shape[:2], np.float32)
    silhouette = layers(thing.kind, side)[0].copy()
    silhouette[:first_row] = 0
    mask[y : y + side, x : x + side] = silhouette[::-1] if flipped else silhouette
    return mask


def _draw_speed_lines(canvas: NDArray[np.float32], chaser: Thing, scale: int) -> None:
    x = max(0, chaser.x - 4) * scale
    for height in (0.35, 0.6, 0.85):
        y = round((chaser.y + chaser.side * height) * scale)
        canvas[y : y + scale, x : x + 4 * scale] = np.array((90, 90, 96), np.float32)


def draw(scene: Scene, size: int = UNITS) -> Drawing:
    """Draw a scene.

    Args:
        scene: what to draw.
        size: pixels a side, a multiple of 64.
    """
    if size % UNITS:
        raise ValueError(f"size is {size}; a picture's size is a multiple of {UNITS}")
    scale = size // UNITS
    canvas = np.empty((size, size, 3), np.float32)
    canvas[:] = np.array(BACKGROUNDS[scene.background], np.float32)
    if scene.relation == MIRROR or scene.place:
        backdrops.draw_place(canvas, scene.place or LAKE)
    weather = np.zeros((size, size), np.float32)
    if scene.weather:
        weather = backdrops.draw_weather(canvas, scene.weather, scene.amount)
    if scene.relation == CHASE:
        _draw_speed_lines(canvas, scene.things[0], scale)
    masks = np.zeros((len(scene.things), size, size), np.float32)
    reflection = np.zeros((size, size), np.float32)
    for index in _from_behind(scene):
        thing = scene.things[index]
        if scene.relation == MIRROR:
            below = replace(thing, y=2 * WATERLINE - thing.y - thing.side)
            water, image = slice(WATERLINE * scale, None), canvas.copy()
            reflection = np.maximum(reflection, _draw(image, below, scale, flipped=True))
            canvas[water] += (CLEAR if scene.place else MURKY) * (image - canvas)[water]
        front = _draw(canvas, thing, scale)
        masks *= 1 - front
        masks[index] = front
    if scene.relation == IN:
        box = scene.things[1]
        front = _draw(canvas, box, scale, first_row=round(anchors.RIMS[box.kind] * box.side * scale))
        masks *= 1 - front
        masks[1] = np.maximum(masks[1], front)
    backdrops.shine(canvas, scene.light)
    covered = np.maximum(masks.sum(0), reflection)
    return Drawing(
        np.clip(np.rint(canvas), 0, 255).astype(np.uint8),
        masks,
        reflection,
        weather * (1 - covered),
        np.clip(1 - covered, 0, 1),
    )


def _from_behind(scene: Scene) -> list[int]:
    """Return the order in which things are drawn: the first in front, but for what it wears or holds."""
    order = list(reversed(range(len(scene.things))))
    if scene.relation in (WEAR, HOLD):
        order.remove(1)
        order.append(1)
    return order


def render(scene: Scene, size: int = UNITS) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Draw a scene and return `Drawing.picture` and `Drawing.things`."""
    drawing = draw(scene, size)
    return drawing.picture, drawing.things


def reflection_mask(scene: Scene, size: int = UNITS) -> NDArray[np.float32]:
    """Return the mask (size, size) of the first thing's image in the water of a mirror scene."""
    return draw(scene, size).reflection


def _middle(side: int) -> int:
    return (UNITS - side) // 8 * 4


def _draw_looks(rng: Random, number: int) -> list[tuple[str, str]]:
    """Draw kinds and colors: no two things share either, so every word has one place to point at."""
    return list(zip(rng.sample(KINDS, number), rng.sample(list(COLORS), number), strict=True))


def _pair_places(rng: Random, relation: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Places the first and the second of two things as the relation says."""
    if relation in DRAWN_AS:
        relation = rng.choice(DRAWN_AS[relation])
    return _pair_at(relation, rng.choice(OFFSETS))


def _pair_at(relation: str, offset: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Places two things that stand to each other in one way, `offset` off the middle across it."""
    near, far = 4, UNITS - 4 - GROUP_SIDE
    across = (UNITS - GROUP_SIDE) // 2 + offset
    if relation in (LEFT, RIGHT, CHASE):
        first, second = (near, across), (far, across)
        return (second, first) if relation == RIGHT else (first, second)
    first, second = (across, near), (across, far)
    return (second, first) if relation == BELOW else (first, second)


def random_scene(rng: Random) -> Scene:
    """Draw a scene at random: about a third single things, half pairs, the rest threes, riders, mirrors."""
    background = "plain" if rng.random() < 0.6 else rng.choice(list(BACKGROUNDS)[1:])
    draw = rng.random()
    if draw < 0.34:
        ((kind, color),) = _draw_looks(rng, 1)
        side = rng.choice(SINGLE_SIDES)
        x, y = (_middle(side) + rng.choice(OFFSETS) for _ in range(2))
        return Scene((Thing(kind, color, x, y, side),), background)
    if draw < 0.86:
        relation = rng.choice(("", "", *RELATIONS))
        places = _pair_places(rng, relation)
        things = (
            Thing(kind, color, x, y, GROUP_SIDE)
            for (kind, color), (x, y) in zip(_draw_looks(rng, 2), places, strict=True)
        )
        return Scene(tuple(things), background, relation)
    if draw < 0.92:
        corners = rng.sample([(4, 4), (36, 4), (4, 36), (36, 36)], 3)
        things = (
            Thing(kind, color, x, y, GROUP_SIDE)
            for (kind, color), (x, y) in zip(_draw_looks(rng, 3), corners, strict=True)
        )
        return Scene(tuple(things), background)
    if draw < 0.96:
        rider, horse = rng.sample(list(COLORS), 2)
        x = rng.choice((4, 8, 12, 16, 20))
        return Scene(
            (Thing("astronaut", rider, x + 4, 12, GROUP_SIDE), Thing("horse", horse, x, 20, SINGLE_SIDES[1])),
            background,
            "ride",
        )
    ((kind, color),) = _draw_looks(rng, 1)
    return Scene(
        (Thing(kind, color, rng.choice((8, 12, 16, 20, 24, 28)), WATERLINE - GROUP_SIDE, GROUP_SIDE),),
        background,
        "mirror",
    )


def placements(scene: Scene) -> list[Scene]:
    """Return every scene that `random_scene` draws as often as this one and that differs only in places.

    Of a single thing these are two sizes in 25 places each, of two things 5 to 20 places. Of other scenes it
    is the scene itself, alone.
    """
    if len(scene.things) == 1 and scene.relation == "":
        (thing,) = scene.things
        return [
            replace(scene, things=(replace(thing, x=_middle(side) + x, y=_middle(side) + y, side=side),))
            for side in SINGLE_SIDES
            for x in OFFSETS
            for y in OFFSETS
        ]
    if len(scene.things) == 2 and scene.relation in ("", *RELATIONS):
        every = [
            _pair_at(relation, offset)
            for relation in DRAWN_AS.get(scene.relation, (scene.relation,))
            for offset in OFFSETS
        ]
        return [
            replace(
                scene,
                things=tuple(
                    replace(thing, x=x, y=y) for thing, (x, y) in zip(scene.things, places, strict=True)
                ),
            )
            for places in every
        ]
    return [scene]


def crowded_scene(rng: Random) -> Scene:
    """Draw a scene full of things: four small ones or a large and a half-hidden one, for the autoencoder."""
    background = rng.choice(list(BACKGROUNDS))
    if rng.random() < 0.5:
        corners = [(4, 4), (36, 4), (4, 36), (36, 36)]
        shift = rng.choice((-4, 0, 4))
        things = [
            Thing(kind, color, x + shift, y + rng.choice((-4, 0, 4)), GROUP_SIDE)
            for (kind, color), (x, y) in zip(_draw_looks(rng, 4), corners, strict=True)
        ]
        return Scene(tuple(things), background)
    things = [
        Thing(
            kind,
            color,
            4 * rng.randrange((UNITS - side) // 4 + 1),
            4 * rng.randrange((UNITS - side) // 4 + 1),
            side,
        )
        for (kind, color), side in zip(_draw_looks(rng, 2), SINGLE_SIDES, strict=True)
    ]
    return Scene(tuple(things), background, rng.choice(("", CHASE)))


def to_image(picture: NDArray[np.uint8], size: int | None = None) -> Image.Image:
    """Return the picture (height, width, 3) as a Pillow image, enlarged to `size` pixels when given."""
    image = Image.fromarray(picture)
    return image if size is None else image.resize((size, size), Image.Resampling.LANCZOS)
