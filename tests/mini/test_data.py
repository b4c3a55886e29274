"""Batches: the share of each group of scenes, and latents that stay with their captions."""

from random import Random

import pytest
import torch

from promptweight.mini.data import EncodedScenes, Shares, draw_batch, draw_scenes
from promptweight.models import load


@pytest.fixture(scope="module")
def numbered() -> EncodedScenes:
    """Scenes whose latents are their own numbers."""
    scenes = draw_scenes(seed=3, rank=0, number=200)
    latents = torch.arange(200.0)[:, None, None, None].expand(200, 8, 16, 16)
    alone = [range(index, index + 1) for index in range(200)]
    return EncodedScenes(scenes, latents, torch.zeros(200, 16, 16, dtype=torch.bool), alone)


@pytest.mark.parametrize(
    ("related", "single", "pairs"),
    [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0), (0.5, 0.25, 0.25)],
)
def test_a_batch_holds_the_shares_asked_for(
    numbered: EncodedScenes, related: float, single: float, pairs: float
) -> None:
    draw = draw_batch(numbered, load("mini").tokenizer, Shares(related, single, pairs))
    chosen = draw(Random(1), 400)["latents"][:, 0, 0, 0].int().tolist()
    scenes = [numbered.scenes[index] for index in chosen]
    told = sum(bool(scene.relation) for scene in scenes) / len(scenes)
    alone = sum(not scene.relation and len(scene.things) == 1 for scene in scenes) / len(scenes)
    together = sum(not scene.relation and len(scene.things) == 2 for scene in scenes) / len(scenes)
    everywhere = 1 - related - single - pairs
    of_all = [bool(scene.relation) for scene in numbered.scenes]
    assert told == pytest.approx(related + everywhere * sum(of_all) / len(of_all), abs=0.1)
    if not everywhere:
        assert told + alone + together == 1
        assert (alone, together) == pytest.approx((single, pairs), abs=0.1)


def test_scenes_of_another_seed_are_other_scenes() -> None:
    assert draw_scenes(seed=0, rank=0, number=5) == draw_scenes(seed=0, rank=0, number=9)[:5]
    assert draw_scenes(seed=0, rank=0, number=5) != draw_scenes(seed=1, rank=0, number=5)
