"""Tests of the scene reader on rendered scenes with known content."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from promptweight.evaluation.scene_reader import Ground, read, read_ground
from promptweight.mini.sampling import sample_scene, with_hat
from promptweight.mini.scenes import Scene, Thing, render
from promptweight.mini.worlds import PRESENT, WHOLE, World

CAT, STAR = Thing("cat", "red", 4, 20, 24), Thing("star", "blue", 36, 20, 24)


def looks(scene: Scene) -> list[tuple[str, str, str, str]]:
    return sorted((thing.kind, thing.color, thing.shade, thing.pattern) for thing in scene.things)


@pytest.mark.parametrize("world", [PRESENT, WHOLE], ids=["present", "whole"])
def test_things_of_random_scenes_are_found_and_nothing_else(world: World) -> None:
    rng = Random("reader test")
    found = missed = whole = 0
    for _ in range(40):
        scene = sample_scene(rng, world)
        reading = read(render(scene, world.size)[0], world)
        wanted = looks(scene)
        got = sorted((thing.kind, thing.color, thing.shade, thing.pattern) for thing in reading.things)
        missed += sum(each not in got for each in wanted)
        found += len(wanted)
        whole += wanted == got
    assert missed <= 0.03 * found
    assert whole >= 37


@pytest.mark.parametrize(
    "scene",
    [
        Scene((CAT,)),
        Scene((CAT,), "blue", weather="rain", amount=1),
        Scene((CAT, STAR), place="beach", light="night"),
        Scene((CAT,), place="city", weather="snowfall", amount=3, light="dusk"),
        Scene((Thing("cat", "red", 20, 4, 28),), "pink", "mirror", "lake"),
        Scene(tuple(Thing("square", "gray", x, y, 16) for x in (4, 24, 44) for y in (4, 24, 44))),
    ],
    ids=["plain", "rain", "beach", "city", "lake", "many"],
)
def test_ground_light_and_weather_are_read(scene: Scene) -> None:
    reading = read(render(scene, 128)[0], WHOLE)
    expected = Ground(scene.background, scene.place, scene.light, scene.weather, scene.amount)
    assert reading.ground == expected
    assert sorted((thing.kind, thing.color) for thing in reading.things) == sorted(
        (thing.kind, thing.color) for thing in scene.things
    )


def test_places_and_sides_are_in_64ths_at_every_size() -> None:
    for size in (64, 128, 256):
        (cat, star) = sorted(read(render(Scene((CAT, STAR)), size)[0], WHOLE).things, key=lambda one: one.x)
        assert (cat.x, cat.y, cat.side, star.x, star.y, star.side) == (4, 20, 24, 36, 20, 24)
        assert cat.center == (16.0, 32.0)
        assert cat.gain > 0.9


def test_a_hat_and_its_wearer_are_both_found() -> None:
    cat = replace(CAT, x=16, y=24, side=32)
    scene = Scene((cat, with_hat(cat, Thing("hat", "yellow", 0, 0, 0))), relation="wear")
    reading = read(render(scene, 128)[0], WHOLE)
    assert {(thing.kind, thing.color) for thing in reading.things} == {("cat", "red"), ("hat", "yellow")}


def test_an_empty_picture_holds_nothing() -> None:
    picture = render(Scene((), place="space"), 128)[0]
    assert read(picture, WHOLE).things == ()
    small = picture.reshape(64, 2, 64, 2, 3).mean((1, 3)).astype(np.float32) / 255
    assert read_ground(small, WHOLE).place == "space"


def test_pictures_of_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"multiple of 64; got \(100, 100, 3\)"):
        read(np.zeros((100, 100, 3), np.uint8), WHOLE)
