"""Response of degrees to the weight of their words: the size and the number of objects.

One word of a caption carries the weight: the size word of a single object, or the number word of many. The
measured degree is the part of the image that is not background, or the number of objects.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from promptweight.evaluation.caption_images import generate_images
from promptweight.evaluation.scene_reader import read
from promptweight.evaluation.world_fidelity import OFF_GROUND
from promptweight.mini import LANGUAGES, Scene, World, palette, phrase, plainly
from promptweight.mini.scenes import BIG, HUGE, MANY, SMALL, TINY, Thing
from promptweight.weighting import Weighting

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
DIRECTIONS = {TINY: -1, SMALL: -1, BIG: 1, HUGE: 1, MANY: 1}
"""The words by their keys: 1 if more of the word means a larger degree, -1 if it means a smaller one."""

MANY_OBJECTS = 8
"""Number of objects of a scene that the caption names as many."""


@dataclass(frozen=True)
class DegreeSample:
    """Degree of one image at one weight."""

    prompt: int
    word: str
    """A key of `DIRECTIONS`."""
    seed: int
    weight: float
    degree: float
    """Part of the image that is not background, 0 to 1; for the number word, the number of objects."""


def list_words(world: World) -> list[str]:
    """Return the words with a degree that a world has."""
    known = {*world.sizes, *(number for number in world.numbers if number == MANY)}
    return [word for word in DIRECTIONS if word in known]


def weight_word(scene: Scene, language: str, word: str, weight: float) -> str:
    """Return the scene's caption with a weight on the word of its size or number.

    Args:
        scene: a single object with a size word, or many of one kind.
        language: "pt" or "en".
        word: a key of `DIRECTIONS`.
        weight: the weight.
    """
    noun_phrase = phrase(scene.things[0], language, count=len(scene.things))
    written = noun_phrase.article if word == MANY else noun_phrase.size
    return re.sub(rf"\b{re.escape(written)}\b", f"({written}:{weight:g})", plainly(scene, language), count=1)


def measure_degree_response(
    pipeline: Pipeline,
    world: World,
    *,
    prompts: int,
    seeds: int,
    seed: int = 0,
    steps: int = 25,
    weights: Sequence[float] = WEIGHTS,
    weighting: Weighting | str | None = None,
) -> list[DegreeSample]:
    """Generate objects with a weighted word of degree, from the same noise at every weight.

    Args:
        pipeline: a pipeline of the built-in world.
        world: its world.
        prompts: prompts of each word; they alternate between Portuguese and English.
        seeds: images of each prompt and weight.
        seed: selects the objects and the noise.
        steps: steps of each image.
        weights: the weights.
        weighting: the weighting; None for the default.
    """
    rng = Random(f"degrees/{seed}")
    samples = []
    number = 0
    for word in list_words(world):
        for index in range(prompts):
            kind, color = rng.choice(world.things), rng.choice(world.colors)
            count = MANY_OBJECTS if word == MANY else 1
            thing = Thing(kind, color, 0, 0, 0, size="" if word == MANY else word)
            scene = Scene((thing,) * count, background=world.backgrounds[0])
            noise = [1_000_000 * (seed + 81) + 1000 * number + each for each in range(seeds)]
            for weight in weights:
                text = weight_word(scene, LANGUAGES[index % len(LANGUAGES)], word, weight)
                images = generate_images(pipeline, [text] * seeds, noise, steps=steps, weighting=weighting)
                for image_seed, image in zip(noise, images, strict=True):
                    degree = count_objects(image, world) if word == MANY else area(image, scene.background)
                    samples.append(DegreeSample(number, word, image_seed, weight, degree))
            number += 1
    return samples


def area(image: NDArray[np.uint8], background: str) -> float:
    """Return the part of an image, 0 to 1, that does not have the color of the background."""
    ground = np.array(palette.BACKGROUNDS[background], np.float32)
    return float((np.abs(image.astype(np.float32) - ground).max(-1) / 255 > OFF_GROUND).mean())


def count_objects(image: NDArray[np.uint8], world: World) -> float:
    """Return the number of objects in an image."""
    return float(len(read(image, world).things))
