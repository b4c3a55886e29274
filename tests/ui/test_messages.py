"""What the library says, on the page: every sentence in Portuguese, and none that is no note."""

import ast
import string
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from promptweight.errors import SettingError
from promptweight.messages import note
from promptweight_ui import validation
from promptweight_ui.i18n import sentences, told, told_in_all

PORTUGUESE, ENGLISH = sentences("pt-br"), sentences("en")


def calls() -> Iterator[ast.Call]:
    """Every call of `note` in the library and in the app."""
    for package in ("promptweight", "promptweight_ui"):
        for path in Path(str(files(package))).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "note":
                    yield node


def places(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def test_every_sentence_is_written_out_where_it_is_made_with_a_value_for_each_place():
    made = 0
    for call in calls():
        (template,) = call.args
        assert isinstance(template, ast.Constant), ast.unparse(call)
        assert {keyword.arg for keyword in call.keywords} == places(template.value), template.value
        made += 1
    assert made > 80


def test_every_sentence_is_there_in_portuguese_and_no_other():
    assert {call.args[0].value for call in calls()} == set(PORTUGUESE)
    assert set(ENGLISH) <= set(PORTUGUESE)


def test_translations_have_the_places_of_the_sentence():
    for each in (PORTUGUESE, ENGLISH):
        for template, text in each.items():
            # one may leave out what only a programmer can use, and may not ask for what is not there
            assert places(text) <= places(template), template
            assert text.strip()


def test_portuguese_is_another_text():
    same = [template for template, text in PORTUGUESE.items() if template == text and len(text) > 8]
    assert same == []


def test_values_are_said_in_the_language_too():
    said = note("{name} is {value}; it must lie between {lowest} and {highest}",
                name=note("height"), value=3, lowest=8, highest=16)  # fmt: skip
    assert str(said) == "height is 3; it must lie between 8 and 16"
    assert told("pt-br", said) == "a altura está em 3; precisa ficar entre 8 e 16"
    assert told("en", said) == str(said)
    assert told_in_all(said) == {"en": str(said), "pt-br": told("pt-br", said)}


@pytest.mark.parametrize("language", ["en", "pt-br"])
def test_what_a_person_typed_is_never_html(language):
    typed = "<img src=x onerror=alert(1)>{0}{name}\udc00"
    error = SettingError(note("{word!r} is not in the prompt", word=typed))
    shown = str(validation.refused(language, error))
    assert "<img" not in shown
    assert "&lt;img" in shown
    assert "{0}{name}" in shown


def test_an_error_that_is_no_note_says_that_it_is_english():
    assert told("pt-br", "no such thing") == "A biblioteca diz, em inglês: no such thing"
    assert told("en", "no such thing") == "no such thing"
