"""Do phrases get the shares that they are asked to get? Does a balance keep things from being forgotten?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from promptweight.evaluation.recognizer import recognise
from promptweight.mini import Scene, phrase, plainly

TARGETS = (0.1, 0.25, 0.4, 0.55, 0.7)


@dataclass(frozen=True)
class Reached:
    """What a phrase was to get, what it got while weights were found, and with one weight for all steps."""

    scene: int
    target: float
    share: float
    weight: float
    fixed_share: float


@dataclass(frozen=True)
class Present:
    """How many of a prompt's things are in the picture."""

    scene: int
    way: str
    things: int
    present: int


def measure_targets(
    pipeline: Any, scenes: Sequence[Scene], *, seed: int, steps: int = 25, targets: Sequence[float] = TARGETS
) -> list[Reached]:
    """Ask for shares of the first thing's phrase, and tries the weight found as a fixed one."""
    from promptweight.attention import attach
    from promptweight.models import default_guidance_scale

    found: list[Reached] = []
    for place, scene in enumerate(scenes):
        language = ("pt", "en")[place % 2]
        prompt, core = plainly(scene, language), phrase(scene.things[0], language).core
        call = {
            "num_inference_steps": steps,
            "guidance_scale": default_guidance_scale(pipeline),
            "output_type": "latent",
        }
        for target in targets:
            generator = torch.Generator().manual_seed(1_000_000 * (seed + 31) + place)
            with attach(pipeline, prompt, targets={core: target}, record=False) as session:
                pipeline(**session.inputs, **call, generator=generator)
                (reached,) = session.found[0]
            fixed = prompt.replace(core, f"({core}:{reached.weight:.6f})", 1)
            generator = torch.Generator().manual_seed(1_000_000 * (seed + 31) + place)
            with attach(pipeline, fixed, space="attention", targets={core: target}, record=False) as session:
                session.hold()
                pipeline(**session.inputs, **call, generator=generator)
                (held,) = session.found[0]
            mean = sum(held.shares[1:]) / max(1, len(held.shares) - 1)
            found.append(Reached(place, target, reached.share, reached.weight, mean))
    return found


def measure_balance(pipeline: Any, scenes: Sequence[Scene], *, seed: int, steps: int = 25) -> list[Present]:
    """Draw scenes of two and three things with and without a balance, from the same noises."""
    from promptweight.evaluation.weight_response import pictures

    languages = [("pt", "en")[place % 2] for place in range(len(scenes))]
    prompts = [plainly(scene, language) for scene, language in zip(scenes, languages, strict=True)]
    seeds = [1_000_000 * (seed + 41) + place for place in range(len(scenes))]
    found: list[Present] = []
    settings: dict[str, dict[str, Any]] = {"as they are": {}, "balanced": {"balance": True}}
    for way, setting in settings.items():
        for place, picture in enumerate(pictures(pipeline, prompts, seeds, steps=steps, **setting)):
            seen = {(each.kind, each.color) for each in recognise(np.asarray(picture))}
            things = scenes[place].things
            present = sum((thing.kind, thing.color) in seen for thing in things)
            found.append(Present(place, way, len(things), present))
    return found
