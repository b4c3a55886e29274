"""Prompt fidelity: proportion of correct objects, colors and relations in images of held-out prompts.

Prompts are captions of random scenes, half in Portuguese and half in English; `recognize` detects the objects
of the images. An image without a detection counts as wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

from promptweight.evaluation.caption_images import generate_scene_images, write_captions
from promptweight.evaluation.object_search import ReadThing
from promptweight.evaluation.recognizer import Detection, recognize
from promptweight.evaluation.statistics import Proportion
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
    random_scene,
)

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline

SENTENCE = Scene((Thing("cat", "red", 4, 20, 24), Thing("mouse", "gray", 36, 20, 24)), relation=CHASE)


@dataclass(frozen=True)
class SceneDetections:
    """A scene, its caption, and the detections in the image of the caption."""

    scene: Scene
    prompt: str
    detections: tuple[Detection, ...]

    def match(self, thing: Thing) -> Detection | None:
        """Return the detection with the kind and color of an object; None if it is missing."""
        return next(
            (each for each in self.detections if (each.kind, each.color) == (thing.kind, thing.color)), None
        )


def held_out_scenes(number: int, objects: int, has_relation: bool, seed: int) -> Iterator[Scene]:
    """Yield random scenes with `objects` objects on a plain background, with a relation or without one."""
    rng = Random(f"drawing/{seed}/{objects}/{has_relation}")  # this key selects the published scenes
    while number:
        scene = random_scene(rng)
        if len(scene.things) == objects and scene.relation in (RELATIONS if has_relation else ("",)):
            number -= 1
            yield replace(scene, background="plain")


def generate_and_recognize(
    pipeline: Pipeline,
    scenes: Sequence[Scene],
    *,
    seed: int,
    guidance_scale: float,
    languages: Sequence[str] = LANGUAGES,
) -> list[SceneDetections]:
    """Generate an image of every scene's caption, in alternating languages, and detect its objects."""
    images = generate_scene_images(
        pipeline, scenes, 1_000_000 * (seed + 1), guidance_scale=guidance_scale, languages=languages
    )
    prompts = write_captions(scenes, languages)
    return [
        SceneDetections(scene, prompt, tuple(recognize(image)))
        for scene, prompt, image in zip(scenes, prompts, images, strict=True)
    ]


def is_arranged(relation: str, first: Detection | ReadThing, second: Detection | ReadThing) -> bool:
    """Return True if the positions of two objects satisfy one of `RELATIONS`, or if there is no relation."""
    across = second.center[0] - first.center[0]
    down = second.center[1] - first.center[1]
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


def check_pair(result: SceneDetections) -> tuple[bool, bool]:
    """Return whether both objects of a pair are present, and whether their relation holds too."""
    first, second = (result.match(thing) for thing in result.scene.things)
    if first is None or second is None:
        return False, False
    return True, is_arranged(result.scene.relation, first, second)


def measure_prompt_fidelity(
    pipeline: Pipeline, *, number: int = 200, seed: int = 0, guidance_scale: float
) -> dict[str, Proportion]:
    """Measure how often single objects, pairs and relations are correct.

    Args:
        pipeline: a text-to-image pipeline of the built-in world.
        number: prompts per metric.
        seed: selects prompts and noise; training uses none of these seeds.
        guidance_scale: classifier-free guidance.

    Returns:
        A proportion per metric, in the order of the report.
    """

    def generate(scenes: list[Scene], offset: int, **options: Any) -> list[SceneDetections]:
        return generate_and_recognize(
            pipeline, scenes, seed=seed + offset, guidance_scale=guidance_scale, **options
        )

    single = generate(list(held_out_scenes(number, 1, False, seed)), 0)
    pairs = generate(list(held_out_scenes(number, 2, False, seed)), 1)
    related = generate(list(held_out_scenes(number, 2, True, seed)), 2)
    sentence = generate([SENTENCE] * 10, 3, languages=("pt",))
    expected = [result.scene.things[0] for result in single]
    largest = [result.detections[0] if result.detections else None for result in single]
    checked = [check_pair(result) for result in related]
    return {
        "one object: color": Proportion.from_outcomes(
            detection is not None and detection.color == thing.color
            for detection, thing in zip(largest, expected, strict=True)
        ),
        "one object: kind": Proportion.from_outcomes(
            detection is not None and detection.kind == thing.kind
            for detection, thing in zip(largest, expected, strict=True)
        ),
        "two objects: both, each in its color": Proportion.from_outcomes(
            check_pair(result)[0] for result in pairs
        ),
        "relation: both objects and the relation": Proportion.from_outcomes(holds for _, holds in checked),
        "relation: images with both objects": Proportion.from_outcomes(
            holds for both, holds in checked if both
        ),
        "the sentence": Proportion.from_outcomes(check_pair(result)[1] for result in sentence),
    }
