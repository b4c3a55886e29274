"""Training batches: the share of each group of scenes, and the match of latents and captions."""

from random import Random

import numpy as np
import pytest
import torch
from PIL import Image

from promptweight.mini.captions import ADJECTIVES, LANGUAGES, NOUNS, plainly
from promptweight.mini.scenes import Scene, Thing, render
from promptweight.mini.training.data import (
    EncodedScenes,
    Shares,
    draw_batch,
    draw_scenes,
    encode_scenes,
    save_sheet,
)
from promptweight.models.loading import load


@pytest.fixture(scope="module")
def numbered() -> EncodedScenes:
    """Scenes with their own indices as latents."""
    scenes = draw_scenes(seed=3, rank=0, number=200)
    latents = torch.arange(200.0)[:, None, None, None].expand(200, 8, 16, 16)
    alone = [range(index, index + 1) for index in range(200)]
    return EncodedScenes(scenes, latents, torch.zeros(200, 3, 16, 16, dtype=torch.uint8), alone)


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


def test_white_things_are_told_plainly_and_in_their_share(numbered: EncodedScenes) -> None:
    tokenizer = load("mini").tokenizer
    draw = draw_batch(numbered, tokenizer, Shares(related=0.5, white=0.5, unsaid=1.0))
    batch = draw(Random(1), 400)
    scenes = [numbered.scenes[index] for index in batch["latents"][:, 0, 0, 0].int().tolist()]
    texts = tokenizer.batch_decode(batch["ids"], skip_special_tokens=True)
    white = [(scene, text) for scene, text in zip(scenes, texts, strict=True) if not scene.relation]
    assert len(white) / len(scenes) == pytest.approx(0.5, abs=0.1)
    assert {tuple(thing.color for thing in scene.things) for scene, _ in white} == {("white",)}
    for scene, text in white:
        assert "".join(text.split()) in {"".join(plainly(scene, language).split()) for language in LANGUAGES}


def test_scenes_are_encoded_with_what_each_thing_fills() -> None:
    things = (Thing("square", "red", 4, 8, 24), Thing("circle", "blue", 36, 20, 24))
    latents, areas = encode_scenes(load("mini").vae, [Scene(things), Scene(things[:1])], torch.device("cpu"))
    assert (latents.shape, latents.dtype) == ((2, 8, 16, 16), torch.float16)
    assert (areas.shape, areas.dtype) == ((2, 3, 16, 16), torch.uint8)
    _, masks = render(Scene(things), 128)
    filled = masks.reshape(2, 16, 8, 16, 8).mean((2, 4))
    assert np.abs(areas[0, :2].numpy() / 255 - filled).max() <= 0.5 / 255 + 1e-6
    assert torch.equal(areas[1, 0], areas[0, 0])
    assert not areas[:, 2].any()
    assert not areas[1, 1].any()


def test_single_things_are_told_with_another_whose_words_are_unsaid(numbered: EncodedScenes) -> None:
    tokenizer = load("mini").tokenizer
    batch = draw_batch(numbered, tokenizer, Shares(single=1.0, unsaid=0.5))(Random(1), 200)
    hushed = 0
    for latents, ids, named, unsaid in zip(
        batch["latents"], batch["ids"], batch["named"], batch["unsaid"], strict=True
    ):
        (thing,) = numbered.scenes[int(latents[0, 0, 0])].things
        own = _words(thing)
        assert not own & set(tokenizer.decode(ids[unsaid]).split())
        assert set(tokenizer.decode(ids[named > 0]).split()) <= own
        assert set(named.tolist()) <= {0, 1}
        assert not (unsaid & (named > 0)).any()
        hushed += bool(unsaid.any())
    assert 70 <= hushed <= 110  # half of the nine tenths of scenes with a caption


def test_all_words_are_said_unless_asked_otherwise(numbered: EncodedScenes) -> None:
    batch = draw_batch(numbered, load("mini").tokenizer, Shares(single=1.0))(Random(1), 100)
    assert not batch["unsaid"].any()
    assert batch["named"].max() == 1


def _words(thing: Thing) -> set[str]:
    """Return the nouns and adjectives of an object."""
    _, portuguese, english = NOUNS[thing.kind]
    return {*portuguese, *english, *ADJECTIVES[thing.color]}


def test_scenes_of_another_seed_are_other_scenes() -> None:
    assert draw_scenes(seed=0, rank=0, number=5) == draw_scenes(seed=0, rank=0, number=9)[:5]
    assert draw_scenes(seed=0, rank=0, number=5) != draw_scenes(seed=1, rank=0, number=5)


@pytest.mark.parametrize(("number", "rows"), [(3, 1), (12, 1), (13, 2)])
def test_sheet_fills_its_last_row_with_white(tmp_path, number: int, rows: int) -> None:
    vae = load("mini").vae
    save_sheet(vae, torch.zeros(number, 8, 16, 16), tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    columns = min(number, 12)
    assert sheet.shape == (256 * rows, 256 * columns, 3)
    last = number - columns * (rows - 1)
    assert (sheet[-1, 256 * last + 8 :] == 255).all()  # enlarging blurs the edge
    assert not (sheet[-1, : 256 * last] == 255).all()
