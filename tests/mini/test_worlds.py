"""Tests of worlds: JSON round trip, reading from a model folder, and rejection of invalid content."""

import json
import re
from pathlib import Path

import pytest

from promptweight.mini.scenes import KINDS
from promptweight.mini.worlds import FIRST, PRESENT, WHOLE, WORLDS, World, read


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_a_world_survives_json(world: World) -> None:
    assert World.from_json(json.loads(json.dumps(world.to_json()))) == world


def test_the_whole_world_has_what_people_name_first() -> None:
    assert len(WHOLE.things) >= 30
    assert set(KINDS) < set(WHOLE.things)
    named = """dog bird rabbit butterfly flower mushroom moon cloud boat bicycle airplane rocket castle hat
        ball umbrella apple banana cup book"""
    assert set(re.findall(r"\w+", named)) <= set(WHOLE.things)
    assert len(WHOLE.colors) == 11
    assert (WHOLE.sizes, WHOLE.patterns) == (("tiny", "small", "big", "huge"), ("striped", "spotted"))
    assert WHOLE.places == ("beach", "field", "snow", "space", "city", "room")
    assert FIRST.size == PRESENT.size == WHOLE.size == 128


def test_a_world_is_read_from_a_model_folder(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    file = tmp_path / "promptweight.json"
    file.write_text(json.dumps({"guidance_scale": 4.5}))
    assert read(tmp_path) is None
    file.write_text(json.dumps({"guidance_scale": 4.5, "world": PRESENT.to_json()}))
    assert read(tmp_path) == PRESENT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 100}, "size must be a multiple of 64; got 100"),
        ({"size": True}, "size must be a multiple of 64; got True"),
        ({"things": ["cat", "dragon"]}, "things must be among .*; got 'dragon'"),
        ({"colors": "red"}, "colors must be a list of words; got 'red'"),
        ({"things": []}, "a world must have things"),
        ({"dragons": []}, "a world has no dragons"),
    ],
)
def test_what_is_no_world_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        World.from_json(json.loads(json.dumps(FIRST.to_json())) | change)
    with pytest.raises(ValueError, match="a world must be an object; got 'x'"):
        World.from_json("x")
