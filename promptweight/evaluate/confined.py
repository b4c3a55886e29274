"""Does a weight confined to a part of the picture bring its thing there?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from promptweight.evaluate.response import drawn_plainly, pictures, weighted
from promptweight.evaluate.seen import Seen, look
from promptweight.mini.scenes import Scene

REGION_WEIGHT = 2.5


@dataclass(frozen=True)
class Bounded:
    """How much of the weighted thing lies in the region that its weight was confined to, and without one."""

    scene: int
    mode: str
    region: str
    inside: float
    inside_without: float
    """The same in the picture at weight 1."""


def measure(pipeline: Any, scenes: Sequence[Scene], *, seed: int, steps: int = 25) -> list[Bounded]:
    """Draws every scene with a high weight on its first phrase, in the half in which it would not stand."""
    languages, seeds, _, before = drawn_plainly(pipeline, scenes, seed, steps)
    halves = ["right" if in_left_half(seen) > 0.5 else "left" for seen in before]
    found = []
    for mode in ("logit", "p2p", "value"):
        texts = [
            weighted(scene, language, REGION_WEIGHT, f"region={half}, mode={mode}")
            for scene, language, half in zip(scenes, languages, halves, strict=True)
        ]
        drawn = pictures(pipeline, texts, seeds, steps=steps, space="attention")
        for place, picture in enumerate(drawn):
            now = in_left_half(look(picture, scenes[place]))
            was = in_left_half(before[place])
            if halves[place] == "right":
                now, was = 1 - now, 1 - was
            found.append(Bounded(place, mode, halves[place], now, was))
    return found


def in_left_half(seen: Seen) -> float:
    """The part of the first thing's coloured pixels that lies in the left half; a half where it has none."""
    own = seen.own[0]
    return float(own[:, : own.shape[1] // 2].sum() / own.sum()) if own.any() else 0.5
