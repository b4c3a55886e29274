"""Draws the built-in world: one to three colored things on a plain ground, with their exact masks.

A scene is data (`Scene`), made at random (`random_scene`) or by hand, and `render` turns it into a picture:

>>> import numpy as np
>>> scene = Scene((Thing("cat", "red", 4, 20, 24), Thing("mouse", "gray", 36, 20, 24)), relation="chase")
>>> picture, masks = render(scene)
>>> picture.shape, masks.shape
((64, 64, 3), (2, 64, 64))

Places and sizes are in 64ths of the picture, multiples of 4, so that every thing lies on the grid of the
16 × 16 latents: shapes are learnt several times faster than with free positions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from promptweight.mini.icons import ICONS, layers

UNITS = 64  # scene coordinates run from 0 to 64, whatever the picture's size

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (222, 36, 36),
    "orange": (250, 138, 18),
    "yellow": (250, 218, 30),
    "green": (40, 158, 58),
    "blue": (40, 84, 222),
    "purple": (128, 48, 172),
    "pink": (250, 130, 186),
    "brown": (126, 76, 38),
    "black": (28, 28, 32),
    "white": (252, 252, 252),
    "gray": (140, 142, 148),
}
BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "plain": (240, 234, 218),
    "blue": (184, 214, 246),
    "green": (196, 232, 190),
    "yellow": (252, 240, 170),
    "pink": (252, 214, 226),
    "gray": (206, 208, 212),
    "purple": (218, 202, 240),
}
KINDS = tuple(ICONS)
WATER = (96, 152, 206)
WATERLINE = 32
SINGLE_SIDES = (32, 40)
GROUP_SIDE = 24
LEFT, RIGHT, ABOVE, BELOW, BESIDE, CHASE = "left", "right", "above", "below", "beside", "chase"
RELATIONS = (LEFT, RIGHT, ABOVE, BELOW, BESIDE, CHASE)
DRAWN_AS = {"": (LEFT, RIGHT, ABOVE, BELOW), BESIDE: (LEFT, RIGHT)}  # what may be drawn where less is said
OFFSETS = (-8, -4, 0, 4, 8)  # how far off the middle things are drawn


@dataclass(frozen=True)
class Thing:
    """One object: what it is, its color, and the square it fills (corner and side in 64ths)."""

    kind: str
    color: str
    x: int
    y: int
    side: int

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of its square (x, y) in 64ths of the picture."""
        return self.x + self.side / 2, self.y + self.side / 2


@dataclass(frozen=True)
class Scene:
    """Things, ground, and how the first thing stands to the second.

    `relation` is one of `RELATIONS`, "" (none said), "ride" (the first sits on the second) or "mirror"
    (water fills the lower half and shows the first thing upside down).
    """

    things: tuple[Thing, ...]
    background: str = "plain"
    relation: str = ""


def _blend(canvas: NDArray[np.float32], alpha: NDArray[np.float32], color: NDArray[np.float32]) -> None:
    canvas += alpha[..., None] * (color - canvas)


def paint(
    canvas: NDArray[np.float32], kind: str, color: str, *, flipped: bool = False
) -> NDArray[np.float32]:
    """Paints an icon over a whole square canvas (side, side, 3; 0 to 255), in place, and returns it."""
    silhouette, rim, ink = (layer[::-1] if flipped else layer for layer in layers(kind, canvas.shape[0]))
    fill = np.array(COLORS[color], np.float32)
    dark = float(fill @ np.array([0.299, 0.587, 0.114], np.float32)) < 70
    _blend(canvas, silhouette, fill)
    _blend(canvas, rim, np.float32(80) + fill * np.float32(0.3) if dark else fill * np.float32(0.58))
    _blend(canvas, ink, np.full(3, 226 if dark else 40, np.float32))
    return canvas


def _draw(
    canvas: NDArray[np.float32], thing: Thing, scale: int, flipped: bool = False
) -> NDArray[np.float32]:
    """Paints a thing at its place and returns its mask over the whole picture."""
    x, y, side = thing.x * scale, thing.y * scale, thing.side * scale
    paint(canvas[y : y + side, x : x + side], thing.kind, thing.color, flipped=flipped)
    mask = np.zeros(canvas.shape[:2], np.float32)
    silhouette = layers(thing.kind, side)[0]
    mask[y : y + side, x : x + side] = silhouette[::-1] if flipped else silhouette
    return mask


def _draw_water(canvas: NDArray[np.float32], scale: int) -> None:
    canvas[WATERLINE * scale :] = np.array(WATER, np.float32)
    canvas[WATERLINE * scale : (WATERLINE + 1) * scale] = np.array((226, 240, 252), np.float32)


def _draw_speed_lines(canvas: NDArray[np.float32], chaser: Thing, scale: int) -> None:
    x = max(0, chaser.x - 4) * scale
    for height in (0.35, 0.6, 0.85):
        y = round((chaser.y + chaser.side * height) * scale)
        canvas[y : y + scale, x : x + 4 * scale] = np.array((90, 90, 96), np.float32)


def render(scene: Scene, size: int = UNITS) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Draws a scene.

    Args:
        scene: what to draw.
        size: pixels a side, a multiple of 64.

    Returns:
        The picture (size, size, 3) in sRGB, and one mask per thing (things, size, size) with values 0 to 1:
        the visible part of the thing alone, without what stands in front of it, without its reflection.
    """
    if size % UNITS:
        raise ValueError(f"size is {size}; a picture's size is a multiple of {UNITS}")
    scale = size // UNITS
    canvas = np.empty((size, size, 3), np.float32)
    canvas[:] = np.array(BACKGROUNDS[scene.background], np.float32)
    if scene.relation == "mirror":
        _draw_water(canvas, scale)
    if scene.relation == CHASE:
        _draw_speed_lines(canvas, scene.things[0], scale)
    masks = np.zeros((len(scene.things), size, size), np.float32)
    for index in reversed(range(len(scene.things))):  # the first thing stands in front
        thing = scene.things[index]
        if scene.relation == "mirror":
            below = Thing(thing.kind, thing.color, thing.x, 2 * WATERLINE - thing.y - thing.side, thing.side)
            image = canvas.copy()
            _draw(image, below, scale, flipped=True)
            canvas[WATERLINE * scale :] += 0.55 * (image - canvas)[WATERLINE * scale :]
        masks[index] = _draw(canvas, thing, scale)
        masks[index + 1 :] *= 1 - masks[index]
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8), masks


def reflection_mask(scene: Scene, size: int = UNITS) -> NDArray[np.float32]:
    """Returns the mask (size, size) of the first thing's image in the water of a mirror scene."""
    _, masks = render(scene, size)
    return masks[0][::-1].copy()


def _middle(side: int) -> int:
    return (UNITS - side) // 8 * 4


def _draw_looks(rng: Random, number: int) -> list[tuple[str, str]]:
    """Draws kinds and colors: no two things share either, so every word has one place to point at."""
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
    """Draws a scene at random: about a third single things, half pairs, the rest threes, riders, mirrors."""
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
    """Returns every scene that `random_scene` draws as often as this one and that differs only in places.

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
    """Draws a scene full of things: four small ones or a large and a half-hidden one, for the autoencoder."""
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
    """Returns the picture (height, width, 3) as a Pillow image, enlarged to `size` pixels when given."""
    image = Image.fromarray(picture)
    return image if size is None else image.resize((size, size), Image.Resampling.LANCZOS)
