"""Options that `generate` and `edit` share."""

import typing
from dataclasses import fields

import pytest
import typer.main

from promptweight.cli import app
from promptweight.cli.image_options import ImageOptions, parse_arguments, parse_targets
from promptweight.errors import SettingError
from promptweight.generation import GenerateOptions


def options_of(command):
    parameters = typer.main.get_command(app).commands[command].params
    return {each.name: (each.opts, each.default, each.help) for each in parameters}


def test_generate_and_edit_have_every_field_as_the_same_option():
    generate, edit = options_of("generate"), options_of("edit")
    for field in fields(ImageOptions):
        assert generate[field.name] == edit[field.name]
        assert generate[field.name][1] == field.default


def test_defaults_are_those_of_the_library():
    assert ImageOptions().to_generate_options() == GenerateOptions()


def test_every_annotation_is_an_option_with_help():
    for name, (spellings, _, help_text) in options_of("edit").items():
        assert spellings, name
        assert help_text, name
    assert typing.get_type_hints(ImageOptions).keys() == {field.name for field in fields(ImageOptions)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gato=25%", {"gato": 0.25}),
        ("um gato = 12.5 %", {"um gato": 0.125}),
        ("a=b=0.5", {"a=b": 0.5}),
    ],
)
def test_target_is_a_phrase_and_a_share(text, expected):
    assert parse_targets([text]) == expected


@pytest.mark.parametrize("text", ["", "gato", "gato=", "=1%", "gato=0", "gato=100%", "gato=-1%", "gato=nan",
                                  "gato=inf", "gato=x%", "gato=5%%"])  # fmt: skip
def test_wrong_target_is_rejected(text):
    with pytest.raises(SettingError, match="--target must be WORD=SHARE"):
        parse_targets([text])


@pytest.mark.parametrize(
    ("text", "value"),
    [("eta=0.5", 0.5), ("eta=x", "x"), ("eta=", ""), ("eta=[1, 2]", [1, 2]), ("eta=null", None),
     ("eta=a=b", "a=b")],
)  # fmt: skip
def test_argument_is_json_or_text(text, value):
    assert parse_arguments([text]) == {"eta": value}


@pytest.mark.parametrize("texts", [["eta"], ["=1"], ["a b=1"], ["1=1"], ["eta=1", "eta=1"]])
def test_wrong_argument_is_rejected(texts):
    with pytest.raises(SettingError, match="--argument must be NAME=VALUE"):
        parse_arguments(texts)
