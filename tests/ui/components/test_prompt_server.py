"""What the page is told about a prompt while it is typed."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight_ui.components.prompt_server import MOST_REMARKS, Units, nudged, read
from promptweight_ui.models import Models, import_engine

import_engine()
MODELS = Models(["mini"])


def ask(text, **more):
    return read(MODELS, {"text": text, "language": "en", "model": "mini", **more})


def units_of(text):
    """The text as browsers count it: one item for each UTF-16 unit."""
    data = text.encode("utf-16-le", "surrogatepass")
    return [data[place : place + 2] for place in range(0, len(data), 2)]


def cut(text, start, end):
    return b"".join(units_of(text)[start:end]).decode("utf-16-le")


def test_weights_are_told_at_their_place():
    answer = ask("um (gato:1.4) vermelho, [rato]")
    assert [
        (cut("um (gato:1.4) vermelho, [rato]", s["start"], s["end"]), s["weight"]) for s in answer["spans"]
    ] == [
        ("gato", 1.4),
        ("rato", pytest.approx(1 / 1.1)),
    ]


def test_places_are_counted_as_browsers_do():
    text = "🐱🐱 (👩‍👩‍👧 gato:1.4) 𝔵"
    answer = ask(text)
    (span,) = answer["spans"]
    assert cut(text, span["start"], span["end"]) == "👩‍👩‍👧 gato"
    words = {word["text"]: word for word in answer["words"]}
    assert cut(text, words["gato"]["start"], words["gato"]["end"]) == "gato"
    assert words["gato"]["weight"] == 1.4


def test_equal_words_are_told_apart_in_any_case():
    answer = ask("Um gato e um GATO")
    assert [(word["text"], word["occurrence"]) for word in answer["words"]] == [
        ("Um", 0), ("gato", 0), ("e", 0), ("um", 1), ("GATO", 1),
    ]  # fmt: skip


def test_remarks_come_in_the_language_of_the_page():
    english, portuguese = (ask("((um gato", language=language)["remarks"] for language in ("en", "pt-br"))
    assert "never closed" in english[0]["message"]
    assert "nunca é fechado" in portuguese[0]["message"]
    assert english[0]["severity"] == "warning"


def test_few_remarks_are_told_at_once():
    assert len(ask("(gato:9) " * 50)["remarks"]) == MOST_REMARKS


def test_target_shares_are_told_and_changed_in_steps():
    told = ask("um (gato:=25%) x")
    assert told["spans"] == [{"start": 4, "end": 8, "weight": 1.0, "share": 0.25}]
    assert {word["text"]: word["share"] for word in told["words"]} == {"um": None, "gato": 0.25, "x": None}
    assert ask("(gato:=25)")["remarks"][0]["severity"] == "warning"

    def changed(text, step, start=5):
        return nudged({"text": text, "start": start, "end": start, "step": step, "language": "en"})["text"]

    assert changed("um (gato:=25%) x", 0.1) == "um (gato:=30%) x"
    assert changed("um (gato:=23%) x", -0.1) == "um (gato:=20%) x"
    assert changed("um (gato:=2%) x", -0.1) == "um (gato:=5%) x"
    assert changed("um (gato:=99%) x", 0.1) == "um (gato:=95%) x"
    assert changed("um (gato:1.2{share=25%}) (x:=50%)", 0.1) == "um (gato:1.2{share=30%}) (x:=50%)"
    assert changed("um (gato:=25%) x", 0.1, 15) == "um (gato:=25%) (x:1.1)"


def test_tokens_are_counted_without_loading_the_model():
    models = Models(["mini", "mini-dit"])
    for name, encoders in (("mini", ["clip"]), ("mini-dit", ["clip_l", "clip_g"])):
        told = read(models, {"text": "um gato", "model": name})["tokens"]
        assert [(each["encoder"], each["count"] > 1) for each in told] == [(each, True) for each in encoders]
    assert not models._loaded


def test_there_are_no_tokens_of_a_model_that_is_still_to_be_fetched():
    models = Models(["nobody/nothing-in-no-cache"])
    assert read(models, {"text": "um gato", "model": models.names[0]})["tokens"] is None


@given(st.text(max_size=80))
def test_any_text_gets_an_answer_that_json_can_carry(text):
    answer = read(MODELS, {"text": text, "language": "pt-br", "model": "mini"})
    json.dumps(answer).encode("ascii")
    length = len(units_of(text))
    for mark in [*answer.get("spans", []), *answer.get("remarks", []), *answer.get("words", [])]:
        assert 0 <= mark["start"] <= mark["end"] <= length


@given(st.text(max_size=40))
def test_places_go_there_and_back(text):
    units = Units(text)
    for place in range(len(text) + 1):
        assert units.of(place) == len(units_of(text[:place]))
        assert units.characters(units.of(place)) == place


@pytest.mark.parametrize(
    "asked",
    [
        None,
        [],
        "um gato",
        3,
        {},
        {"text": None},
        {"text": ["um"]},
        {"text": "x" * 20_001},
        {"text": "\ud800"},
    ],
)
def test_what_is_no_prompt_is_refused(asked):
    assert set(read(MODELS, asked)) == {"error"}
    assert set(nudged(asked)) == {"error"}


def test_a_model_that_is_not_offered_is_not_looked_for():
    assert ask("um gato", model="/etc/passwd")["tokens"] is None
    assert ask("um gato", model=["mini"])["tokens"] is None


def test_nudging_writes_a_weight_and_keeps_the_selection():
    text = "um 🐱 gato"
    answer = nudged({"text": text, "start": 6, "end": 10, "step": 0.1})
    assert answer["text"] == "um 🐱 (gato:1.1)"
    assert cut(answer["text"], answer["start"], answer["end"]) == "gato"


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": None}, {"start": "0"}, {"end": 1.5}, {"step": "a"}, {"step": math.nan}, {"step": math.inf},
        {"step": 0}, {"step": 1e300}, {"step": True}, {"start": True}, {"step": 10**400},
    ],
)  # fmt: skip
def test_nudging_refuses_what_is_no_number(wrong):
    assert set(nudged({"text": "um gato", "start": 3, "end": 7, "step": 0.1, **wrong})) == {"error"}


@given(st.text(max_size=30), st.integers(), st.integers(), st.sampled_from([0.1, -0.1]))
def test_nudging_never_fails(text, start, end, step):
    answer = nudged({"text": text, "start": start, "end": end, "step": step})
    json.dumps(answer).encode("ascii")
    if "error" not in answer:
        assert 0 <= answer["start"] <= answer["end"] <= len(units_of(answer["text"]))
