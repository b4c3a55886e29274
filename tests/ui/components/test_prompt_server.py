"""Server functions of the prompt box."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight_ui.components.prompt_server import (
    MAX_DIAGNOSTICS,
    Utf16Offsets,
    adjust_weight_for_page,
    parse_for_page,
)
from promptweight_ui.models import Models, import_engine

import_engine()
MODELS = Models(["mini"])


def parsed(text, **more):
    return parse_for_page(MODELS, {"text": text, "language": "en", "model": "mini", **more})


def units_of(text):
    """The UTF-16 units of a text, as browsers count."""
    data = text.encode("utf-16-le", "surrogatepass")
    return [data[start : start + 2] for start in range(0, len(data), 2)]


def cut(text, start, end):
    return b"".join(units_of(text)[start:end]).decode("utf-16-le")


def test_spans_have_weight_and_position():
    answer = parsed("um (gato:1.4) vermelho, [rato]")
    assert [
        (cut("um (gato:1.4) vermelho, [rato]", s["start"], s["end"]), s["weight"]) for s in answer["spans"]
    ] == [
        ("gato", 1.4),
        ("rato", pytest.approx(1 / 1.1)),
    ]


def test_positions_are_in_utf16_units():
    text = "🐱🐱 (👩‍👩‍👧 gato:1.4) 𝔵"
    answer = parsed(text)
    (span,) = answer["spans"]
    assert cut(text, span["start"], span["end"]) == "👩‍👩‍👧 gato"
    words = {word["text"]: word for word in answer["words"]}
    assert cut(text, words["gato"]["start"], words["gato"]["end"]) == "gato"
    assert words["gato"]["weight"] == 1.4


def test_equal_words_are_numbered_in_any_case():
    answer = parsed("Um gato e um GATO")
    assert [(word["text"], word["occurrence"]) for word in answer["words"]] == [
        ("Um", 0), ("gato", 0), ("e", 0), ("um", 1), ("GATO", 1),
    ]  # fmt: skip


def test_diagnostics_are_in_the_language_of_the_page():
    english, portuguese = (
        parsed("((um gato", language=language)["diagnostics"] for language in ("en", "pt-br")
    )
    assert "never closed" in english[0]["message"]
    assert "nunca é fechado" in portuguese[0]["message"]
    assert english[0]["severity"] == "warning"


def test_number_of_diagnostics_is_limited():
    assert len(parsed("(gato:9) " * 50)["diagnostics"]) == MAX_DIAGNOSTICS


def test_target_share_changes_in_steps():
    answer = parsed("um (gato:=25%) x")
    assert answer["spans"] == [{"start": 4, "end": 8, "weight": 1.0, "share": 0.25}]
    assert {word["text"]: word["share"] for word in answer["words"]} == {"um": None, "gato": 0.25, "x": None}
    assert parsed("(gato:=25)")["diagnostics"][0]["severity"] == "warning"

    def changed(text, step, start=5):
        return adjust_weight_for_page(
            {"text": text, "start": start, "end": start, "step": step, "language": "en"}
        )["text"]

    assert changed("um (gato:=25%) x", 0.1) == "um (gato:=30%) x"
    assert changed("um (gato:=23%) x", -0.1) == "um (gato:=20%) x"
    assert changed("um (gato:=2%) x", -0.1) == "um (gato:=5%) x"
    assert changed("um (gato:=99%) x", 0.1) == "um (gato:=95%) x"
    assert changed("um (gato:1.2{share=25%}) (x:=50%)", 0.1) == "um (gato:1.2{share=30%}) (x:=50%)"
    assert changed("um (gato:=25%) x", 0.1, 15) == "um (gato:=25%) (x:1.1)"


def test_tokens_are_counted_without_loading_the_model(monkeypatch):
    models = Models(["mini", "mini-dit"])
    monkeypatch.setattr("promptweight.models.load", None)  # a call would fail
    for name, encoders in (("mini", ["clip"]), ("mini-dit", ["clip_l", "clip_g"])):
        tokens = parse_for_page(models, {"text": "um gato", "model": name})["tokens"]
        assert [(each["encoder"], each["count"] > 1) for each in tokens] == [
            (each, True) for each in encoders
        ]


def test_model_that_is_not_downloaded_has_no_token_counts():
    models = Models(["nobody/nothing-in-no-cache"])
    assert parse_for_page(models, {"text": "um gato", "model": models.names[0]})["tokens"] is None


@given(st.text(max_size=80))
def test_answer_to_any_text_is_json(text):
    answer = parse_for_page(MODELS, {"text": text, "language": "pt-br", "model": "mini"})
    json.dumps(answer).encode("ascii")
    length = len(units_of(text))
    for mark in [*answer.get("spans", []), *answer.get("diagnostics", []), *answer.get("words", [])]:
        assert 0 <= mark["start"] <= mark["end"] <= length


@given(st.text(max_size=40))
def test_offsets_are_inverse_to_each_other(text):
    offsets = Utf16Offsets(text)
    for position in range(len(text) + 1):
        unit = offsets.from_characters(position)
        assert unit == len(units_of(text[:position]))
        assert offsets.to_characters(unit) == position


@pytest.mark.parametrize(
    "request_data",
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
def test_invalid_request_is_refused(request_data):
    assert set(parse_for_page(MODELS, request_data)) == {"error"}
    assert set(adjust_weight_for_page(request_data)) == {"error"}


def test_model_that_is_not_offered_has_no_token_counts():
    assert parsed("um gato", model="/etc/passwd")["tokens"] is None
    assert parsed("um gato", model=["mini"])["tokens"] is None


def test_adjusted_weight_keeps_the_selection():
    text = "um 🐱 gato"
    answer = adjust_weight_for_page({"text": text, "start": 6, "end": 10, "step": 0.1})
    assert answer["text"] == "um 🐱 (gato:1.1)"
    assert cut(answer["text"], answer["start"], answer["end"]) == "gato"


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": None}, {"start": "0"}, {"end": 1.5}, {"step": "a"}, {"step": math.nan}, {"step": math.inf},
        {"step": 0}, {"step": 1e300}, {"step": True}, {"start": True}, {"step": 10**400},
    ],
)  # fmt: skip
def test_invalid_selection_or_step_is_refused(wrong):
    assert set(adjust_weight_for_page({"text": "um gato", "start": 3, "end": 7, "step": 0.1, **wrong})) == {
        "error"
    }


@given(st.text(max_size=30), st.integers(), st.integers(), st.sampled_from([0.1, -0.1]))
def test_adjustment_of_any_text_is_json(text, start, end, step):
    answer = adjust_weight_for_page({"text": text, "start": start, "end": end, "step": step})
    json.dumps(answer).encode("ascii")
    if "error" not in answer:
        assert 0 <= answer["start"] <= answer["end"] <= len(units_of(answer["text"]))
