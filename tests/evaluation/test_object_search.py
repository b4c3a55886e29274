"""Tests of the object search on rendered scenes with known content."""

import numpy as np
import torch
from torch import Tensor

from promptweight.evaluation.object_search import find_candidates, paint_object, refine_candidate
from promptweight.mini.scenes import Scene, Thing, render
from promptweight.mini.worlds import FIRST


def to_tensor(scene: Scene) -> Tensor:
    picture = render(scene, 128)[0].reshape(64, 2, 64, 2, 3).mean((1, 3)).astype(np.float32) / 255
    return torch.from_numpy(picture).permute(2, 0, 1)


def test_best_candidate_is_the_rendered_object_and_painting_it_restores_the_image() -> None:
    target, ground = to_tensor(Scene((Thing("cat", "red", 4, 20, 24),))), to_tensor(Scene(()))
    candidates = find_candidates(target, ground, FIRST, exactness=0)
    _, search, x, y = max(candidates, key=lambda each: each[0])
    found = refine_candidate(target, ground, FIRST, search, x, y)
    assert (found.kind, found.color, found.x, found.y, found.side) == ("cat", "red", 4, 20, 24)
    assert found.gain > 0.99
    assert (paint_object(ground, found, search.rows) - target).abs().max() < 0.02


def test_ground_without_objects_has_no_candidates() -> None:
    ground = to_tensor(Scene(()))
    assert find_candidates(ground, ground, FIRST, exactness=0) == []
