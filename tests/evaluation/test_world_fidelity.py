"""Tests of the questions about larger worlds: rendered scenes meet them, other scenes do not."""

from dataclasses import replace

import numpy as np
import pytest

from promptweight.evaluation.scene_reader import read
from promptweight.evaluation.world_fidelity import (
    MAX_GHOST,
    QUESTIONS,
    ghost_share,
    held_out,
    mirrored_iou,
)
from promptweight.mini.scenes import Scene, Thing, render
from promptweight.mini.worlds import FIRST, PRESENT, WHOLE

BY_NAME = {question.name: question for question in QUESTIONS}
CAT, MOUSE = Thing("cat", "red", 4, 20, 24), Thing("mouse", "gray", 36, 20, 24)


def holds(name: str, scene: Scene, shown: Scene) -> bool:
    picture = render(shown, 128)[0]
    return BY_NAME[name].holds(scene, read(picture, WHOLE), picture)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_rendered_scene_meets_its_question(name: str) -> None:
    scenes = list(held_out(BY_NAME[name], WHOLE, 4, seed=1))
    assert len(scenes) == 4
    assert sum(holds(name, scene, scene) for scene in scenes) >= 3


@pytest.mark.parametrize(
    ("name", "asked", "shown"),
    [
        ("one thing: color", Scene((CAT,)), Scene((replace(CAT, color="blue"),))),
        ("one thing: kind", Scene((CAT,)), Scene((replace(CAT, kind="dog"),))),
        ("two things", Scene((CAT, MOUSE)), Scene((CAT,))),
        ("two things", Scene((CAT, MOUSE)), Scene((replace(CAT, color="gray"), replace(MOUSE, color="red")))),
        (
            "relation",
            Scene((CAT, MOUSE), relation="right"),
            Scene((CAT, MOUSE), relation="left"),
        ),
        ("number", Scene((CAT, replace(CAT, x=36))), Scene((CAT,))),
        (
            "number",
            Scene((CAT, replace(CAT, x=36))),
            Scene((CAT, replace(CAT, x=36), replace(CAT, x=36, y=36))),
        ),
        ("pattern", Scene((replace(CAT, pattern="striped"),)), Scene((replace(CAT, pattern="spotted"),))),
        ("pattern", Scene((replace(CAT, pattern="striped"),)), Scene((CAT,))),
        ("place", Scene((CAT,), place="beach"), Scene((CAT,), place="field")),
        ("weather", Scene((CAT,), weather="rain", amount=1), Scene((CAT,), weather="rain", amount=3)),
        ("light", Scene((CAT,), light="night"), Scene((CAT,))),
        (
            "wearing",
            Scene((CAT, Thing("hat", "blue", 8, 12, 14)), relation="wear"),
            Scene((CAT, Thing("hat", "blue", 36, 20, 24))),
        ),
        (
            "on",
            Scene((CAT, Thing("car", "blue", 4, 20, 32)), relation="on"),
            Scene((Thing("cat", "red", 4, 4, 24), Thing("car", "blue", 4, 36, 24)), relation="above"),
        ),
    ],
)
def test_another_scene_does_not_meet_the_question(name: str, asked: Scene, shown: Scene) -> None:
    assert not holds(name, asked, shown)


def test_the_reflection_is_the_thing_turned_over() -> None:
    scene = Scene((Thing("cat", "red", 20, 4, 28),), "plain", "mirror", "lake")
    picture = render(scene, 128)[0]
    assert mirrored_iou(picture, "plain") > 0.9
    upright = picture.copy()
    upright[64 + 8 : 128 - 8] = picture[64 + 8 : 128 - 8][::-1]
    assert mirrored_iou(upright, "plain") < 0.7
    bare = picture.copy()
    bare[68:] = picture[-1, -1]
    assert mirrored_iou(bare, "plain") == 0


def test_a_ghost_is_what_belongs_to_no_thing() -> None:
    picture = render(Scene((CAT, MOUSE), relation="chase"), 128)[0]
    reading = read(picture, WHOLE)
    assert ghost_share(picture, reading) == 0
    haunted = picture.copy()
    haunted[100:120, 100:120] = (120, 80, 80)
    assert ghost_share(haunted, reading) == pytest.approx(400 / 128**2)
    assert ghost_share(haunted, reading) > MAX_GHOST
    assert not np.array_equal(haunted, picture)


def test_a_world_is_measured_on_what_it_has_alone() -> None:
    def has(name: str, world: object) -> bool:
        return bool(list(held_out(BY_NAME[name], world, 1, seed=0)))

    assert has("number", PRESENT)
    assert has("reflection", PRESENT)
    for name in ("pattern", "place", "weather", "light", "wearing", "holding", "on", "in"):
        assert not has(name, PRESENT)
    assert not has("number", FIRST)


def test_held_out_scenes_fit_their_question_on_plain_ground() -> None:
    for question in QUESTIONS:
        for scene in held_out(question, WHOLE, 5, seed=3):
            assert scene.background == "plain"
            assert question.fits(scene)
