"""Messages: codes, catalogs, translation."""

import ast
import copy
import json
import pickle
import string
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

import promptweight.errors
from promptweight.errors import SettingError
from promptweight.generation import check_size
from promptweight.messages import Message, catalog, message

ENGLISH, PORTUGUESE = catalog("en"), catalog("pt-br")


def message_calls() -> Iterator[ast.Call]:
    """Yield every call of `message` in the library and in the app."""
    for package in ("promptweight", "promptweight_ui"):
        for path in Path(str(files(package))).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "message":
                    yield node


def fields_of(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def test_every_call_names_a_code_of_the_catalog_and_gives_its_fields():
    codes = set()
    for call in message_calls():
        (code,) = call.args
        assert isinstance(code, ast.Constant), ast.unparse(call)
        assert {keyword.arg for keyword in call.keywords} == fields_of(ENGLISH[code.value]), code.value
        codes.add(code.value)
    assert codes == set(ENGLISH)


def error_texts() -> Iterator[tuple[Path, ast.expr]]:
    """Yield the text of every error that the library raises."""
    errors = {name for name, value in vars(promptweight.errors).items() if isinstance(value, type)}
    for path in Path(str(files("promptweight"))).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) in errors and node.args:
                yield path, node.args[0]


def test_text_of_every_error_has_a_code():
    texts = list(error_texts())
    assert len(texts) > 100
    plain = (ast.Constant, ast.JoinedStr, ast.BinOp)
    assert [f"{path}:{text.lineno}" for path, text in texts if isinstance(text, plain)] == []


def test_catalogs_have_the_same_codes_and_no_field_that_english_lacks():
    assert set(PORTUGUESE) == set(ENGLISH)
    for code, text in PORTUGUESE.items():
        # a translation may leave out what only a programmer can use
        assert fields_of(text) <= fields_of(ENGLISH[code]), code
        assert text.strip()


def test_catalogs_differ_in_every_sentence():
    assert [code for code, text in PORTUGUESE.items() if text == ENGLISH[code] and len(text) > 8] == []


def test_message_equals_its_english_sentence():
    made = message("integer-type", name="height", value="x")
    assert made == "height must be an integer; got 'x'"
    assert json.dumps([made]) == "[\"height must be an integer; got 'x'\"]"
    assert dict.fromkeys([made, str(made)]) == {str(made): None}
    assert (made.code, made.fields) == ("integer-type", {"name": "height", "value": "x"})


def test_message_translates_itself_and_messages_in_its_fields():
    templates = {"integer-type": "{name}: “{value}”", "height": "altura"}
    assert message("integer-type", name="height", value="x").translated(templates) == "height: “x”"
    nested = message("integer-type", name=message("height"), value="x")
    assert nested.translated(templates) == "altura: “x”"
    assert message("black-image", number=1).translated(templates) == "image 1 is completely black"


def test_message_with_unknown_code_or_missing_field_raises_key_error():
    with pytest.raises(KeyError):
        message("no-such-code")
    with pytest.raises(KeyError):
        message("integer-type", name="height")


@pytest.mark.parametrize("typed", ["{x}", "{0}{name}", "{", "}}", "\udc00"])
def test_field_values_are_never_templates(typed):
    made = message("integer-type", name=typed, value=typed)
    assert made == f"{typed} must be an integer; got {typed!r}"
    assert made.translated({"integer-type": "{name}: “{value}”"}) == f"{typed}: “{typed}”"


def test_message_survives_pickle_and_copy():
    made = message("integer-type", name="{x}", value=3)
    for other in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert isinstance(other, Message)
        assert (other, other.code, other.fields) == (made, made.code, made.fields)


def test_error_of_the_library_carries_its_message():
    class Pipe:
        vae_scale_factor = 8

    with pytest.raises(SettingError, match=r"^height must be a multiple of 8 .*; got 60$") as caught:
        check_size(Pipe(), 60, None)
    error = caught.value.args[0]
    assert (error.code, error.fields["multiple"]) == ("size-multiple", 8)
    assert error.fields["name"].translated(PORTUGUESE) == "a altura"
