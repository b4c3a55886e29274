"""Tests of random scenes: content, object positions, and restriction to the given world."""

from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from promptweight.mini.anchors import HANDS, HEADS, HELD, RIMS, TOPS
from promptweight.mini.backdrops import FIELD, LAKE
from promptweight.mini.palette import SHADES
from promptweight.mini.sampling import FLYING, sample_scene
from promptweight.mini.scenes import UNITS, WATERLINE, Scene, random_scene
from promptweight.mini.worlds import FIRST, PRESENT, WHOLE, World


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    rng = Random(11)
    return [sample_scene(rng, WHOLE) for _ in range(3000)]


def test_every_part_of_the_world_is_drawn(scenes: list[Scene]) -> None:
    things = [thing for scene in scenes for thing in scene.things]
    assert {thing.kind for thing in things} == set(WHOLE.things)
    assert {thing.color for thing in things} == set(WHOLE.colors)
    assert {thing.size for thing in things} == {"", *WHOLE.sizes}
    assert {thing.shade for thing in things} == {"", *WHOLE.shades}
    assert {thing.pattern for thing in things} == {"", *WHOLE.patterns}
    assert {scene.relation for scene in scenes} == {"", *WHOLE.relations}
    assert {scene.place for scene in scenes} == {"", LAKE, *WHOLE.places}
    assert {scene.light for scene in scenes} == {"", *WHOLE.lights}
    assert {(scene.weather, scene.amount) for scene in scenes} == {
        ("", 0),
        *((weather, amount) for weather in WHOLE.weathers for amount in (1, 2, 3)),
    }
    assert {len(scene.things) for scene in scenes} == {1, 2, 3, 7, 8, 9}


def test_every_thing_lies_in_the_picture_and_on_the_grid(scenes: list[Scene]) -> None:
    for scene in scenes:
        for index, thing in enumerate(scene.things):
            assert 0 <= thing.x <= UNITS - thing.side, scene
            assert 0 <= thing.y <= UNITS - thing.side, scene
            anchored = index == 1 and scene.relation in ("wear", "hold")
            assert anchored or thing.x % 4 == thing.y % 4 == thing.side % 4 == 0, scene


def test_a_word_has_one_group_to_point_at(scenes: list[Scene]) -> None:
    for scene in scenes:
        firsts = [scene.things[group.start] for group in scene.groups]
        assert len({thing.kind for thing in firsts}) == len(firsts) <= 3
        assert len({thing.color for thing in firsts}) == len(firsts)
        for thing in firsts:
            assert not thing.shade or thing.color in SHADES[thing.shade]


def test_relations_hold(scenes: list[Scene]) -> None:
    for scene in scenes:
        first, *others = scene.things
        second = others[0] if others else first
        if scene.relation in ("left", "chase"):
            assert first.x + first.side <= second.x
        elif scene.relation == "right":
            assert second.x + second.side <= first.x
        elif scene.relation == "above":
            assert first.y + first.side <= second.y
        elif scene.relation == "below":
            assert second.y + second.side <= first.y
        elif scene.relation == "mirror":
            assert (first.y + first.side, scene.place) == (WATERLINE, LAKE)
        elif scene.relation == "wear":
            assert first.kind in HEADS
            assert second.kind == "hat"
            assert second.y < first.y < second.y + second.side
        elif scene.relation == "hold":
            assert first.kind in HANDS
            assert second.kind in HELD
            assert second.x > first.x
        elif scene.relation == "on":
            assert second.kind in TOPS
            assert first.y < second.y < first.y + first.side
        elif scene.relation == "in":
            assert second.kind in RIMS
            assert first.y >= second.y - 8
            assert first.y + first.side <= second.y + second.side


def test_sizes_grow_with_their_words(scenes: list[Scene]) -> None:
    for number in (1, 2):
        sides: dict[str, set[int]] = {}
        for scene in scenes:
            if len(scene.things) == number and scene.relation in ("", "left", "right", "above", "below"):
                for thing in scene.things:
                    sides.setdefault(thing.size, set()).add(thing.side)
        in_order = [sides[size] for size in ("tiny", "small", "", "big", "huge")]
        assert all(max(a) < min(b) for a, b in pairwise(in_order))


def test_in_a_field_things_stand_on_the_ground_or_fly(scenes: list[Scene]) -> None:
    for scene in scenes:
        if scene.place == FIELD and len(scene.things) == 1:
            (thing,) = scene.things
            assert thing.y == 4 if thing.kind in FLYING and thing.side <= 36 else thing.y + thing.side >= 60


@pytest.mark.parametrize("world", [FIRST, PRESENT], ids=["first", "present"])
def test_a_smaller_world_is_kept_to(world: World) -> None:
    rng, kinds, forms = Random(5), Counter[str](), set()
    for _ in range(1500):
        scene = sample_scene(rng, world)
        kinds.update(thing.kind for thing in scene.things)
        forms.add(scene.relation or len(scene.things))
        assert not scene.weather
        assert not scene.light
        assert scene.place in ("", LAKE)
        assert not any(thing.shade or thing.pattern for thing in scene.things)
    assert set(kinds) == set(world.things)
    many = {7, 8, 9} if world.numbers else set()
    assert forms == {1, 2, 3, *many, *world.relations} or forms == {1, 2, 3, *many, *world.relations} - {
        "ride"
    }


def test_the_first_world_is_drawn_as_before() -> None:
    one, other = Random(8), Random(8)
    assert [sample_scene(one, FIRST) for _ in range(50)] == [random_scene(other) for _ in range(50)]
