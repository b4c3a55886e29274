"""Is the warning of a leaking attribute right? Given after 5 steps of 25, held against the final picture.

`generate` warns above `promptweight.attention.binding.THRESHOLD`, which was chosen on other pictures; here it
is judged (`at_threshold`), beside the threshold that half of these pictures would choose (`judge`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from promptweight.evaluate.drawing import Drawn
from promptweight.evaluate.recognise import recognise
from promptweight.evaluate.statistics import Share
from promptweight.mini.captions import plainly
from promptweight.mini.scenes import Scene

STEPS, WARNED_AFTER = 25, 5


@dataclass(frozen=True)
class Warned:
    """What the maps said early of a picture, and how it came out."""

    scene: int
    score: float
    """The highest score of any word; see `promptweight.attention.binding`."""
    is_mixed: bool
    """A thing of a kind asked for came out in a colour not its own."""
    is_wrong: bool
    """Not both things are there, each in its colour."""


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


def mixed(drawn: Drawn) -> bool:
    """Whether a thing came out in another colour than was asked for."""
    asked = {thing.kind: thing.colour for thing in drawn.scene.things}
    return any(found.kind in asked and found.colour != asked[found.kind] for found in drawn.found)


def measure(
    pipeline: Any, scenes: Sequence[Scene], *, seed: int, batch: int = 8, steps: int = STEPS
) -> list[Warned]:
    """Draws scenes of two things or more, and reads the maps after a fifth of the steps."""
    from promptweight.attention import attach
    from promptweight.attention.binding import leak_scores

    found: list[Warned] = []
    early = max(1, steps * WARNED_AFTER // STEPS)
    for first in range(0, len(scenes), batch):
        part = scenes[first : first + batch]
        prompts = [plainly(scene, ("pt", "en")[(first + place) % 2]) for place, scene in enumerate(part)]
        generators = [
            torch.Generator().manual_seed(1_000_000 * (seed + 21) + first + place)
            for place in range(len(part))
        ]
        with attach(pipeline, prompts) as session:
            images, maps = draw(pipeline, session, generators, steps, early)
        for place, (scene, image) in enumerate(zip(part, images, strict=True)):
            picture = (image * 255).round().astype(np.uint8)
            drawn = Drawn(scene, prompts[place], tuple(recognise(picture)))
            scores = [leak.score for leak in leak_scores(maps, place)]
            whole = all(drawn.match(thing) is not None for thing in scene.things)
            found.append(Warned(first + place, max(scores, default=-2.0), mixed(drawn), not whole))
    return found


def draw(
    pipeline: Any, session: Any, generators: list[torch.Generator], steps: int, early: int
) -> tuple[NDArray[np.float32], Any]:
    """Runs the pipeline; returns its pictures, 0 to 1, and the maps as they were after `early` steps."""
    from promptweight.models import default_guidance_scale

    seen: list[Any] = []

    def look(_pipe: Any, step: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if step == early - 1:
            seen.append(session.maps)
        return tensors

    output = pipeline(
        **session.inputs,
        num_inference_steps=steps,
        guidance_scale=default_guidance_scale(pipeline),
        generator=generators,
        output_type="np",
        callback_on_step_end=look,
    )
    return output.images, seen[0]


def judge(found: Sequence[Warned], truth: str) -> Verdict:
    """Chooses the threshold of the best F-score on every second picture, and judges it on the others.

    Args:
        found: what was measured.
        truth: "is_mixed" or "is_wrong".
    """
    choosing, judged = found[::2], found[1::2]
    threshold = max(
        (each.score for each in choosing),
        key=lambda limit: f_score([(each.score >= limit, getattr(each, truth)) for each in choosing]),
        default=0.0,
    )
    pairs = [(each.score >= threshold, bool(getattr(each, truth))) for each in judged]
    return verdict_of(pairs, threshold, found, truth)


def at_threshold(found: Sequence[Warned], truth: str, threshold: float) -> Verdict:
    """Judges a threshold that none of these pictures chose, on all of them; arguments as in `judge`."""
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
