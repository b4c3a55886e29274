"""Tests of the scene renderer: consistency of images, masks and scene data."""

from random import Random

import numpy as np
import pytest

from promptweight.mini.icons import ICONS, layers
from promptweight.mini.scenes import (
    BACKGROUNDS,
    COLORS,
    KINDS,
    RELATIONS,
    UNITS,
    WATERLINE,
    Scene,
    Thing,
    random_scene,
    reflection_mask,
    render,
)


@pytest.mark.parametrize("kind", KINDS)
def test_inside_a_mask_is_the_thing_and_outside_is_the_ground(kind: str) -> None:
    scene = Scene((Thing(kind, "green", 12, 12, 40),), "pink")
    picture, (mask,) = render(scene)
    ground = np.array(BACKGROUNDS["pink"])
    assert (picture[mask == 0] == ground).all()
    assert (np.abs(picture[mask == 1].astype(int) - ground).sum(-1) > 40).all()
    assert 0.12 < mask.mean() * (64 / 40) ** 2 < 0.95


@pytest.mark.parametrize("color", COLORS)
def test_most_of_a_thing_has_its_color_exactly(color: str) -> None:
    picture, (mask,) = render(Scene((Thing("heart", color, 12, 12, 40),)))
    exact = (picture == np.array(COLORS[color])).all(-1)
    assert exact[mask == 1].mean() > 0.7
    assert not exact[mask == 0].any()


def test_a_white_thing_on_any_ground_has_a_darker_rim() -> None:
    for background in BACKGROUNDS:
        picture, (mask,) = render(Scene((Thing("circle", "white", 12, 12, 40),), background))
        assert picture[mask == 1].sum(-1).min() < 500


def test_icons_differ_from_each_other() -> None:
    silhouettes = {kind: layers(kind, 24)[0] > 0.5 for kind in ICONS}
    for first in ICONS:
        for second in ICONS:
            if first < second:
                both, either = (
                    silhouettes[first] & silhouettes[second],
                    silhouettes[first] | silhouettes[second],
                )
                assert both.sum() / either.sum() < 0.85, (first, second)


def test_the_thing_in_front_hides_the_one_behind() -> None:
    scene = Scene(
        (Thing("astronaut", "red", 16, 12, 24), Thing("horse", "blue", 12, 20, 40)), relation="ride"
    )
    picture, (rider, horse) = render(scene)
    assert (rider + horse).max() <= 1 + 1e-6
    assert (picture[rider == 1][:, 2] < 200).all()


def test_water_shows_the_thing_upside_down() -> None:
    scene = Scene((Thing("cat", "red", 20, WATERLINE - 24, 24),), relation="mirror")
    picture, (mask,) = render(scene)
    image = reflection_mask(scene)
    assert mask[:WATERLINE].sum() == mask.sum()
    assert np.array_equal(image[WATERLINE:], mask[:WATERLINE][::-1])
    redness = picture[..., 0].astype(int) - picture[..., 2]
    below = np.zeros_like(mask, bool)
    below[WATERLINE + 2 :] = True
    assert redness[(image == 1) & below].mean() > redness[(image == 0) & below].mean() + 60


def test_random_scenes_say_what_they_show() -> None:
    rng = Random(3)
    seen = set()
    for _ in range(400):
        scene = random_scene(rng)
        seen.add(scene.relation)
        assert len({thing.kind for thing in scene.things}) == len(scene.things)
        assert len({thing.color for thing in scene.things}) == len(scene.things)
        for thing in scene.things:
            assert thing.x % 4 == thing.y % 4 == thing.side % 4 == 0
            assert min(thing.x, thing.y) >= 0
            assert max(thing.x, thing.y) + thing.side <= UNITS
        if scene.relation in ("left", "chase"):
            assert scene.things[0].x < scene.things[1].x
        if scene.relation == "above":
            assert scene.things[0].y < scene.things[1].y
    assert seen == {"", "ride", "mirror", *RELATIONS}


def test_a_larger_picture_shows_the_same_scene() -> None:
    scene = random_scene(Random(5))
    small, large = render(scene)[0].astype(float), render(scene, 128)[0].astype(float)
    halved = large.reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(halved - small).mean() < 6


def test_an_impossible_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"size is 100; .* multiple of 64"):
        render(random_scene(Random(0)), 100)
