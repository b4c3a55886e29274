"""Crowded random scenes of the whole world, for training of the autoencoder."""

from __future__ import annotations

from random import Random

from promptweight.mini.backdrops import DUSK, LAKE, NIGHT, PLACES, UNITS, WATERLINE, WEATHERS
from promptweight.mini.icons import ICONS
from promptweight.mini.painting import PATTERNS
from promptweight.mini.palette import BACKGROUNDS, COLORS, SHADES
from promptweight.mini.scenes import IN, MIRROR, WEAR, Scene, Thing

SIDES = (12, 14, 16, 20, 24, 28, 32, 36, 40, 44, 48, 60)


def _thing(rng: Random, x: int, y: int, side: int) -> Thing:
    color = rng.choice(list(COLORS))
    shade = rng.choice(list(SHADES)) if rng.random() < 0.3 and color in SHADES["light"] else ""
    pattern = rng.choice(PATTERNS) if rng.random() < 0.25 else ""
    return Thing(rng.choice(list(ICONS)), color, x, y, side, shade, pattern)


def _grid(rng: Random, cells: int) -> list[Thing]:
    """Sample one object for each cell of a square grid, with any side that fits the cell."""
    pitch = UNITS // cells // 4 * 4
    things = []
    for row in range(cells):
        for column in range(cells):
            side = rng.choice([side for side in SIDES if pitch // 2 < side <= pitch])
            room = (pitch - side) // 2 * 2
            x, y = (pitch * at + rng.randrange(0, room + 1, 2) for at in (column, row))
            things.append(_thing(rng, x, y, side))
    return things


def _piled(rng: Random) -> list[Thing]:
    """Sample four overlapping objects of different sides, the smallest in front."""
    things = []
    for side in sorted(rng.sample(SIDES, 4)):
        x, y = (rng.randrange(0, UNITS - side + 1, 2 if side < 16 else 4) for _ in range(2))
        things.append(_thing(rng, x, y, side))
    return things


def crowded_world_scene(rng: Random) -> Scene:
    """Sample a scene with many objects of all kinds and positions, in any weather and light."""
    draw = rng.random()
    relation = ""
    if draw < 0.2:
        things = _grid(rng, 3)
    elif draw < 0.5:
        things = _grid(rng, 2)
    elif draw < 0.9:
        things = _piled(rng)
        relation = rng.choice(("", WEAR))
    else:
        side = rng.choice((16, 20, 24, 28, 32))
        things = [_thing(rng, x, WATERLINE - side, side) for x in range(0, UNITS - side + 1, side)]
        relation = MIRROR
    if relation == "" and draw > 0.5 and things[1].kind in ("boat", "car", "cup"):
        relation = IN
    place = LAKE if relation == MIRROR else rng.choice(PLACES) if rng.random() < 0.45 else ""
    weather = rng.choice(WEATHERS) if rng.random() < 0.15 else ""
    return Scene(
        tuple(things),
        rng.choice(list(BACKGROUNDS)),
        relation,
        place,
        weather,
        rng.choice((1, 2, 3)) if weather else 0,
        rng.choice((DUSK, NIGHT)) if rng.random() < 0.25 else "",
    )
