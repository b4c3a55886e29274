"""Sentences that know what they were made of."""

import copy
import json
import pickle

import pytest

from promptweight.errors import SettingError
from promptweight.generation.arguments import checked_size
from promptweight.messages import Note, note

PORTUGUESE = {"{name} is {value!r}": "{name}: “{value}”", "height": "altura"}


def test_a_note_is_its_english_sentence():
    said = note("{name} is {value!r}", name="height", value="x")
    assert said == "height is 'x'"
    assert json.dumps([said]) == "[\"height is 'x'\"]"
    assert dict.fromkeys([said, "height is 'x'"]) == {"height is 'x'": None}


def test_it_is_said_by_other_templates_and_so_are_the_notes_in_it():
    assert note("{name} is {value!r}", name="height", value="x").said(PORTUGUESE) == "height: “x”"
    assert note("{name} is {value!r}", name=note("height"), value="x").said(PORTUGUESE) == "altura: “x”"
    assert note("no such template {value}", value=1).said(PORTUGUESE) == "no such template 1"


@pytest.mark.parametrize("typed", ["{x}", "{0}{name}", "{", "}}", "\udc00"])
def test_what_a_person_typed_is_no_template(typed):
    said = note("{name} is {value!r}", name=typed, value=typed)
    assert said == f"{typed} is {typed!r}"
    assert said.said(PORTUGUESE) == f"{typed}: “{typed}”"


def test_notes_stay_notes_when_they_travel():
    said = note("{name} is {value!r}", name="{x}", value=3)
    for other in (pickle.loads(pickle.dumps(said)), copy.deepcopy(said)):
        assert isinstance(other, Note)
        assert other == said
        assert other.said(PORTUGUESE) == "{x}: “3”"


def test_an_error_of_the_library_is_a_note():
    class Pipe:
        vae_scale_factor = 8

    with pytest.raises(SettingError, match=r"^height is 60; this model makes .* multiples of 8$") as caught:
        checked_size(Pipe(), 60, None)
    assert caught.value.args[0].values["multiple"] == 8
    assert caught.value.args[0].values["name"].said(PORTUGUESE) == "altura"
