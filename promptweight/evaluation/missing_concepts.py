"""Is the warning of things missing or mixed up right? Given after 5 steps of 25, held against the picture.

`generate` warns above `promptweight.generation.early_warning.LEAK_THRESHOLD`, which was chosen on other pictures; here it
is judged (`at_threshold`), beside the threshold that half of these pictures would choose (`judge`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from promptweight.evaluation.prompt_fidelity import Drawn, held_out
from promptweight.evaluation.recognizer import recognise
from promptweight.evaluation.statistics import Share
from promptweight.mini import COLORS, GROUP_SIDE, KINDS, Scene, Thing, phrase, plainly

STEPS, WARNED_AFTER = 25, 5
PROMPTS = ("two things", "two of one kind", "three things", "four things")
"""What prompts name. The model learnt from scenes of up to three things of different kinds."""


@dataclass(frozen=True)
class Warned:
    """What the maps said early of a picture or of one phrase of it, and how that came out."""

    scene: int
    prompts: str
    """Which of `PROMPTS`."""
    score: float
    """Of the phrase, or the highest of the picture's; see `promptweight.generation.early_warning`."""
    is_wrong: bool
    """The phrase's thing, or any that was asked for, is not there in its colour."""
    is_mixed: bool
    """Its kind, or any kind that was asked for, came out in a colour that was not asked for with it."""


@dataclass(frozen=True)
class Verdict:
    """How right the warning is at one threshold, on pictures that did not choose it."""

    threshold: float
    precision: Share
    recall: Share
    base: Share
    """How often what is warned of happens at all."""
    area: float
    """The chance that a picture in which it happens has a higher score than one in which it does not."""


def scenes_of(number: int, seed: int) -> list[tuple[str, Scene]]:
    """So many held-out scenes for each kind of prompt; places and sizes count for nothing."""
    rng = Random(f"leakage/{seed}")
    made: dict[str, list[Scene]] = {
        "two things": list(held_out(number, 2, False, seed)),
        "three things": list(held_out(number, 3, False, seed)),
    }
    for name, things in (("two of one kind", 2), ("four things", 4)):
        made[name] = []
        for _ in range(number):
            kinds = [rng.choice(KINDS)] * 2 if things == 2 else rng.sample(KINDS, things)
            named = zip(kinds, rng.sample(list(COLORS), things), strict=True)
            made[name].append(Scene(tuple(Thing(kind, colour, 0, 0, GROUP_SIDE) for kind, colour in named)))
    return [(name, scene) for name in PROMPTS for scene in made[name]]


def told(scene: Scene, language: str) -> str:
    """The scene's plain caption; of four things or more as a list like that of three."""
    if len(scene.things) < 4:
        return plainly(scene, language)
    *first, last = [str(phrase(thing, language)) for thing in scene.things]
    return f"{', '.join(first)} {'e' if language == 'pt' else 'and'} {last}"


def mixed(drawn: Drawn, thing: Thing | None = None) -> bool:
    """Whether a thing, or any, came out in a colour that was not asked for with its kind."""
    asked = {(each.kind, each.color) for each in drawn.scene.things}
    kinds = {each.kind for each in drawn.scene.things} if thing is None else {thing.kind}
    is_there = thing is not None and drawn.match(thing) is not None
    return not is_there and any(
        each.kind in kinds and (each.kind, each.color) not in asked for each in drawn.found
    )


def measure(
    pipeline: Any, scenes: Sequence[tuple[str, Scene]], *, seed: int, batch: int = 8, steps: int = STEPS
) -> tuple[list[Warned], list[Warned]]:
    """Draw scenes of two things or more, and reads the maps after a fifth of the steps.

    Args:
        pipeline: one that draws the built-in world.
        scenes: as `scenes_of` gives them. Captions are Portuguese and English, two by turns.
        seed: of the noises.
        batch: how many pictures are made at once.
        steps: of each picture.

    Returns:
        The pictures, and their phrases.
    """
    from promptweight.attention import attach
    from promptweight.generation import score_leaks

    found: list[Warned] = []
    of_phrases: list[Warned] = []
    for first in range(0, len(scenes), batch):
        part = scenes[first : first + batch]
        numbers = range(first, first + len(part))
        prompts = [
            told(scene, ("pt", "en")[number // 2 % 2])  # both in either half that `judge` makes
            for number, (_, scene) in zip(numbers, part, strict=True)
        ]
        generators = [torch.Generator().manual_seed(1_000_000 * (seed + 21) + number) for number in numbers]
        with attach(pipeline, prompts) as session:
            images, maps = draw(pipeline, session, generators, steps)
        for place, ((name, scene), image) in enumerate(zip(part, images, strict=True)):
            picture = (image * 255).round().astype(np.uint8)
            drawn = Drawn(scene, prompts[place], tuple(recognise(picture, max(4, len(scene.things)))))
            scores = [leak.score for leak in score_leaks(maps, place)]
            rows = [
                Warned(first + place, name, score, drawn.match(thing) is None, mixed(drawn, thing))
                for score, thing in zip(scores, scene.things, strict=True)
            ]
            of_phrases += rows
            is_wrong = any(row.is_wrong for row in rows)
            found.append(Warned(first + place, name, max(scores), is_wrong, mixed(drawn)))
    return found, of_phrases


def draw(
    pipeline: Any, session: Any, generators: list[torch.Generator], steps: int
) -> tuple[NDArray[np.float32], Any]:
    """Run the pipeline; returns its pictures, 0 to 1, and the maps that `generate` would look at."""
    from promptweight.generation import EarlyLeakCheck
    from promptweight.models import default_guidance_scale

    look = EarlyLeakCheck(session, len(generators))

    def after_step(_pipe: Any, step: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        look.after(step + 1, steps)
        return tensors

    output = pipeline(
        **session.inputs,
        num_inference_steps=steps,
        guidance_scale=default_guidance_scale(pipeline),
        generator=generators,
        output_type="np",
        callback_on_step_end=after_step,
    )
    return output.images, look.maps


def judge(found: Sequence[Warned], truth: str) -> Verdict:
    """Choose the threshold of the best F-score on every second scene, and judges it on the others.

    Args:
        found: what was measured of pictures or of phrases.
        truth: "is_mixed" or "is_wrong".
    """
    choosing, judged = ([each for each in found if each.scene % 2 == half] for half in (0, 1))
    threshold = max(
        (each.score for each in choosing),
        key=lambda limit: f_score([(each.score >= limit, getattr(each, truth)) for each in choosing]),
        default=0.0,
    )
    pairs = [(each.score >= threshold, bool(getattr(each, truth))) for each in judged]
    return verdict_of(pairs, threshold, found, truth)


def at_threshold(found: Sequence[Warned], truth: str, threshold: float) -> Verdict:
    """Judge a threshold that none of these pictures chose, on all of them; arguments as in `judge`."""
    pairs = [(each.score > threshold, bool(getattr(each, truth))) for each in found]
    return verdict_of(pairs, threshold, found, truth)


def verdict_of(
    pairs: Sequence[tuple[bool, bool]], threshold: float, found: Sequence[Warned], truth: str
) -> Verdict:
    """The verdict on (warned, is bad) pairs; the area is of all that was found."""
    bad = [each.score for each in found if getattr(each, truth)]
    good = [each.score for each in found if not getattr(each, truth)]
    above = [(one > other) + (one == other) / 2 for one in bad for other in good]
    return Verdict(
        threshold,
        Share.of_all(is_bad for warned, is_bad in pairs if warned),
        Share.of_all(warned for warned, is_bad in pairs if is_bad),
        Share.of_all(is_bad for _, is_bad in pairs),
        float(np.mean(above)) if above else float("nan"),
    )


def f_score(pairs: Sequence[tuple[bool, bool]]) -> float:
    """The harmonic mean of precision and recall of (warned, is bad) pairs."""
    right = sum(warned and is_bad for warned, is_bad in pairs)
    either = sum(warned for warned, _ in pairs) + sum(is_bad for _, is_bad in pairs)
    return 2 * right / either if either else 0.0
