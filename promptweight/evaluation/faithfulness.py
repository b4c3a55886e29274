"""Does a word act where its map is? Maps are held against what leaving the word out changes.

    effect(x) = |ε with the word − ε without it|, summed over the latent channels, at every latent x

"Without" is meant in two ways: the word's keys are masked in attention, which is all that a map can speak
of; or the word is taken out of the text, which also changes what the other words say. The rank correlation
of map and effect over the latents is 1 where the map orders places as the effect does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from promptweight.evaluation.noising import noised, predict
from promptweight.evaluation.statistics import spearman
from promptweight.mini import phrase

UNITS = ("probability", "share", "refined", "refined share")
WAYS = ("masked", "unsaid")


@dataclass(frozen=True)
class Faith:
    """The rank correlation of one word's map with the effect of leaving the word out."""

    scene: int
    level: int
    part: str
    unit: str
    way: str
    correlation: float
    strength: float
    """The effect as a part of what taking the word out of the text has: 1 where it goes by the word's keys
    alone, near 0 where other tokens have taken over what it says."""


def effect(with_word: Tensor, without: Tensor) -> Tensor:
    """|ε with − ε without| of predictions (1, channels, height, width), summed over channels."""
    return (with_word - without).float().abs().sum(1)[0].cpu()


def without_words(prompt: str, words: str) -> str:
    """The text with the first `words` taken out."""
    return " ".join(prompt.replace(words, "", 1).split())


@torch.no_grad()
def measure(
    pipeline: Any,
    *,
    number: int,
    seed: int,
    timesteps: tuple[int, ...] = (200, 400, 600),
    is_drawn: bool = True,
) -> list[Faith]:
    """Correlates maps of nouns, colours and phrases in drawn scenes with the effect of leaving them out."""
    from promptweight.attention import Record
    from promptweight.conditioning import encode

    found: list[Faith] = []
    record = Record(refine=True)
    for noise in noised(
        pipeline,
        number=number,
        seed=seed,
        timesteps=timesteps,
        languages=("pt", "en") if is_drawn else ("en",),
        is_drawn=is_drawn,
        record=record,
    ):
        session, maps = noise.session, noise.session.maps
        text = session.tables["positive"][0].prompt.text
        for thing in noise.scene.things:
            words = phrase(thing, noise.language)
            for part, said in (("noun", words.noun), ("colour", words.adjective), ("phrase", words.core)):
                session.set_weight(said, 0.0)
                session.reset()
                masked = predict(pipeline, noise.latents, noise.level.timestep, session.inputs)
                session.set_weight(said, 1.0)
                other = encode(pipeline, without_words(text, said))
                unsaid = predict(pipeline, noise.latents, noise.level.timestep, other)
                effects = {
                    "masked": effect(noise.predicted, masked),
                    "unsaid": effect(noise.predicted, unsaid),
                }
                whole = float(effects["unsaid"].sum())
                for unit in UNITS:
                    view = maps.refined() if unit.startswith("refined") else maps
                    view = view.share() if unit.endswith("share") else view
                    heat = view.word(said).tensor.cpu()
                    for way, changed in effects.items():
                        small = F.interpolate(
                            heat[None, None], changed.shape, mode="bilinear", antialias=True
                        )[0, 0]
                        correlation = spearman(small.flatten().tolist(), changed.flatten().tolist())
                        strength = float(changed.sum()) / max(whole, 1e-12)
                        found.append(
                            Faith(noise.number, noise.level.name, part, unit, way, correlation, strength)
                        )
    return found
