"""Recognizer: rendered scenes, positions, empty images, and colored pixels."""

import re
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from promptweight.evaluation.prompt_fidelity import SENTENCE
from promptweight.evaluation.recognizer import analyze_image, recognize, recognizer_accuracy
from promptweight.mini.scenes import Scene, Thing, random_scene, render


@pytest.mark.parametrize("size", [64, 128])
def test_recognizer_accuracy_on_rendered_scenes(size: int) -> None:
    accuracy = recognizer_accuracy(scenes=60, seed="test", size=size)
    assert accuracy["objects"].value >= 0.99
    assert accuracy["scenes"].value >= 0.98


@pytest.mark.parametrize("size", [64, 128, 256])
def test_recognize_returns_position_and_size_in_64ths(size: int) -> None:
    scene = Scene((Thing("fish", "purple", 16, 8, 32),), "green")
    (found,) = recognize(render(scene, size)[0])
    assert (found.kind, found.color, found.x, found.y, found.side) == ("fish", "purple", 16, 8, 32)


def test_recognize_empty_background_returns_nothing() -> None:
    empty, _ = render(Scene((), "green"))
    assert recognize(empty) == []


@pytest.mark.parametrize("shape", [(100, 100, 3), (64, 128, 3), (32, 32, 3), (64, 64), (64, 64, 4)])
def test_recognize_other_shape_raises(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"multiple of 64; got {re.escape(str(shape))}"):
        recognize(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("size", [64, 128])
def test_analyze_image_areas_and_boxes_follow_masks(size: int) -> None:
    rng, areas, covered = Random("seen"), [], []
    for scene in (random_scene(rng) for _ in range(30)):
        if len(scene.things) != 2 or scene.relation in ("ride", "mirror"):
            continue
        image, masks = render(scene, size)
        analysis = analyze_image(image, scene)
        for index, thing in enumerate(scene.things):
            areas.append(analysis.area(index))
            covered.append(float(masks[index].mean()))
            if analysis.has(index):
                box = np.zeros((64, 64), bool)
                box[thing.y : thing.y + thing.side, thing.x : thing.x + thing.side] = True
                assert (analysis.box(index) & box).sum() / (analysis.box(index) | box).sum() > 0.6
    assert len(areas) > 20
    assert np.corrcoef(areas, covered)[0, 1] > 0.7
    assert np.median(np.array(areas) / covered) == pytest.approx(1, abs=0.25)


def test_analyze_image_missing_object_has_no_box() -> None:
    image, _ = render(replace(SENTENCE, things=SENTENCE.things[:1], relation=""))
    analysis = analyze_image(image, SENTENCE)
    assert (analysis.has(0), analysis.has(1), analysis.has_kind) == (True, False, (True, False))
    assert not analysis.box(1).any()
    assert analysis.area(1) < 0.02 < analysis.area(0)
