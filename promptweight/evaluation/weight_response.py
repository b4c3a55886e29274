"""What a weight does to a picture: the same seeds drawn at every weight, by every way in which weights act.

The first thing of a pair carries the weight, as a phrase. At each weight it is asked: is the thing there, how
much of the picture has its colours, how much of the other thing's place does it take, what changed where it
is not?
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from promptweight import validation
from promptweight.evaluation.checkpoint import Kept
from promptweight.evaluation.recognizer import Seen, look
from promptweight.mini import Scene, phrase, plainly

WEIGHTS = (-1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5)
SPACES = ("embedding", "attention")


@dataclass(frozen=True)
class Way:
    """A way in which weights act."""

    name: str
    settings: tuple[tuple[str, Any], ...] = ()
    """Of `attach`."""
    options: str = ""
    """Written after the weight in the prompt, without braces."""

    @property
    def space(self) -> str:
        """Where it acts: "embedding" or "attention"."""
        return dict(self.settings).get("space", "embedding")


def ways() -> tuple[Way, ...]:
    """All ways that are measured: methods, modes in attention, and parts of the run.

    The mode `value` gives the output of `p2p` (see `promptweight.attention.control.rules`): it is not drawn again.
    """
    from promptweight.attention import ATTACH_MODES
    from promptweight.weighting import METHODS

    methods = [name for name in METHODS if name not in ("none", "ignore")]
    attention = ("space", "attention")
    return (
        *(Way(name, (("method", name),)) for name in methods),
        *(Way(f"attention {mode}", (attention, ("mode", mode))) for mode in ATTACH_MODES if mode != "value"),
        *(
            Way(f"attention logit, steps {steps}", (attention,), f"steps={steps}")
            for steps in ("0-0.2", "0-0.5", "0.5-1")
        ),
    )


def chosen_ways(names: Sequence[str]) -> tuple[Way, ...]:
    """Some of the ways, by their names or by the spaces in which they act; all when no name is given.

    Raises:
        SettingError: a name that is neither.
    """
    known = ways()
    for name in names:
        validation.check_choice("way", name, [*SPACES, *(way.name for way in known)])
    return tuple(way for way in known if not names or way.name in names or way.space in names)


@dataclass(frozen=True)
class Drawn:
    """One picture at one weight, against the one of the same seed at weight 1."""

    scene: int
    way: str
    weight: float
    present: float
    """1 where the weighted thing is there in its colour."""
    right_colour: float
    """1 where its kind is there in its colour, 0 in another; not a number where its kind is missing."""
    other_present: float
    area: float
    """The part of the picture that has the weighted thing's colours."""
    spill: float
    """The part of the other thing's square, where it stands at weight 1, that has them."""
    outside: float
    """The mean difference of pixels (0 to 1) outside the squares where the thing stood and stands."""


def weighted(scene: Scene, language: str, weight: float, options: str = "") -> str:
    """The scene's plain caption with a weight on its first phrase."""
    caption, core = plainly(scene, language), phrase(scene.things[0], language).core
    if weight == 1 and not options:
        return caption
    braces = f"{{{options}}}" if options else ""
    return re.sub(re.escape(core), lambda match: f"({match[0]}:{weight:g}{braces})", caption, count=1)


def pictures(
    pipeline: Any,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int,
    batch: int = 10,
    **settings: Any,
) -> list[NDArray[np.uint8]]:
    """One picture (height, width, 3) per prompt, each from a generator of its own."""
    from promptweight.attention import attach
    from promptweight.models import default_guidance_scale

    made: list[NDArray[np.uint8]] = []
    for first in range(0, len(prompts), batch):
        generators = [torch.Generator().manual_seed(seed) for seed in seeds[first : first + batch]]
        with attach(
            pipeline, list(prompts[first : first + batch]), **{"record": False} | settings
        ) as session:
            output = pipeline(
                **session.inputs,
                num_inference_steps=steps,
                guidance_scale=default_guidance_scale(pipeline),
                generator=generators,
                output_type="np",
            )
        made += list((output.images * 255).round().astype(np.uint8))
    return made


def compare(
    picture: NDArray[np.uint8], now: Seen, plain: NDArray[np.uint8], before: Seen
) -> dict[str, float]:
    """The measures of a picture at some weight against the one at weight 1."""
    other_box = before.box(1)
    outside = ~(before.box(0) | now.box(0))
    change = np.abs(picture.astype(np.float32) - plain).mean(-1) / 255
    return {
        "present": float(now.has(0)),
        "right_colour": float(now.has(0)) if now.kinds[0] else float("nan"),
        "other_present": float(now.has(1)),
        "area": now.area(0),
        "spill": float(now.own[0][other_box].mean()) if other_box.any() else float("nan"),
        "outside": float(change[outside].mean()),
    }


@dataclass(frozen=True)
class Plain:
    """Scenes drawn without weights, once for all that is compared with them."""

    languages: list[str]
    seeds: list[int]
    pictures: list[NDArray[np.uint8]]
    seen: list[Seen]

    @property
    def digest(self) -> str:
        """Tells these pictures from all others: a model trained on, or another one, draws other pictures."""
        return hashlib.sha256(b"".join(picture.tobytes() for picture in self.pictures)).hexdigest()


def drawn_plainly(pipeline: Any, scenes: Sequence[Scene], seed: int, steps: int = 25) -> Plain:
    """Every scene's language and noise, its picture without weights, and what that shows.

    Captions are Portuguese and English by turns.
    """
    languages = [("pt", "en")[place % 2] for place in range(len(scenes))]
    seeds = [1_000_000 * (seed + 11) + place for place in range(len(scenes))]
    captions = [plainly(scene, language) for scene, language in zip(scenes, languages, strict=True)]
    plain = pictures(pipeline, captions, seeds, steps=steps)
    seen = [look(each, scene) for each, scene in zip(plain, scenes, strict=True)]
    return Plain(languages, seeds, plain, seen)


def measure(
    pipeline: Any,
    scenes: Sequence[Scene],
    plain: Plain,
    *,
    steps: int = 25,
    chosen: Sequence[Way] | None = None,
    weights: Sequence[float] = WEIGHTS,
    kept: Kept | None = None,
) -> list[Drawn]:
    """Draw every scene, of two things, in every way at every weight.

    Args:
        pipeline: one that draws the built-in world.
        scenes: pairs. Those in which the picture at weight 1 lacks one of the two things are left out:
            there is nothing to compare with.
        plain: what `drawn_plainly` made of them with as many steps.
        steps: of each picture.
        chosen: the ways; all when None.
        weights: the weights.
        kept: where the measures of each way and weight are kept as soon as they are made.
    """
    whole = [place for place, seen in enumerate(plain.seen) if seen.has(0) and seen.has(1)]

    def at(way: Way, weight: float) -> list[dict[str, Any]]:
        if weight == 1:
            drawn = [plain.pictures[place] for place in whole]
        else:
            texts = [weighted(scenes[place], plain.languages[place], weight, way.options) for place in whole]
            seeds = [plain.seeds[place] for place in whole]
            drawn = pictures(pipeline, texts, seeds, steps=steps, **dict(way.settings))
        return [
            asdict(Drawn(place, way.name, weight, **compare(picture, look(picture, scenes[place]), *before)))
            for place, picture in zip(whole, drawn, strict=True)
            for before in [(plain.pictures[place], plain.seen[place])]
        ]

    found: list[Drawn] = []
    for way in ways() if chosen is None else chosen:
        for weight in weights:
            make = partial(at, way, weight)
            rows = make() if kept is None else kept.rows((way.name, weight), make)
            found += [Drawn(**row) for row in rows]
    return found


@dataclass(frozen=True)
class Changed:
    """How much a weight changed a picture, whatever is on it."""

    scene: int
    way: str
    weight: float
    change: float
    """The mean difference of pixels (0 to 1) from the picture of the same seed at weight 1."""


def measure_change(
    pipeline: Any,
    scenes: Sequence[Scene],
    *,
    seed: int,
    steps: int = 25,
    chosen: Sequence[Way] | None = None,
    weights: Sequence[float] = WEIGHTS,
) -> list[Changed]:
    """As `measure`, for any model: without knowing what a picture shows. Captions are English."""
    seeds = [1_000_000 * (seed + 11) + place for place in range(len(scenes))]
    plain = pictures(pipeline, [plainly(scene, "en") for scene in scenes], seeds, steps=steps, batch=1)
    found: list[Changed] = []
    for way in ways() if chosen is None else chosen:
        for weight in weights:
            drawn = plain
            if weight != 1:
                texts = [weighted(scene, "en", weight, way.options) for scene in scenes]
                drawn = pictures(pipeline, texts, seeds, steps=steps, batch=1, **dict(way.settings))
            for place, (picture, before) in enumerate(zip(drawn, plain, strict=True)):
                change = float(np.abs(picture.astype(np.float32) - before).mean() / 255)
                found.append(Changed(place, way.name, weight, change))
    return found
