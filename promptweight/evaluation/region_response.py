"""Does a weight confined to a part of the picture bring its thing there?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from promptweight.evaluation.checkpoint import Kept
from promptweight.evaluation.recognizer import Seen, look
from promptweight.evaluation.weight_response import Plain, pictures, weighted
from promptweight.mini import Scene

REGION_WEIGHT = 2.5
MODES = ("logit", "p2p")
"""In attention; `value` gives the output of `p2p`."""


@dataclass(frozen=True)
class Bounded:
    """How much of the weighted thing lies in the region that its weight was confined to, and without one."""

    scene: int
    mode: str
    region: str
    inside: float
    inside_without: float
    """The same in the picture at weight 1."""


def measure(
    pipeline: Any, scenes: Sequence[Scene], plain: Plain, *, steps: int = 25, kept: Kept | None = None
) -> list[Bounded]:
    """Draw every scene with a high weight on its first phrase, in the half in which it would not stand.

    Args:
        pipeline: one that draws the built-in world.
        scenes: pairs.
        plain: what `response.drawn_plainly` made of them with as many steps.
        steps: of each picture.
        kept: where the measures of each mode are kept as soon as they are made.
    """
    halves = ["right" if in_left_half(seen) > 0.5 else "left" for seen in plain.seen]

    def at(mode: str) -> list[dict[str, Any]]:
        texts = [
            weighted(scene, language, REGION_WEIGHT, f"region={half}, mode={mode}")
            for scene, language, half in zip(scenes, plain.languages, halves, strict=True)
        ]
        drawn = pictures(pipeline, texts, plain.seeds, steps=steps, space="attention")
        found = []
        for place, picture in enumerate(drawn):
            now = in_left_half(look(picture, scenes[place]))
            was = in_left_half(plain.seen[place])
            if halves[place] == "right":
                now, was = 1 - now, 1 - was
            found.append(asdict(Bounded(place, mode, halves[place], now, was)))
        return found

    rows = [(at(mode) if kept is None else kept.rows(("region", mode), partial(at, mode))) for mode in MODES]
    return [Bounded(**row) for of_mode in rows for row in of_mode]


def in_left_half(seen: Seen) -> float:
    """The part of the first thing's coloured pixels that lies in the left half; a half where it has none."""
    own = seen.own[0]
    return float(own[:, : own.shape[1] // 2].sum() / own.sum()) if own.any() else 0.5
