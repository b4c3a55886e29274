"""Scenes of the built-in world and their renderer, with exact object masks.

A `Scene` is a data class, sampled by `random_scene` or built by hand; `render` draws it:

>>> import numpy as np
>>> scene = Scene((Thing("cat", "red", 4, 20, 24), Thing("mouse", "gray", 36, 20, 24)), relation="chase")
>>> picture, masks = render(scene)
>>> picture.shape, masks.shape
((64, 64, 3), (2, 64, 64))

Positions and sizes are multiples of 4, in 64ths of the image, so that every object is aligned with the grid
of 16 × 16 latents: models learn shapes several times faster than at arbitrary positions. The relations of the
first object to the second are `LEFT`, `RIGHT`, `ABOVE`, `BELOW`, `BESIDE` and `CHASE` (`RELATIONS`); larger
worlds add `RIDE`, `MIRROR`, `WEAR`, `HOLD`, `ON` and `IN`.
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
"""Object kinds that the shipped models are trained on."""

SINGLE_SIDES = (32, 40)
"""Sides of the square of a single object, in 64ths of the image."""

GROUP_SIDE = 24
"""Side of the square of each of several objects, in 64ths of the image."""

LEFT, RIGHT, ABOVE, BELOW, BESIDE, CHASE = "left", "right", "above", "below", "beside", "chase"
RELATIONS = (LEFT, RIGHT, ABOVE, BELOW, BESIDE, CHASE)
"""Relations of the first of two objects to the second."""

DRAWN_AS = {"": (LEFT, RIGHT, ABOVE, BELOW), BESIDE: (LEFT, RIGHT)}  # drawn relations by captioned relation
OFFSETS = (-8, -4, 0, 4, 8)  # distances of objects from the middle, in units


RIDE, MIRROR, WEAR, HOLD, ON, IN = "ride", "mirror", "wear", "hold", "on", "in"
TINY, SMALL, BIG, HUGE = "tiny", "small", "big", "huge"
MANY = "many"
MURKY, CLEAR = 0.55, 0.85  # opacity of a reflection, without and with a place


@dataclass(frozen=True)
class Thing:
    """Object of a scene: kind, color, bounding square (corner and side in 64ths) and adjectives.

    `shade` is "", "light" or "dark"; `pattern` is "", "striped" or "spotted". `size` is the size word in
    captions: "", "tiny", "small", "big" or "huge". `side` is the rendered size.
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
        """Center (x, y) of the bounding square, in 64ths of the image."""
        return self.x + self.side / 2, self.y + self.side / 2

    @property
    def look(self) -> tuple[str, str, str, str, str]:
        """Attributes named by a noun phrase: kind, color, shade, pattern and size word."""
        return self.kind, self.color, self.shade, self.pattern, self.size


@dataclass(frozen=True)
class Scene:
    """Scene: objects, background, and relation of the first object to the second.

    `relation` is one of `RELATIONS`, "" (not captioned), "ride" (the first sits on the second), "mirror"
    (water fills the lower half and reflects the first object upside down), "wear", "hold", "on" or "in". A
    scene without a place has the uniform color `background`. `amount` is the intensity of rain or snow
    (`weather`): 1 (light), 2 (normal) or 3 (heavy). Consecutive objects with the same `look` form one group,
    which captions name with a number.
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
        """Index ranges of consecutive objects with the same `look`; one noun phrase names each group."""
        groups: list[range] = []
        for index, thing in enumerate(self.things):
            if groups and thing.look == self.things[groups[-1].start].look:
                groups[-1] = range(groups[-1].start, index + 1)
            else:
                groups.append(range(index, index + 1))
        return groups


@dataclass(frozen=True)
class Drawing:
    """Rendered image and its masks, with values 0 to 1.

    Attributes:
        picture: sRGB image (size, size, 3), uint8.
        things: masks of the visible part of each object, without its reflection (objects, size, size).
        reflection: mask of the reflection in the water (size, size).
        weather: mask of drops and flakes that objects do not hide (size, size).
        place: mask of the pixels outside all objects and reflections (size, size).
    """

    picture: NDArray[np.uint8]
    things: NDArray[np.float32]
    reflection: NDArray[np.float32]
    weather: NDArray[np.float32]
    place: NDArray[np.float32]


def _draw(
    canvas: NDArray[np.float32], thing: Thing, scale: int, flipped: bool = False, first_row: int = 0
) -> NDArray[np.float32]:
    """Paint an object at its position and return its mask over the whole image."""
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
    """Render a scene with all its masks.

    Args:
        scene: scene to render.
        size: side of the image in pixels, a multiple of 64.

    Returns:
        The image and its masks.

    Raises:
        ValueError: `size` is not a multiple of 64.
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
    """Return the painting order, back to front: the first object last, before its hat or held object."""
    order = list(reversed(range(len(scene.things))))
    if scene.relation in (WEAR, HOLD):
        order.remove(1)
        order.append(1)
    return order


def render(scene: Scene, size: int = UNITS) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Render a scene and return `Drawing.picture` and `Drawing.things`."""
    drawing = draw(scene, size)
    return drawing.picture, drawing.things


def reflection_mask(scene: Scene, size: int = UNITS) -> NDArray[np.float32]:
    """Return the mask (size, size) of the reflection in the water of a mirror scene."""
    return draw(scene, size).reflection


def _middle(side: int) -> int:
    return (UNITS - side) // 8 * 4


def _draw_looks(rng: Random, number: int) -> list[tuple[str, str]]:
    """Sample kinds and colors without repetition, so that each word refers to one region."""
    return list(zip(rng.sample(KINDS, number), rng.sample(list(COLORS), number), strict=True))


def _pair_places(rng: Random, relation: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Sample the positions of two objects for a relation."""
    if relation in DRAWN_AS:
        relation = rng.choice(DRAWN_AS[relation])
    return _pair_at(relation, rng.choice(OFFSETS))


def _pair_at(relation: str, offset: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the positions of two objects for a relation, `offset` from the middle on the other axis."""
    near, far = 4, UNITS - 4 - GROUP_SIDE
    across = (UNITS - GROUP_SIDE) // 2 + offset
    if relation in (LEFT, RIGHT, CHASE):
        first, second = (near, across), (far, across)
        return (second, first) if relation == RIGHT else (first, second)
    first, second = (across, near), (across, far)
    return (second, first) if relation == BELOW else (first, second)


def random_scene(rng: Random) -> Scene:
    """Sample a scene: about a third single objects, half pairs, the rest triples, riders and reflections."""
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
    """Return all scenes with equal probability under `random_scene` that differ only in object positions.

    A single object has two sizes with 25 positions each; two objects have 5 to 20 arrangements. For all other
    scenes, the list holds only the scene itself.
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
    """Sample a crowded scene for the autoencoder: four small objects, or two large ones that may overlap."""
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
    """Convert an array (height, width, 3) to a Pillow image, resized to `size` × `size` pixels when given."""
    image = Image.fromarray(picture)
    return image if size is None else image.resize((size, size), Image.Resampling.LANCZOS)
