"""Measures and rules of maps, against their definitions on arrays small enough to count by hand."""

import copy

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from promptweight.evaluation import (
    faithfulness,
    localization,
    map_metrics,
    missing_concepts,
    noising,
    share_targets,
)
from promptweight.evaluation.localization import best_iou
from promptweight.evaluation.map_rules import RULES, heat
from promptweight.evaluation.prompt_fidelity import held_out
from promptweight.evaluation.report.map_sections import told_finding
from promptweight.evaluation.report.subject import draws_world
from promptweight.evaluation.statistics import Clustered, spearman

MASK = torch.tensor([[True, True, False], [False, False, False]])


def test_average_precision_is_the_mean_precision_at_each_hit():
    heats = torch.tensor([[[0.9, 0.5, 0.7], [0.1, 0.2, 0.0]], [[0.9, 0.8, 0.7], [0.1, 0.2, 0.0]]])
    # the hits are first and third in the first map: (1/1 + 2/3) / 2
    assert map_metrics.average_precision(heats, MASK).tolist() == pytest.approx([5 / 6, 1.0])


def test_overlap_is_counted_in_pixels():
    heats = torch.tensor([[[1.0, 0.3, 0.5], [0.0, 0.0, 0.0]]])
    assert map_metrics.iou_at(heats, MASK).item() == pytest.approx(1 / 3)  # above 0.4: one hit, one not
    assert map_metrics.best_ious(heats, MASK).item() == pytest.approx(2 / 3)  # above 0.2
    heat = torch.rand(8, 8, generator=torch.Generator().manual_seed(1))
    mask = heat + torch.rand(8, 8, generator=torch.Generator().manual_seed(2)) > 1.2
    assert map_metrics.best_ious(heat[None], mask).item() == pytest.approx(best_iou(heat, mask))


def test_pointing_and_mass():
    heats = torch.tensor([[[1.0, 2.0, 0.0], [0.0, 0.0, 1.0]], [[0.0, 0.0, 4.0], [0.0, 0.0, 0.0]]])
    assert map_metrics.points_at(heats, MASK).tolist() == [True, False]
    assert map_metrics.mass_in(heats, torch.stack([MASK, ~MASK])).tolist() == [[0.75, 0.25], [0.0, 1.0]]


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 5, 40), rng.normal(0, 1, 40)
    assert spearman(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_scenes_are_drawn_again_whole():
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 1, 60)
    alike = [(scene, centres[scene]) for scene in range(60) for _ in range(20)]
    once = [(scene, centres[scene]) for scene in range(60)]
    many, few = Clustered.of_all(alike), Clustered.of_all(once)
    assert (many.low, many.high) == pytest.approx((few.low, few.high))
    half = 1.96 * centres.std(ddof=1) / 60**0.5
    assert (few.high - few.low) / 2 == pytest.approx(half, rel=0.1)
    assert many.of == 60
    assert Clustered.of_all([("a", float("nan")), ("a", 2.0)]).value == 2.0


def logits_of(heads: int, columns: int, dim: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    query = torch.randn(heads, 5 * 4, dim, generator=generator)
    key = torch.randn(heads, columns, dim, generator=generator)
    return query, key


def test_concepts_are_a_softmax_over_whole_vectors(recorded):
    """From queries and keys themselves: heads joined to one vector, a product, a softmax over the words."""
    query, key = logits_of(3, 5)
    p = (query @ key.mT / 2).softmax(-1)  # 1/√dim
    maps = recorded("um gato e rato", [p.unflatten(1, (5, 4))])
    joined = (query.transpose(0, 1).flatten(1) @ key.transpose(0, 1).flatten(1).T / 2)[:, 1:]
    expected = joined.softmax(-1)[:, 1].unflatten(0, (5, 4))
    found = heat(maps, "gato", "concepts")[::4, ::4]
    torch.testing.assert_close(found, expected)


def test_heads_are_summed_or_averaged_over_all_layers(recorded):
    query, key = logits_of(3, 5)
    first = (query @ key.mT / 2).softmax(-1).unflatten(1, (5, 4))
    second = first.flip(0, 3)[:1]
    maps = recorded("um gato e rato", [first, second], pixels=1)
    summed = (first[..., 2].sum(0) + second[..., 2].sum(0)) / 2
    torch.testing.assert_close(heat(maps, "gato", "heads summed"), summed)
    every_head = torch.cat([first[..., 2], second[..., 2]]).mean(0)
    torch.testing.assert_close(heat(maps, "gato", "daam"), every_head)
    torch.testing.assert_close(
        heat(maps, "gato", "probability"), (first[..., 2].mean(0) + second[..., 2].mean(0)) / 2
    )


def test_wide_pictures_have_more_ground_and_the_same_thing():
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    mask = np.ones((1, 2, 2), np.float32)
    wide, masks = noising.widened(picture, mask, 3)
    assert wide.shape == (2, 8, 3)
    assert (wide[:, 3:5] == picture).all()
    assert (wide[:, 0] == picture[:, 0]).all()
    assert masks.sum() == mask.sum()
    assert (masks[:, :, 3:5] == 1).all()


def test_the_effect_of_a_word_is_summed_over_channels():
    one = torch.tensor([[[[1.0, 2.0]], [[0.0, -1.0]]]])
    assert faithfulness.effect(one, torch.zeros_like(one)).tolist() == [[1.0, 3.0]]
    assert faithfulness.without_words("um gato vermelho e um rato", "gato vermelho") == "um e um rato"


def layer_finding(scene: int, layer: str, heat: torch.Tensor) -> localization.LayerFinding:
    return localization.LayerFinding(scene, 300, layer, None, 0.0, 0.0, heat.half(), MASK)


def test_the_layers_that_help_are_chosen_on_other_scenes_than_they_are_measured_on():
    good, noise = MASK.float(), torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    half = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    found = [
        layer_finding(scene, name, heat)
        for scene in range(4)
        for name, heat in (("noise", noise), ("half", half), ("good", good))
    ]
    chosen, claimed = localization.best_layers(found)
    assert chosen == ("good",)
    assert claimed["chosen"] == [(1, 1.0), (3, 1.0)]
    assert all(iou < 1 for _, iou in claimed["all"])


def test_the_built_in_model_is_measured_and_told(mini):
    found = localization.measure(mini, number=2, seed=3, timesteps=(300,))
    assert {each.rule for each in found.findings} == {*RULES, *(f"{rule}, wide" for rule in RULES)}
    assert {"noun", "colour", "phrase"} <= {each.part for each in found.findings}
    for each in found.findings:
        values = [each.values[name] for name in localization.MEASURES]
        assert all(0 <= value <= 1 for value in values if not np.isnan(value))
        assert np.isnan(each.values["leaked"]) == (each.things == 1 or each.part == "relation")
        assert np.nansum([each.values[name] for name in ("inside", "leaked", "elsewhere")]) == pytest.approx(
            1
        )
    section = told_finding(found)
    assert [figure.bar for figure in section.figures] == [0.75, 0.98]
    phrases = next(table for table in section.tables if table.title == "Maps of a phrase, by rule")
    assert [row[0] for row in phrases.rows][: len(RULES)] == list(RULES)


def test_one_scene_has_no_interval():
    found = Clustered.of_all([("a", 1.0), ("a", 3.0)])
    assert (found.value, found.of) == (2.0, 1)
    assert np.isnan(found.low)


@pytest.fixture(scope="module")
def joint(mini, tmp_path_factory):
    """An untrained Stable Diffusion 3 pipeline of the built-in world's sizes."""
    from promptweight.mini.training import mmdit as networks
    from promptweight.models.loading import load

    torch.manual_seed(0)
    tokenizer = networks.shorten(mini.tokenizer)
    folder = tmp_path_factory.mktemp("joint")
    networks.save_pipeline(
        folder, tokenizer, networks.JointTextEncoders(tokenizer), copy.deepcopy(mini.vae), networks.denoiser()
    )
    return load(folder, device="cpu")


def test_joint_attention_is_measured_by_the_same_means(joint):
    assert draws_world(joint)
    assert noising.is_called_plainly(joint)
    found = localization.measure(joint, number=1, seed=3, timesteps=(300,))
    assert {each.rule for each in found.findings} == {*RULES, *(f"{rule}, wide" for rule in RULES)}
    assert {each.layer for each in found.layers} == {f"transformer_blocks.{n}.attn" for n in range(6)}
    faith = faithfulness.measure(joint, number=1, seed=3, timesteps=(400,))
    assert {each.unit for each in faith} == set(faithfulness.UNITS)
    scenes = list(held_out(1, 2, False, 3))
    (reached,) = share_targets.measure_targets(joint, scenes, seed=0, steps=3, targets=(0.5,))
    assert reached.share == pytest.approx(0.5, abs=0.1)
    (picture,), of_phrases = missing_concepts.measure(
        joint, [(missing_concepts.PROMPTS[0], scenes[0])], seed=0, steps=2
    )
    assert len(of_phrases) == 2
    assert 0 <= picture.score == max(phrase.score for phrase in of_phrases) <= 1


def test_a_grid_holds_a_thing_the_better_the_finer_it_is(mini):
    (noise,) = noising.noised(mini, number=1, seed=3, timesteps=(300,), languages=("pt",))
    found = list(localization.bounds(noise))
    by_grid = {grid: [each.iou for each in found if each.grid == grid] for grid in ("16x16", "8x8", "4x4")}
    assert all(len(ious) == len(noise.masks) for ious in by_grid.values())
    assert np.mean(by_grid["16x16"]) > np.mean(by_grid["8x8"]) > np.mean(by_grid["4x4"])
    assert all(0 < iou < 1 for iou in by_grid["16x16"])  # icons have edges finer than a cell
