"""The measures, on cases small enough to work out by hand."""

import math

import pytest
import torch

from promptweight.evaluation.localization import best_iou
from promptweight.evaluation.map_metrics import points_at
from promptweight.evaluation.prompt_fidelity import relation_holds
from promptweight.evaluation.recognizer import Found, recognise, recogniser_error
from promptweight.evaluation.statistics import Mean, Share
from promptweight.mini.scenes import Scene, Thing, render


def test_best_iou_of_a_perfect_and_of_a_shifted_map() -> None:
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:6, 2:6] = True
    assert best_iou(mask.float() * 3 + 1, mask) == 1
    shifted = torch.zeros(8, 8)
    shifted[2:6, 4:8] = 1
    assert best_iou(shifted, mask) == pytest.approx(8 / 24)
    assert best_iou(torch.full((8, 8), 0.3), mask) == 0


def test_pointing_asks_only_for_the_maximum() -> None:
    mask = torch.tensor([[False, True], [False, False]])
    assert points_at(torch.tensor([[0.9, 1.0], [0.9, 0.9]])[None], mask)[0]
    assert not points_at(torch.tensor([[1.0, 0.9], [0.0, 0.0]])[None], mask)[0]


def test_wilson_interval_of_8_in_10() -> None:
    low, high = Share(8, 10).interval  # 0.490 to 0.943 in the tables of Newcombe (1998), method 3
    assert low == pytest.approx(0.490, abs=5e-4)
    assert high == pytest.approx(0.943, abs=5e-4)
    assert math.isnan(Share(0, 0).value)


def test_mean_and_its_interval() -> None:
    mean = Mean.of_all([1.0, 2.0, 3.0, 4.0])
    assert mean.value == 2.5
    assert mean.half_width == pytest.approx(1.96 * math.sqrt(5 / 3 / 4))


@pytest.mark.parametrize(
    ("relation", "second", "holds"),
    [
        ("left", (40, 20), True),
        ("left", (0, 20), False),
        ("left", (30, 60), False),
        ("right", (0, 20), True),
        ("chase", (40, 24), True),
        ("above", (20, 40), True),
        ("above", (20, 0), False),
        ("below", (20, 0), True),
        ("beside", (0, 20), True),
        ("beside", (20, 40), False),
    ],
)
def test_relations(relation: str, second: tuple[int, int], holds: bool) -> None:
    first = Found("cat", "red", 20, 20, 24, 1.0)
    assert relation_holds(relation, first, Found("mouse", "gray", *second, 24, 1.0)) is holds


def test_the_recogniser_reads_drawn_scenes() -> None:
    error = recogniser_error(scenes=60, seed="test")
    assert error["things"].value >= 0.99
    assert error["scenes"].value >= 0.98


def test_the_recogniser_finds_place_and_size_and_nothing_on_empty_ground() -> None:
    scene = Scene((Thing("fish", "purple", 16, 8, 32),), "green")
    (found,) = recognise(render(scene)[0])
    assert (found.kind, found.color, found.x, found.y, found.side) == ("fish", "purple", 16, 8, 32)
    empty, _ = render(Scene((), "green"))
    assert recognise(empty) == []


def test_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(128, 128, 3\)"):
        recognise(render(Scene(()), 128)[0])
