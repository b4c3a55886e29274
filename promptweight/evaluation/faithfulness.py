"""Faithfulness of attention maps: rank correlation of a word's map with the effect of removing the word.

    effect(x) = |ε with the word − ε without it|, summed over the latent channels, at every latent x

A word is removed in two ways: its keys are masked in attention, which is the only effect that a map can
represent; or it is deleted from the text, which also changes the embeddings of the other words. The rank
correlation over the latents is 1 if the map orders positions as the effect does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from promptweight.evaluation.noising import predict, run_noised_scenes
from promptweight.evaluation.statistics import spearman
from promptweight.mini import phrase

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline

MAP_VIEWS = ("probability", "share", "refined", "refined share")
ABLATIONS = ("masked", "deleted")


@dataclass(frozen=True)
class FaithfulnessSample:
    """Rank correlation of one word's map with the effect of one ablation."""

    scene: int
    level: int
    part: str
    """"noun", "color" or "phrase"."""
    view: str
    """One of `MAP_VIEWS`."""
    ablation: str
    """One of `ABLATIONS`."""
    correlation: float
    strength: float
    """The effect relative to that of deletion: 1 if the word acts through its own keys only, near 0 if other
    tokens carry its meaning."""


def compute_effect(with_word: Tensor, without_word: Tensor) -> Tensor:
    """Return |ε with − ε without| of predictions (1, channels, height, width), summed over channels."""
    return (with_word - without_word).float().abs().sum(1)[0].cpu()


def remove_words(prompt: str, words: str) -> str:
    """Return the text without the first occurrence of `words`."""
    return " ".join(prompt.replace(words, "", 1).split())


@torch.no_grad()
def measure_faithfulness(
    pipeline: Pipeline,
    *,
    number: int,
    seed: int,
    timesteps: tuple[int, ...] = (200, 400, 600),
    is_rendered: bool = True,
) -> list[FaithfulnessSample]:
    """Correlate the maps of nouns, colors and phrases with the effect of removing them.

    Args:
        pipeline: a pipeline that `noising.can_predict` accepts.
        number: number of scenes.
        seed: selects scenes and noise.
        timesteps: noise levels, as in `noising.noise_levels`.
        is_rendered: True to encode rendered scenes, in both languages; False for images that the model
            generates, in English.
    """
    from promptweight.attention import Record
    from promptweight.conditioning import encode

    samples: list[FaithfulnessSample] = []
    for noised in run_noised_scenes(
        pipeline,
        number=number,
        seed=seed,
        timesteps=timesteps,
        languages=("pt", "en") if is_rendered else ("en",),
        is_rendered=is_rendered,
        record=Record(refine=True),
    ):
        session, maps = noised.session, noised.session.maps
        text = session.tables["positive"][0].prompt.text
        for thing in noised.scene.things:
            words = phrase(thing, noised.language)
            for part, removed in (("noun", words.noun), ("color", words.adjective), ("phrase", words.core)):
                session.set_weight(removed, 0.0)
                session.reset()
                masked = predict(pipeline, noised.latents, noised.level.timestep, session.inputs)
                session.set_weight(removed, 1.0)
                shorter = encode(pipeline, remove_words(text, removed))
                deleted = predict(pipeline, noised.latents, noised.level.timestep, shorter)
                effects = {
                    "masked": compute_effect(noised.prediction, masked),
                    "deleted": compute_effect(noised.prediction, deleted),
                }
                total = float(effects["deleted"].sum())
                for view_name in MAP_VIEWS:
                    view = maps.refined() if view_name.startswith("refined") else maps
                    view = view.share() if view_name.endswith("share") else view
                    heat = view.word(removed).tensor.cpu()
                    for ablation, effect in effects.items():
                        resized = F.interpolate(
                            heat[None, None], effect.shape, mode="bilinear", antialias=True
                        )[0, 0]
                        samples.append(
                            FaithfulnessSample(
                                noised.number,
                                noised.level.name,
                                part,
                                view_name,
                                ablation,
                                spearman(resized.flatten().tolist(), effect.flatten().tolist()),
                                float(effect.sum()) / max(total, 1e-12),
                            )
                        )
    return samples
