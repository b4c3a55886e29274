"""Prompt fidelity for larger worlds: degrees, counts, patterns, places, relations and reflections.

Prompts describe random scenes of the world with seeds that training does not use, half in Portuguese and half
in English; `scene_reader` reads the generated images. A model is evaluated only on the questions that its
world supports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from promptweight.evaluation.caption_images import generate_images, generate_scene_images, write_captions
from promptweight.evaluation.object_search import ReadThing
from promptweight.evaluation.prompt_fidelity import SENTENCE, is_arranged
from promptweight.evaluation.scene_reader import Reading, read
from promptweight.evaluation.statistics import Proportion
from promptweight.mini import backdrops, palette
from promptweight.mini.backdrops import UNITS, WATERLINE
from promptweight.mini.icons import layers
from promptweight.mini.lexicon import LANGUAGES
from promptweight.mini.sampling import SINGLE_SIZES, sample_scene
from promptweight.mini.scenes import (
    HOLD,
    IN,
    MIRROR,
    ON,
    RELATIONS,
    RIDE,
    WEAR,
    Scene,
    Thing,
    render,
)
from promptweight.mini.worlds import World

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline

Picture = NDArray[np.uint8]
MIN_MANY = 5  # minimum number of objects that counts as "many"
OFF_GROUND = 0.12  # color difference (0 to 1) above which a pixel is not ground
MIRRORED_IOU = 0.7  # minimum IoU of an object's mask and its mirrored reflection
MAX_GHOST = 0.01  # maximum fraction of non-ground pixels outside all objects
GHOST_REACH = 3  # margin around an object's silhouette that counts as the object, in pixels
SENTENCE_SEEDS = 20


@dataclass(frozen=True)
class Question:
    """Fidelity question: a kind of scene, and the condition on its generated image."""

    name: str
    bar: float | None
    """Minimum proportion required of a shipped model; None if the question has no requirement."""
    fits: Callable[[Scene], bool]
    """Condition on a random scene of this kind."""
    holds: Callable[[Scene, Reading, Picture], bool]
    """Condition on a generated image of the scene."""


def match(thing: Thing, reading: Reading) -> ReadThing | None:
    """Return the detected object with the expected kind, color and shade, or None."""
    wanted = (thing.kind, thing.color, thing.shade)
    return next((found for found in reading.things if (found.kind, found.color, found.shade) == wanted), None)


def has_all(scene: Scene, reading: Reading, _picture: Picture) -> bool:
    """Return whether all objects of a scene are detected with their color and shade."""
    return all(match(thing, reading) is not None for thing in scene.things)


def count_holds(scene: Scene, reading: Reading, _picture: Picture) -> bool:
    """Return whether the image has the scene's number of identical objects and no other objects."""
    thing, wanted = scene.things[0], len(scene.things)
    alike = [
        f for f in reading.things if (f.kind, f.color, f.shade) == (thing.kind, thing.color, thing.shade)
    ]
    enough = len(alike) >= MIN_MANY if wanted > 3 else len(alike) == wanted
    return enough and len(alike) == len(reading.things)


def pattern_holds(scene: Scene, reading: Reading, _picture: Picture) -> bool:
    """Return whether the first object is detected with its pattern."""
    found = match(scene.things[0], reading)
    return found is not None and found.pattern == scene.things[0].pattern


def surroundings_hold(scene: Scene, reading: Reading, _picture: Picture) -> bool:
    """Return whether place, weather and light match the scene."""
    ground, light = reading.ground, "" if scene.light == backdrops.DAY else scene.light
    wanted = (scene.place, scene.weather, scene.amount, light)
    return (ground.place, ground.weather, ground.amount, ground.light) == wanted


def relation_holds(scene: Scene, reading: Reading, picture: Picture) -> bool:
    """Return whether all objects are detected and the first two have the relation of the scene."""
    first, second = (match(thing, reading) for thing in scene.things[:2])
    if first is None or second is None or not has_all(scene, reading, picture):
        return False
    if scene.relation in RELATIONS:
        return is_arranged(scene.relation, first, second)
    across, down = (b - a for a, b in zip(first.center, second.center, strict=True))
    meet = max(abs(across), abs(down)) < (first.side + second.side) / 2
    return {
        RIDE: meet and down > 0,
        WEAR: meet and down < 0 and first.side > second.side,
        HOLD: meet,
        ON: meet and down > 0 and abs(across) <= abs(down),
        IN: meet and abs(across) < second.side / 2 and first.side < second.side,
    }[scene.relation]


def mirrored_iou(picture: Picture, background: str) -> float:
    """Return the IoU of the mask above the water and the mask of the reflection, flipped vertically."""
    pixels = picture.astype(np.float32) / 255
    middle = WATERLINE * len(picture) // UNITS
    grounds = (palette.BACKGROUNDS[background], backdrops.WATER)
    halves = (pixels[:middle], pixels[middle:][::-1])
    masks = [
        np.abs(half - np.array(rgb, np.float32) / 255).max(-1) > OFF_GROUND
        for half, rgb in zip(halves, grounds, strict=True)
    ]
    above, below = (mask[: -2 * len(picture) // UNITS] for mask in masks)  # excludes the waterline
    return float((above & below).sum() / max(1, (above | below).sum()))


def reflection_holds(scene: Scene, reading: Reading, picture: Picture) -> bool:
    """Return whether the object is detected and its flipped reflection matches it (`MIRRORED_IOU`)."""
    return has_all(scene, reading, picture) and mirrored_iou(picture, scene.background) >= MIRRORED_IOU


def ghost_share(picture: Picture, reading: Reading) -> float:
    """Return the fraction of pixels that have neither the ground's color nor belong to a detected object.

    The speed lines of a chaser lie up to 4 units to the left of its square; this area is excluded.
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
    """Return whether a scene has `things` different objects, without adjectives, place, weather or light."""
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
    """Yield `number` random scenes for a question, on the default background; none if the world has none."""
    rng = Random(f"fidelity/{seed}/{question.name}")
    tries = 0
    while number:
        scene = sample_scene(rng, world)
        tries += 1
        if question.fits(scene):
            number, tries = number - 1, 0
            yield replace(scene, background=world.backgrounds[0])
        elif tries > 4000:  # each kind of scene occurs at least once in a few hundred samples
            return


def measure(
    pipeline: Pipeline, world: World, *, number: int = 200, seed: int = 0, guidance_scale: float
) -> dict[str, tuple[Proportion, float | None]]:
    """Measure the prompt fidelity of a model for each question.

    Args:
        pipeline: text-to-image pipeline trained on the world.
        world: world of the pipeline's training scenes.
        number: number of prompts per question.
        seed: seed of the prompts and of the initial noise.
        guidance_scale: scale of classifier-free guidance.

    Returns:
        For each question that the world supports, the measured and the required proportion (or None).
    """
    told: dict[str, tuple[Proportion, float | None]] = {}
    for position, question in enumerate(QUESTIONS):
        scenes = list(held_out(question, world, number, seed))
        if scenes:
            first_seed = 1_000_000 * (seed + 1) + 10_000 * position
            drawn = generate_scene_images(pipeline, scenes, first_seed, guidance_scale=guidance_scale)
            judged = [
                question.holds(scene, read(picture, world), picture)
                for scene, picture in zip(scenes, drawn, strict=True)
            ]
            told[question.name] = Proportion.from_outcomes(judged), question.bar
    if world.sizes:
        ordered = _sizes_ordered(pipeline, world, max(1, number // len(world.sizes)), seed, guidance_scale)
        told["size words in order"] = Proportion.from_outcomes(ordered), SIZES_BAR
    sentences = generate_scene_images(
        pipeline,
        [SENTENCE] * SENTENCE_SEEDS,
        2_000_000 + seed,
        guidance_scale=guidance_scale,
        languages=("pt",),
    )
    read_sentences = [(read(picture, world), picture) for picture in sentences]
    told["the sentence, without ghosts"] = (
        Proportion.from_outcomes(
            relation_holds(SENTENCE, reading, picture) and ghost_share(picture, reading) <= MAX_GHOST
            for reading, picture in read_sentences
        ),
        GHOSTS_BAR,
    )
    return told


def _sizes_ordered(
    pipeline: Pipeline, world: World, number: int, seed: int, guidance_scale: float
) -> Iterator[bool]:
    """Yield whether the detected side increases with each size word, for images from the same noise."""
    rng = Random(f"fidelity/{seed}/sizes")
    for index in range(number):
        kind, color = rng.choice(world.things), rng.choice(world.colors)
        scenes = [
            Scene((Thing(kind, color, 0, 0, SINGLE_SIZES[size][0], size=size),)) for size in world.sizes
        ]
        noise = 3_000_000 + 1000 * seed + index
        captions = write_captions(scenes, (LANGUAGES[index % 2],))
        drawn = generate_images(
            pipeline, captions, [noise] * len(scenes), guidance_scale=guidance_scale, batch_size=1
        )
        found = [
            match(scene.things[0], read(picture, world)) for scene, picture in zip(scenes, drawn, strict=True)
        ]
        sides = [0 if one is None else one.side for one in found]
        yield sides[0] > 0 and all(a < b for a, b in pairwise(sides))


def reader_accuracy(world: World, scenes: int = 400, seed: str = "reader") -> dict[str, Proportion]:
    """Measure the scene reader on rendered scenes: accuracy for objects, whole scenes and surroundings."""
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
