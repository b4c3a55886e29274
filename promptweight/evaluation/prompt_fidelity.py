"""Does a model draw what is asked? Counts things, colours and relations in pictures of held-out prompts.

Prompts are made from random scenes, half in Portuguese and half in English, and the pictures are read by
`recognise`. A picture that cannot be read counts as wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from promptweight.evaluation.recognizer import Found, recognise
from promptweight.evaluation.statistics import Share
from promptweight.mini import (
    ABOVE,
    BELOW,
    BESIDE,
    CHASE,
    LANGUAGES,
    LEFT,
    RELATIONS,
    RIGHT,
    Scene,
    Thing,
    plainly,
    random_scene,
)

SENTENCE = Scene((Thing("cat", "red", 4, 20, 24), Thing("mouse", "gray", 36, 20, 24)), relation=CHASE)


@dataclass(frozen=True)
class Drawn:
    """A scene that was asked for, the words it was asked in, and what the picture shows."""

    scene: Scene
    prompt: str
    found: tuple[Found, ...]

    def match(self, thing: Thing) -> Found | None:
        """Return what was found of a thing, of the right kind and colour."""
        return next((f for f in self.found if (f.kind, f.color) == (thing.kind, thing.color)), None)


def held_out(number: int, things: int, related: bool, seed: int) -> Iterator[Scene]:
    """Yield random scenes with that many things, on plain ground, with a relation or with none."""
    rng = Random(f"drawing/{seed}/{things}/{related}")
    while number:
        scene = random_scene(rng)
        if len(scene.things) == things and scene.relation in (RELATIONS if related else ("",)):
            number -= 1
            yield replace(scene, background="plain")


def pictures(
    pipeline: Any,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int = 25,
    guidance_scale: float,
    batch: int = 10,
) -> Iterator[NDArray[np.uint8]]:
    """Yield one picture (height, width, 3) per prompt, each from a generator of its own."""
    for first in range(0, len(prompts), batch):
        texts = list(prompts[first : first + batch])
        generators = [torch.Generator().manual_seed(seed) for seed in seeds[first : first + batch]]
        output = pipeline(
            texts,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            generator=generators,
            output_type="np",
        )
        yield from (output.images * 255).round().astype(np.uint8)


def draw(
    pipeline: Any,
    scenes: Sequence[Scene],
    *,
    seed: int,
    guidance_scale: float,
    languages: Sequence[str] = LANGUAGES,
) -> list[Drawn]:
    """Ask for scenes, in the languages by turns, and reads the pictures."""
    prompts = [plainly(scene, languages[index % len(languages)]) for index, scene in enumerate(scenes)]
    seeds = [1_000_000 * (seed + 1) + index for index in range(len(scenes))]
    drawn = pictures(pipeline, prompts, seeds, guidance_scale=guidance_scale)
    return [
        Drawn(scene, prompt, tuple(recognise(picture)))
        for scene, prompt, picture in zip(scenes, prompts, drawn, strict=True)
    ]


def relation_holds(relation: str, first: Found, second: Found) -> bool:
    """Tell whether two things found stand to each other as the relation says."""
    across = second.centre[0] - first.centre[0]
    down = second.centre[1] - first.centre[1]
    sideways = abs(across) > abs(down)
    return {
        LEFT: sideways and across > 0,
        CHASE: sideways and across > 0,
        RIGHT: sideways and across < 0,
        ABOVE: not sideways and down > 0,
        BELOW: not sideways and down < 0,
        BESIDE: sideways,
        "": True,
    }[relation]


def both_and_relation(drawn: Drawn) -> tuple[bool, bool]:
    """Tell whether both things of a pair are there, and whether they also stand as was said."""
    first, second = (drawn.match(thing) for thing in drawn.scene.things)
    both = first is not None and second is not None
    return both, both and relation_holds(drawn.scene.relation, first, second)  # type: ignore[arg-type]


def measure(pipeline: Any, *, number: int = 200, seed: int = 0, guidance_scale: float) -> dict[str, Share]:
    """Measure how often single things, pairs and relations come out right.

    Args:
        pipeline: a text-to-image pipeline that draws the built-in world at 64 × 64.
        number: prompts per question.
        seed: which prompts and noises; training uses none of these seeds.
        guidance_scale: classifier-free guidance.

    Returns:
        A `Share` per question, in the order of the report.
    """
    single = draw(pipeline, list(held_out(number, 1, False, seed)), seed=seed, guidance_scale=guidance_scale)
    pairs = draw(
        pipeline, list(held_out(number, 2, False, seed)), seed=seed + 1, guidance_scale=guidance_scale
    )
    related = draw(
        pipeline, list(held_out(number, 2, True, seed)), seed=seed + 2, guidance_scale=guidance_scale
    )
    sentence = draw(
        pipeline, [SENTENCE] * 10, seed=seed + 3, guidance_scale=guidance_scale, languages=("pt",)
    )
    wanted = [drawn.scene.things[0] for drawn in single]
    largest = [drawn.found[0] if drawn.found else None for drawn in single]
    judged = [both_and_relation(drawn) for drawn in related]
    return {
        "one thing: colour": Share.of_all(
            f is not None and f.color == t.color for f, t in zip(largest, wanted, strict=True)
        ),
        "one thing: kind": Share.of_all(
            f is not None and f.kind == t.kind for f, t in zip(largest, wanted, strict=True)
        ),
        "two things: both, each in its colour": Share.of_all(both_and_relation(drawn)[0] for drawn in pairs),
        "relation: both things and the relation": Share.of_all(holds for _, holds in judged),
        "relation: where both things are there": Share.of_all(holds for both, holds in judged if both),
        "the sentence": Share.of_all(both_and_relation(drawn)[1] for drawn in sentence),
    }
