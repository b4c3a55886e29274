"""Posterior mean over all placements of a scene: Bayes' rule, and the targets of the losses."""

import math
from random import Random

import pytest
import torch

from promptweight.mini.captions import plainly
from promptweight.mini.scenes import KINDS, RELATIONS, placements, random_scene
from promptweight.mini.training.data import EncodedScenes, Shares, draw_batch, draw_families
from promptweight.mini.training.posterior import posterior_mean
from promptweight.mini.training.recipes import RECIPES
from promptweight.models.loading import load


def scales(value: float, number: int) -> torch.Tensor:
    return torch.full((number, 1, 1, 1), value)


def test_every_placement_counts_as_bayes_rule_says() -> None:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 3, 1, 2, 2, generator=generator)
    noisy = torch.randn(2, 1, 2, 2, generator=generator)
    known = torch.tensor([[True, True, True], [True, False, True]])
    mean = posterior_mean(noisy, scales(0.6, 2), scales(0.8, 2), latents, known)
    for example in range(2):
        likely = []
        for place in range(3):
            pairs = zip(
                noisy[example].flatten().tolist(), latents[example, place].flatten().tolist(), strict=True
            )
            densities = [math.exp(-((x - 0.6 * z) ** 2) / (2 * 0.8**2)) for x, z in pairs]
            likely.append(math.prod(densities) * known[example, place].item())
        expected = sum(p * z for p, z in zip(likely, latents[example], strict=True)) / sum(likely)
        assert torch.allclose(mean[example], expected, atol=1e-6)


def test_without_noise_it_is_the_picture_and_in_noise_alone_the_mean_of_all() -> None:
    latents = torch.randn(1, 5, 8, 4, 4, generator=torch.Generator().manual_seed(1))
    known = torch.ones(1, 5, dtype=torch.bool)
    clear = posterior_mean(0.99 * latents[:, 2], scales(0.99, 1), scales(0.01, 1), latents, known)
    assert torch.allclose(clear, latents[:, 2])
    blind = posterior_mean(torch.randn(1, 8, 4, 4), scales(0.0, 1), scales(1.0, 1), latents, known)
    assert torch.allclose(blind, latents.mean(1), atol=1e-6)


def test_no_denoiser_does_better() -> None:
    """Check that the error of the mean is orthogonal to every function of the noised latents."""
    generator = torch.Generator().manual_seed(2)
    number, signal, sigma = 40_000, 0.5, 0.9
    latents = torch.randn(4, 1, 1, 2, generator=generator)
    drawn = torch.randint(4, (number,), generator=generator)
    noisy = signal * latents[drawn] + sigma * torch.randn(number, 1, 1, 2, generator=generator)
    everywhere = latents.expand(number, 4, 1, 1, 2)
    known = torch.ones(number, 4, dtype=torch.bool)
    mean = posterior_mean(noisy, scales(signal, number), scales(sigma, number), everywhere, known)
    missing = latents[drawn] - mean
    for told in (torch.ones_like(mean), mean, noisy, noisy.square()):
        product = (missing * told).sum((1, 2, 3))
        assert abs(product.mean()) < 4 * product.std() / number**0.5


@pytest.mark.parametrize(
    ("things", "relation", "places"),
    [(1, "", 50), (2, "", 20), (2, "beside", 10), (2, "left", 5), (2, "above", 5), (2, "chase", 5)],
)
def test_placements_are_those_that_are_drawn(things: int, relation: str, places: int) -> None:
    rng = Random(4)
    drawn = (random_scene(rng) for _ in range(30_000))
    alike = [scene for scene in drawn if len(scene.things) == things and scene.relation == relation]
    every = placements(alike[0])

    def where(scene):
        return tuple((thing.x, thing.y, thing.side) for thing in scene.things)

    assert len(every) == len(set(map(where, every))) == places
    assert alike[0] in every
    assert {where(scene) for scene in alike} == set(map(where, every))
    assert len({plainly(scene, "en") for scene in every}) == 1


def test_other_scenes_have_no_known_placements() -> None:
    rng = Random(5)
    drawn = [random_scene(rng) for _ in range(500)]
    others = [scene for scene in drawn if len(scene.things) == 3 or scene.relation in ("ride", "mirror")]
    assert others
    assert all(placements(scene) == [scene] for scene in others)


def test_families_hold_every_look_and_pairs_without_a_relation() -> None:
    families = draw_families(seed=0, rank=0, pairs=30)
    single = [family for family in families if len(family[0].things) == 1]
    pairs = [family for family in families if len(family[0].things) == 2]
    assert len(single) == 2 * len(KINDS) * 11
    assert len({family[0].things[0].kind for family in single if family[0].background == "plain"}) == len(
        KINDS
    )
    assert len(pairs) == 30
    assert not any(scene.relation in RELATIONS for family in pairs for scene in family)
    assert families != draw_families(seed=0, rank=1, pairs=30)


@pytest.fixture(scope="module")
def placed() -> EncodedScenes:
    """Forty scenes without encoded placements, then five families; latents are the scenes' indices."""
    alone = [random_scene(Random(index)) for index in range(40)]
    families = [placements(random_scene(Random(index))) for index in (2, 3, 7, 9, 11)]
    scenes = [*alone, *(scene for family in families for scene in family)]
    ranges = [range(index, index + 1) for index in range(40)]
    for family in families:
        ranges += [range(len(ranges), len(ranges) + len(family))] * len(family)
    latents = torch.arange(float(len(scenes)))[:, None, None, None].expand(-1, 8, 16, 16)
    return EncodedScenes(scenes, latents, torch.zeros(len(scenes), 3, 16, 16, dtype=torch.uint8), ranges)


def test_a_batch_brings_the_placements_of_its_scenes(placed: EncodedScenes) -> None:
    batch = draw_batch(placed, load("mini").tokenizer, Shares(0.2, 0.3, 0.3))(Random(1), 200)
    numbers = batch["latents"][:, 0, 0, 0].int().tolist()
    several = 0
    for number, latents, known in zip(numbers, batch["placements"], batch["known"], strict=True):
        family = placed.families[number]
        assert latents[known, 0, 0, 0].int().tolist() == list(family)
        several += len(family) > 1
    assert several > 60


@pytest.mark.parametrize("name", ["mini", "mini-dit"])
def test_a_loss_asks_for_the_mean(name: str, placed: EncodedScenes, monkeypatch) -> None:
    parts = RECIPES[name].make(load(name).tokenizer, load(name).vae)
    loss = RECIPES[name].loss(parts)
    batch = draw_batch(placed, parts.tokenizer)(Random(1), 4)
    batch["latents"] = torch.randn(4, 8, 16, 16, generator=torch.Generator().manual_seed(3))
    batch["placements"] = torch.stack([batch["latents"], -batch["latents"]], dim=1)
    batch["known"] = torch.tensor([[True, True], [True, True], [True, False], [True, False]])
    seen = {}

    def tell(noisy, timesteps, rows, pooled):
        seen.update(noisy=noisy, timesteps=timesteps)
        return torch.zeros_like(noisy)

    def wanted(latents, noise, levels):
        seen.update(latents=latents, noise=noise, levels=levels)
        return latents

    monkeypatch.setattr(loss, "tell", tell)
    monkeypatch.setattr(loss, "wanted", wanted)
    torch.manual_seed(0)
    loss(batch)
    levels = seen["levels"]
    together = levels.signal * seen["latents"] + levels.sigma * seen["noise"]
    assert torch.allclose(together, seen["noisy"], atol=1e-4)
    assert torch.equal(seen["latents"][2:], batch["latents"][2:])
    mean = posterior_mean(seen["noisy"], levels.signal, levels.sigma, batch["placements"], batch["known"])
    assert torch.equal(seen["latents"], mean)
    if name == "mini":
        assert torch.allclose(levels.signal**2 + levels.sigma**2, torch.ones(()), atol=1e-5)
    else:
        assert torch.allclose(levels.signal + levels.sigma, torch.ones(()), atol=1e-6)
        assert torch.allclose(seen["timesteps"], 1000 * levels.sigma.flatten())
