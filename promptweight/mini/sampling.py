"""Random scenes of a world: single objects, pairs, groups, counts, reflections and object relations.

All positions are multiples of 4 units, the spacing of the latent grid, except for hats and held objects,
which have a fixed position relative to the wearer or holder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random

from promptweight.mini import anchors
from promptweight.mini.backdrops import LAKE, ROOM, SPACE, UNITS, WATERLINE
from promptweight.mini.palette import SHADES
from promptweight.mini.scenes import (
    ABOVE,
    BELOW,
    BIG,
    DRAWN_AS,
    GROUP_SIDE,
    HOLD,
    HUGE,
    IN,
    KINDS,
    MANY,
    MIRROR,
    OFFSETS,
    ON,
    RELATIONS,
    RIDE,
    RIGHT,
    SINGLE_SIDES,
    SMALL,
    TINY,
    WEAR,
    Scene,
    Thing,
    random_scene,
)
from promptweight.mini.worlds import FIRST, World

SINGLE_SIZES = {TINY: (12,), SMALL: (20,), "": SINGLE_SIDES, BIG: (48,), HUGE: (60,)}
GROUP_SIZES = {TINY: (12,), SMALL: (16,), "": (GROUP_SIDE,), BIG: (36,), HUGE: (44,)}
TRIANGLE = ((20, 4), (4, 36), (36, 36))
"""Places of three: always the same, because a guided model fills every place where one of them may be."""
CROWD = [(x, y) for y in (4, 24, 44) for x in (4, 24, 44)]
CROWD_SIDE = 16
FLOOR = 60  # bottom edge of objects on the ground of a place, in units
FLYING = ("sun", "star", "moon", "cloud", "bird", "airplane", "rocket", "butterfly")
FAMILIAR = 0.5  # share of scenes with only the kinds that all models know
HAT, HORSE, ASTRONAUT = "hat", "horse", "astronaut"


class _Draft:
    """Sampler of objects for one scene that uses each kind and each color at most once."""

    def __init__(self, rng: Random, world: World) -> None:
        self.rng, self.world = rng, world
        familiar = [kind for kind in world.things if kind in KINDS]
        self.kinds = list(familiar if familiar and rng.random() < FAMILIAR else world.things)
        self.colors = list(world.colors)

    def thing(
        self, among: list[str] | None = None, sizes: Mapping[str, tuple[int, ...]] | None = None
    ) -> Thing:
        """Sample an object at (0, 0); kinds and colors do not repeat, so each word refers to one region."""
        rng, world = self.rng, self.world
        kind = rng.choice(among or self.kinds)
        self.kinds = [other for other in self.kinds if other != kind]
        color = rng.choice(self.colors)
        self.colors.remove(color)
        shade = pattern = size = ""
        if world.shades and color in SHADES[world.shades[0]] and rng.random() < 0.15:
            shade = rng.choice(world.shades)
        if world.patterns and rng.random() < 0.15:
            pattern = rng.choice(world.patterns)
        if sizes and world.sizes and rng.random() < 0.4:
            size = rng.choice(world.sizes)
        side = rng.choice(sizes[size]) if sizes else GROUP_SIDE
        return Thing(kind, color, 0, 0, side, shade, pattern, size)


def _middle(side: int) -> int:
    return (UNITS - side) // 8 * 4


def _near_middle(rng: Random, side: int) -> int:
    """Sample a coordinate for a side: the middle plus one of `OFFSETS`, clipped to the image."""
    return min(max(_middle(side) + rng.choice(OFFSETS), 0), (UNITS - side) // 4 * 4)


def _height(thing: Thing) -> int:
    """Return the y coordinate of an object in a place: at the top for flying kinds, else on the ground."""
    return 4 if thing.kind in FLYING and thing.side <= 36 else max(0, FLOOR - thing.side)


def _single(draft: _Draft, grounded: bool) -> Scene:
    thing = draft.thing(sizes=SINGLE_SIZES)
    x, y = (_near_middle(draft.rng, thing.side) for _ in range(2))
    return Scene((replace(thing, x=x, y=_height(thing) if grounded else y),))


def _pair(draft: _Draft, grounded: bool) -> Scene:
    rng = draft.rng
    said = rng.choice(("", "", *(relation for relation in RELATIONS if relation in draft.world.relations)))
    while True:
        attempt = _Draft(rng, draft.world)
        first, second = attempt.thing(sizes=GROUP_SIZES), attempt.thing(sizes=GROUP_SIZES)
        if first.side + second.side <= UNITS - 4:
            break
    relation = rng.choice(DRAWN_AS[said]) if said in DRAWN_AS else said
    margin = 4 if first.side + second.side <= UNITS - 12 else 0
    before, after = (second, first) if relation in (RIGHT, BELOW) else (first, second)
    near, far = margin, UNITS - margin - after.side
    offset = rng.choice(OFFSETS)
    across = [min(max(_middle(t.side) + offset, 0), (UNITS - t.side) // 4 * 4) for t in (before, after)]
    if relation in (ABOVE, BELOW):
        placed = (replace(before, x=across[0], y=near), replace(after, x=across[1], y=far))
    else:
        heights = [_height(t) for t in (before, after)] if grounded else across
        placed = (replace(before, x=near, y=heights[0]), replace(after, x=far, y=heights[1]))
    things = placed[::-1] if relation in (RIGHT, BELOW) else placed
    return Scene(things, relation=said)


def _three(draft: _Draft, _grounded: bool) -> Scene:
    places = draft.rng.sample(TRIANGLE, 3)
    return Scene(tuple(replace(draft.thing(), x=x, y=y) for x, y in places))


def _counted(draft: _Draft, grounded: bool) -> Scene:
    """Sample two, three or many identical objects, or two identical objects and a different one."""
    rng, number = draft.rng, draft.rng.choice(draft.world.numbers)
    thing = draft.thing()
    if number == MANY:
        places = sorted(rng.sample(CROWD, rng.choice((7, 8, 9))), key=lambda place: (place[1], place[0]))
        thing = replace(thing, side=CROWD_SIDE)
    elif number == "3":
        places = list(TRIANGLE)
    elif rng.random() < 0.35:
        top, *bottom = TRIANGLE
        pair = [replace(thing, x=x, y=y) for x, y in bottom]
        one = replace(draft.thing(), x=top[0], y=top[1])
        return Scene((*pair, one) if rng.random() < 0.5 else (one, *pair))
    else:
        across = _middle(GROUP_SIDE) + rng.choice(OFFSETS)
        across = _height(thing) if grounded else across
        places = [(4, across), (36, across)]
        if not grounded and rng.random() < 0.3:
            places = [(y, x) for x, y in places]
    return Scene(tuple(replace(thing, x=x, y=y) for x, y in places))


def _ride(draft: _Draft, grounded: bool) -> Scene:
    rider, horse = draft.thing([ASTRONAUT]), draft.thing([HORSE])
    x, down = draft.rng.choice((4, 8, 12, 16, 20)), 0 if grounded else -4 * draft.rng.randrange(2)
    horse = replace(horse, x=x, y=FLOOR - 40 + down, side=SINGLE_SIDES[1])
    return Scene((replace(rider, x=x + 4, y=horse.y - 8), horse), relation=RIDE)


def _mirror(draft: _Draft, _grounded: bool) -> Scene:
    side = draft.rng.choice((GROUP_SIDE, 28))
    x = 4 * draft.rng.randrange(1, (UNITS - side) // 4)
    return Scene((replace(draft.thing(), x=x, y=WATERLINE - side, side=side),), relation=MIRROR, place=LAKE)


def with_hat(wearer: Thing, hat: Thing) -> Thing:
    """Return the hat, positioned on the wearer's head and scaled to the wearer."""
    side = 2 * round(anchors.HAT_SHARE * wearer.side / 2)
    x, y = anchors.HEADS[wearer.kind]
    return replace(
        hat,
        x=wearer.x + round(x * wearer.side - side / 2),
        y=wearer.y + round(y * wearer.side - anchors.HAT_BRIM * side),
        side=side,
    )


def in_hand(holder: Thing, held: Thing) -> Thing:
    """Return the held object, positioned at the holder's grip point and scaled to the holder."""
    side = 2 * round(anchors.HELD_SHARE * holder.side / 2)
    x, y = anchors.HANDS[holder.kind]
    grip = anchors.HELD[held.kind]
    return replace(
        held,
        x=holder.x + round(x * holder.side - grip[0] * side),
        y=holder.y + round(y * holder.side - grip[1] * side),
        side=side,
    )


def _wear(draft: _Draft, grounded: bool) -> Scene:
    rng, hat = draft.rng, draft.thing([HAT])
    wearer = draft.thing([kind for kind in draft.world.of(anchors.HEADS) if kind != HAT])
    if rng.random() < 0.25:
        other = draft.thing([kind for kind in draft.kinds if kind not in (HAT, wearer.kind)])
        places = [(4, 32), (36, 32)] if rng.random() < 0.5 else [(36, 32), (4, 32)]
        wearer, other = (replace(t, x=x, y=y) for t, (x, y) in zip((wearer, other), places, strict=True))
        return Scene((wearer, with_hat(wearer, hat), other), relation=WEAR)
    wearer = replace(wearer, x=_near_middle(rng, 32), y=28 if grounded else rng.choice((20, 24, 28)), side=32)
    return Scene((wearer, with_hat(wearer, hat)), relation=WEAR)


def _hold(draft: _Draft, grounded: bool) -> Scene:
    held = draft.thing(draft.world.of(anchors.HELD))
    holder = draft.thing(draft.world.of(anchors.HANDS))
    x, y = draft.rng.choice((4, 8, 12)), 28 if grounded else draft.rng.choice((24, 28))
    holder = replace(holder, x=x, y=y, side=32)
    return Scene((holder, in_hand(holder, held)), relation=HOLD)


def _on(draft: _Draft, grounded: bool) -> Scene:
    below = draft.thing(draft.world.of(anchors.TOPS))
    first = draft.thing([kind for kind in draft.kinds if kind != below.kind])
    y = 28 if grounded or draft.rng.random() < 0.5 else 32
    below = replace(below, x=_near_middle(draft.rng, 32), y=y, side=32)
    top = y + anchors.TOPS[below.kind] * below.side - 0.96 * GROUP_SIDE
    return Scene((replace(first, x=below.x + 4, y=4 * math.ceil(top / 4)), below), relation=ON)


def _in(draft: _Draft, grounded: bool) -> Scene:
    box = draft.thing(draft.world.of(anchors.RIMS))
    inside = draft.thing([kind for kind in draft.kinds if kind not in (box.kind, "house", "castle")])
    y = FLOOR - 40 if grounded else draft.rng.choice((16, 20, 24))
    box = replace(box, x=_near_middle(draft.rng, 40), y=y, side=40)
    edge = anchors.RIMS[box.kind] * box.side - 0.6 * GROUP_SIDE
    inside = replace(inside, x=box.x + (4 if box.kind == "cup" else 8), y=y + 4 * round(edge / 4))
    return Scene((inside, box), relation=IN)


_FORMS: tuple[tuple[Callable[[_Draft, bool], Scene], float, str], ...] = (
    (_single, 0.24, ""),
    (_pair, 0.28, ""),
    (_three, 0.08, ""),
    (_counted, 0.20, "numbers"),
    (_ride, 0.03, RIDE),
    (_mirror, 0.08, MIRROR),
    (_wear, 0.05, WEAR),
    (_hold, 0.04, HOLD),
    (_on, 0.045, ON),
    (_in, 0.045, IN),
)


def sample_scene(rng: Random, world: World) -> Scene:
    """Sample a scene of a world.

    About a quarter of the scenes have a single object and a quarter a pair. About a fifth have a place, a
    tenth rain or snow, and a tenth a time of day.
    """
    if world == FIRST:
        return random_scene(rng)
    known = {**dict.fromkeys(world.relations, True), "": True, "numbers": bool(world.numbers)}
    forms = [(draw, weight) for draw, weight, needs in _FORMS if known.get(needs)]
    draw = rng.choices([form for form, _ in forms], [weight for _, weight in forms])[0]
    place = rng.choice(world.places) if world.places and rng.random() < 0.22 else ""
    if draw is _mirror:
        place = ""
    scene = draw(_Draft(rng, world), bool(place) and place != SPACE)
    if not scene.place:
        background = world.backgrounds[0] if rng.random() < 0.6 else rng.choice(world.backgrounds)
        scene = replace(scene, place=place, background=world.backgrounds[0] if place else background)
    if world.weathers and scene.place not in (ROOM, SPACE) and rng.random() < 0.12:
        scene = replace(scene, weather=rng.choice(world.weathers), amount=rng.choice((1, 2, 3)))
    if world.lights and scene.place != SPACE and rng.random() < 0.12:
        scene = replace(scene, light=rng.choice(world.lights))
    return scene
