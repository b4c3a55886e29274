"""Prompt fidelity of models of a larger world: degrees, counts, patterns, places, relations and reflections.

Prompts come from random scenes of the world with seeds that training does not use, half in Portuguese and
half in English; `scene_reader` reads the pictures. A model is measured on the questions whose words its world
has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from promptweight.evaluation.prompt_fidelity import SENTENCE, generate_images
from promptweight.evaluation.scene_reader import Reading, ReadThing, read
from promptweight.evaluation.statistics import Proportion
from promptweight.mini import backdrops, palette
from promptweight.mini.backdrops import UNITS, WATERLINE
from promptweight.mini.captions import plainly
from promptweight.mini.icons import layers
from promptweight.mini.lexicon import LANGUAGES
from promptweight.mini.sampling import SINGLE_SIZES, sample_scene
from promptweight.mini.scenes import (
    ABOVE,
    BELOW,
    BESIDE,
    CHASE,
    HOLD,
    IN,
    LEFT,
    MIRROR,
    ON,
    RELATIONS,
    RIDE,
    RIGHT,
    WEAR,
    Scene,
    Thing,
    render,
)
from promptweight.mini.worlds import World

Picture = NDArray[np.uint8]
MIN_MANY = 5  # things that count as "many"
OFF_GROUND = 0.12  # difference (0 to 1) of a pixel's color above which it is not the ground
MIRRORED_IOU = 0.7  # of a thing's mask and its reflection's, from which on the reflection is right
MAX_GHOST = 0.01  # share of pixels off the ground outside all things
GHOST_REACH = 3  # pixels round a thing's silhouette that belong to it
SENTENCE_SEEDS = 20


@dataclass(frozen=True)
class Question:
    """A kind of scene, and the condition that a picture of it must meet."""

    name: str
    bar: float | None
    """The proportion that a shipped model must reach."""
    fits: Callable[[Scene], bool]
    """The condition on a random scene of this kind."""
    holds: Callable[[Scene, Reading, Picture], bool]
    """The condition on a picture of the scene."""


def match(thing: Thing, reading: Reading) -> ReadThing | None:
    """Return the found thing of the right kind, color and shade; None where it is missing."""
    wanted = (thing.kind, thing.color, thing.shade)
    return next((found for found in reading.things if (found.kind, found.color, found.shade) == wanted), None)


def has_all(scene: Scene, reading: Reading, _picture: Picture) -> bool:
    """Return whether every thing of a scene is found in its color."""
    return all(match(thing, reading) is not None for thing in scene.things)


def count_holds(scene: Scene, reading: Reading, _picture: Picture) -> bool:
    """Return whether the number of things is that of the scene, with nothing else."""
    thing, wanted = scene.things[0], len(scene.things)
    alike = [
        f for f in reading.things if (f.kind, f.color, f.shade) == (thing.kind, thing.color, thing.shade)
    ]
    enough = len(alike) >= MIN_MANY if wanted > 3 else len(alike) == wanted
    return enough and len(alike) == len(reading.things)


def pattern_holds(scene: Scene, reading: Reading, _picture: Picture) -> bool:
    """Return whether the thing is found with its pattern."""
    found = match(scene.things[0], reading)
    return found is not None and found.pattern == scene.things[0].pattern


def surroundings_hold(scene: Scene, reading: Reading, _picture: Picture) -> bool:
    """Return whether place, weather and light are those of the scene."""
    ground, light = reading.ground, "" if scene.light == backdrops.DAY else scene.light
    wanted = (scene.place, scene.weather, scene.amount, light)
    return (ground.place, ground.weather, ground.amount, ground.light) == wanted


def relation_holds(scene: Scene, reading: Reading, picture: Picture) -> bool:
    """Return whether all things are found and the first two have the relation of the scene."""
    first, second = (match(thing, reading) for thing in scene.things[:2])
    if first is None or second is None or not has_all(scene, reading, picture):
        return False
    across, down = (b - a for a, b in zip(first.center, second.center, strict=True))
    sideways = abs(across) > abs(down)
    meet = max(abs(across), abs(down)) < (first.side + second.side) / 2
    return {
        LEFT: sideways and across > 0,
        CHASE: sideways and across > 0,
        RIGHT: sideways and across < 0,
        ABOVE: not sideways and down > 0,
        BELOW: not sideways and down < 0,
        BESIDE: sideways,
        RIDE: meet and down > 0,
        WEAR: meet and down < 0 and first.side > second.side,
        HOLD: meet,
        ON: meet and down > 0 and not sideways,
        IN: meet and abs(across) < second.side / 2 and first.side < second.side,
    }[scene.relation]


def mirrored_iou(picture: Picture, background: str) -> float:
    """Return the intersection over union of what is above the water and its reflection, turned over."""
    pixels = picture.astype(np.float32) / 255
    middle = WATERLINE * len(picture) // UNITS
    grounds = (palette.BACKGROUNDS[background], backdrops.WATER)
    halves = (pixels[:middle], pixels[middle:][::-1])
    masks = [
        np.abs(half - np.array(rgb, np.float32) / 255).max(-1) > OFF_GROUND
        for half, rgb in zip(halves, grounds, strict=True)
    ]
    above, below = (mask[: -2 * len(picture) // UNITS] for mask in masks)  # without the waterline
    return float((above & below).sum() / max(1, (above | below).sum()))


def reflection_holds(scene: Scene, reading: Reading, picture: Picture) -> bool:
    """Return whether the thing is found and its reflection is the same, upside down."""
    return has_all(scene, reading, picture) and mirrored_iou(picture, scene.background) >= MIRRORED_IOU


def ghost_share(picture: Picture, reading: Reading) -> float:
    """Return the share of pixels off the ground's color that belong to nothing that was found.

    The lines behind a chaser lie within its square and 4 units to its left, which are left out.
    """
    size = len(picture)
    scale = size // UNITS
    ground = np.array(palette.BACKGROUNDS[reading.ground.background], np.float32)
    off = np.abs(picture.astype(np.float32) - ground).max(-1) / 255 > OFF_GROUND
    inside = np.zeros((size, size), bool)
    for thing in reading.things:
        y, x, side = thing.y * scale, thing.x * scale, thing.side * scale
        inside[y : y + side, x : x + side] |= layers(thing.kind, side)[0] > 0
        inside[y : y + side, max(0, x - 5 * scale) : x + scale] = True
    return float((off & ~binary_dilation(inside, iterations=GHOST_REACH)).mean())


def _plain(scene: Scene, things: int) -> bool:
    """Return whether a scene has a number of different things without degrees, place, weather or light."""
    bare = all(not (thing.shade or thing.pattern or thing.size) for thing in scene.things)
    return bare and len(scene.groups) == len(scene.things) == things and not _surrounded(scene)


def _surrounded(scene: Scene) -> bool:
    return bool((scene.place and scene.relation != MIRROR) or scene.weather or scene.light)


def _first_color(scene: Scene, reading: Reading, _picture: Picture) -> bool:
    return bool(reading.things) and reading.things[0].color == scene.things[0].color


def _first_kind(scene: Scene, reading: Reading, _picture: Picture) -> bool:
    return bool(reading.things) and reading.things[0].kind == scene.things[0].kind


def _related(*relations: str) -> Callable[[Scene], bool]:
    return lambda scene: scene.relation in relations and not _surrounded(scene)


def _alone(scene: Scene) -> bool:
    return len(scene.things) == 1 and not scene.relation


QUESTIONS = (
    Question("one thing: color", 0.98, lambda scene: not scene.relation and _plain(scene, 1), _first_color),
    Question("one thing: kind", 0.97, lambda scene: not scene.relation and _plain(scene, 1), _first_kind),
    Question("two things", 0.95, lambda scene: not scene.relation and _plain(scene, 2), has_all),
    Question("three things", 0.85, lambda scene: not scene.relation and _plain(scene, 3), has_all),
    Question("relation", 0.95, lambda s: s.relation in RELATIONS and _plain(s, 2), relation_holds),
    Question(
        "number",
        0.90,
        lambda scene: len(scene.things) > 1 and len(scene.groups) == 1 and not _surrounded(scene),
        count_holds,
    ),
    Question(
        "pattern",
        0.90,
        lambda s: _alone(s) and bool(s.things[0].pattern) and not _surrounded(s),
        pattern_holds,
    ),
    Question(
        "place",
        0.95,
        lambda s: _alone(s) and bool(s.place) and not s.weather and not s.light,
        surroundings_hold,
    ),
    Question(
        "weather",
        None,
        lambda s: _alone(s) and bool(s.weather) and not s.place and not s.light,
        surroundings_hold,
    ),
    Question(
        "light",
        None,
        lambda s: _alone(s) and bool(s.light) and not s.place and not s.weather,
        surroundings_hold,
    ),
    Question("riding", None, _related(RIDE), relation_holds),
    Question("wearing", 0.85, _related(WEAR), relation_holds),
    Question("holding", 0.85, _related(HOLD), relation_holds),
    Question("on", 0.85, _related(ON), relation_holds),
    Question("in", 0.85, _related(IN), relation_holds),
    Question("reflection", 0.90, _related(MIRROR), reflection_holds),
)
SIZES_BAR, GHOSTS_BAR = 0.95, 0.95


def held_out(question: Question, world: World, number: int, seed: int) -> Iterator[Scene]:
    """Yield random scenes for a question, on plain ground; none where the world does not have them."""
    rng = Random(f"fidelity/{seed}/{question.name}")
    tries = 0
    while number:
        scene = sample_scene(rng, world)
        tries += 1
        if question.fits(scene):
            number, tries = number - 1, 0
            yield replace(scene, background=world.backgrounds[0])
        elif tries > 4000:  # every form is drawn at least once in a few hundred scenes
            return


def measure(
    pipeline: Any, world: World, *, number: int = 200, seed: int = 0, guidance_scale: float
) -> dict[str, tuple[Proportion, float | None]]:
    """Measure how often a model draws the scene of its prompt.

    Args:
        pipeline: a text-to-image pipeline that draws the world.
        world: what the pipeline was trained on.
        number: prompts a question.
        seed: which prompts and noises.
        guidance_scale: of classifier-free guidance.

    Returns:
        A proportion and its bar for every question that the world has.
    """
    told: dict[str, tuple[Proportion, float | None]] = {}
    for position, question in enumerate(QUESTIONS):
        scenes = list(held_out(question, world, number, seed))
        if scenes:
            drawn = _draw(pipeline, scenes, 1_000_000 * (seed + 1) + 10_000 * position, guidance_scale)
            judged = [
                question.holds(scene, read(picture, world), picture)
                for scene, picture in zip(scenes, drawn, strict=True)
            ]
            told[question.name] = Proportion.from_outcomes(judged), question.bar
    if world.sizes:
        ordered = _sizes_ordered(pipeline, world, max(1, number // len(world.sizes)), seed, guidance_scale)
        told["size words in order"] = Proportion.from_outcomes(ordered), SIZES_BAR
    sentences = _draw(pipeline, [SENTENCE] * SENTENCE_SEEDS, 2_000_000 + seed, guidance_scale, ("pt",))
    readings = [read(picture, world) for picture in sentences]
    told["the sentence, without ghosts"] = (
        Proportion.from_outcomes(
            relation_holds(SENTENCE, reading, picture) and ghost_share(picture, reading) <= MAX_GHOST
            for reading, picture in zip(readings, sentences, strict=True)
        ),
        GHOSTS_BAR,
    )
    return told


def _draw(
    pipeline: Any,
    scenes: Sequence[Scene],
    first_seed: int,
    guidance_scale: float,
    languages: Sequence[str] = LANGUAGES,
) -> list[Picture]:
    prompts = [plainly(scene, languages[index % len(languages)]) for index, scene in enumerate(scenes)]
    seeds = [first_seed + index for index in range(len(scenes))]
    return list(generate_images(pipeline, prompts, seeds, guidance_scale=guidance_scale))


def _sizes_ordered(
    pipeline: Any, world: World, number: int, seed: int, guidance_scale: float
) -> Iterator[bool]:
    """Yield whether a thing grows with every size word, drawn from the same noise."""
    rng = Random(f"fidelity/{seed}/sizes")
    for index in range(number):
        kind, color = rng.choice(world.things), rng.choice(world.colors)
        scenes = [
            Scene((Thing(kind, color, 0, 0, SINGLE_SIZES[size][0], size=size),)) for size in world.sizes
        ]
        language = (LANGUAGES[index % 2],)
        drawn = [
            _draw(pipeline, [scene], 3_000_000 + 1000 * seed + index, guidance_scale, language)[0]
            for scene in scenes
        ]
        found = [
            match(scene.things[0], read(picture, world)) for scene, picture in zip(scenes, drawn, strict=True)
        ]
        sides = [0 if one is None else one.side for one in found]
        yield sides[0] > 0 and all(a < b for a, b in pairwise(sides))


def reader_accuracy(world: World, scenes: int = 400, seed: str = "reader") -> dict[str, Proportion]:
    """Measure on drawn scenes which share of things, of whole scenes and of surroundings is read right."""
    rng = Random(seed)
    right = things = whole = grounds = 0
    for _ in range(scenes):
        scene = sample_scene(rng, world)
        picture = render(scene, world.size)[0]
        reading = read(picture, world)
        wanted = sorted((t.kind, t.color, t.shade, t.pattern) for t in scene.things)
        found = sorted((f.kind, f.color, f.shade, f.pattern) for f in reading.things)
        missing = list(wanted)
        for each in found:
            if each in missing:
                missing.remove(each)
        things += len(wanted)
        right += len(wanted) - len(missing)
        whole += wanted == found
        grounds += surroundings_hold(scene, reading, picture)
    return {
        "things": Proportion(right, things),
        "scenes": Proportion(whole, scenes),
        "surroundings": Proportion(grounds, scenes),
    }
