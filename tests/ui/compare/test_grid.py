"""Grid of a comparison: axes and calls."""

from dataclasses import replace

import pytest

from promptweight.errors import SettingError, WordNotFoundError
from promptweight.generation import GenerateOptions
from promptweight.prompt import parse
from promptweight_ui.compare.grid import (
    NO_AXIS,
    NUMERIC_DEFAULTS,
    Axis,
    default_numbers,
    parse_axis,
    plan_cells,
    prompt_words,
    span_of,
    translate_defaults,
)
from promptweight_ui.generation import GenerateCall
from promptweight_ui.models import Models

OFFERED = {"model": ("mini", "mini-dit")}
MODELS = Models(["mini", "mini-dit"])
PROMPT = "um (gato:1.4) vermelho"
OPTIONS = GenerateOptions(
    seed=5, num_inference_steps=9, guidance_scale=4.0, weighting="a1111 normalizer=mean"
)
BASE = GenerateCall("mini", PROMPT, OPTIONS)


def read(kind, values):
    return parse_axis(kind, values, OFFERED, 150)


def planned(across, down=NO_AXIS, call=BASE, word="gato"):
    return plan_cells(call, word, across, down, MODELS)


def test_axis_has_distinct_values_in_order():
    assert read("weight", " 1, -0.5,2 ,1, 3").values == (1.0, -0.5, 2.0, 3.0)
    assert read("weight", "0,5; 1;2,25;").values == (0.5, 1.0, 2.25)
    assert read("weight", "0,5, 1, 1,5").values == (0.5, 1.0, 1.5)
    assert read("weight", "0,25").values == (0.25,)
    assert read("weight", "0-2 (+0.5)").values == (0.0, 0.5, 1.0, 1.5, 2.0)
    assert read("weight", "-1-1 [3]; 4").values == (-1.0, 0.0, 1.0, 4.0)
    assert read("weight", "1-0 (-0,25)").values == (1.0, 0.75, 0.5, 0.25, 0.0)
    assert read("seed", "7-9, 3").values == (7, 8, 9, 3)
    assert read("steps", "10-30 [3]").values == (10, 20, 30)
    assert read("seed", f"7,{2**53 - 1}").values == (7, 2**53 - 1)
    assert read("weighting", ["comfy", "attention", "comfy"]).values == ("comfy", "attention")
    assert read("weighting", ["attention  steps=0-0.50"]).values == ("attention steps=0-0.5",)
    assert read("sampler", ["DPM++ 2M"]).values == ("DPM++ 2M",)
    assert read("none", "whatever") == NO_AXIS


@pytest.mark.parametrize(
    ("kind", "text"),
    [("weight", "nan"), ("weight", "1e9"), ("weight", "x"), ("weight", ""), ("weight", ",,"), ("seed", "1.5"),
     ("seed", "-1"), ("seed", "²"), ("seed", "9" * 30), ("steps", "0"), ("steps", "151"), ("guidance", "inf"),
     ("weighting", ["best"]), ("weighting", [None]), ("weighting", [["comfy"]]), ("weighting", []),
     ("sampler", []), ("model", ["/etc/passwd"]), ("model", ["../mini"]), ("color", "1"),
     ("seed", ",".join(map(str, range(13)))), ("weight", "0-2 (+0.01)"), ("weight", "0-2 (-1)"),
     ("weight", "0-2 (+0)"), ("weight", "0-2 [0]"), ("seed", "0-1e9"), ("weight", "0-2 [999]")],
)  # fmt: skip
def test_invalid_values_raise(kind, text):
    with pytest.raises(SettingError):
        read(kind, text)


@pytest.mark.parametrize("kind", NUMERIC_DEFAULTS)
def test_defaults_of_both_languages_are_the_same_values(kind):
    english, portuguese = (default_numbers(kind, language) for language in ("en", "pt-br"))
    assert "." not in portuguese
    assert read(kind, english) == read(kind, portuguese)
    assert translate_defaults(english, "pt-br") == portuguese
    assert translate_defaults(portuguese, "en") == english


@pytest.mark.parametrize("text", ["0; 0.5", "", None, 3, ["0; 0.5; 1; 1.5; 2"]])
def test_other_values_keep_their_form(text):
    assert translate_defaults(text, "pt-br") is None


def test_span_of_a_phrase_has_its_weight():
    assert span_of("um (rato cinza:0.5) e um gato", "rato cinza").weight == 0.5
    assert span_of("um (rato cinza:0.5) e um gato", "gato").weight == 1
    assert span_of("um gato", "rato") is None


def test_cell_changes_only_its_own_values():
    grid = planned(read("weight", "0.5, 2"), read("seed", "1, 8"))
    assert [(row, column) for row, column, _ in grid] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for row, column, call in grid:
        assert call.options.seed == (1, 8)[row]
        spans = {span.text.strip(): span.weight for span in parse(call.prompt).at().spans}
        assert spans == {"um": 1.0, "gato": (0.5, 2.0)[column], "vermelho": 1.0}
        assert call.options.num_inference_steps == 9
        assert (call.model, call.options.scheduler) == ("mini", None)
    assert BASE.prompt == PROMPT


@pytest.mark.parametrize(
    ("kind", "values", "name", "expected"),
    [("steps", "3, 7", "num_inference_steps", [3, 7]), ("guidance", "0; 2,5", "guidance_scale", [0.0, 2.5])],
)
def test_numbers_become_their_option(kind, values, name, expected):
    calls = [call.options for _, _, call in planned(read(kind, values))]
    assert calls == [replace(OPTIONS, **{name: value}) for value in expected]


def test_weighting_replaces_all_fields_of_the_former():
    calls = [call.options for _, _, call in planned(read("weighting", ["comfy", "attention layers=up"]))]
    assert calls == [replace(OPTIONS, weighting=each) for each in ("comfy", "attention layers=up")]


def test_cells_of_one_model_follow_each_other():
    grid = planned(read("model", ["mini-dit", "mini"]), read("weight", "1, 2"))
    assert [call.model for _, _, call in grid] == ["mini-dit"] * 2 + ["mini"] * 2
    assert [(row, column) for row, column, _ in grid] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert all(call.options == OPTIONS for _, _, call in grid)


def test_sampler_must_belong_to_the_model():
    assert [
        call.options.scheduler for _, _, call in planned(read("sampler", ["euler", "own", "DPM++ 2m karras"]))
    ] == [
        "Euler",
        None,
        "DPM++ 2M Karras",
    ]
    for call, axis in (
        (BASE, read("model", ["mini", "mini-dit"])),
        (GenerateCall("mini-dit", PROMPT, OPTIONS), NO_AXIS),
    ):
        with pytest.raises(SettingError, match="the sampler of mini-dit must be one of: own, Euler"):
            planned(axis, read("sampler", ["DPM++ 2M"]), call)


def test_invalid_grid_raises():
    weights = read("weight", "1, 2")
    with pytest.raises(SettingError, match="the two axes must differ"):
        planned(weights, weights)
    with pytest.raises(SettingError, match="at most 48 images"):
        planned(Axis("seed", tuple(range(12))), Axis("steps", tuple(range(1, 13))))
    with pytest.raises(WordNotFoundError):
        planned(weights, word="cão")


def test_prompt_words_are_distinct_with_weighted_phrases_first():
    prompt = "um rato branco, um (gato azul:1.2)"
    assert prompt_words(prompt) == ["gato azul", "gato", "azul", "rato branco", "um", "rato", "branco"]
    assert prompt_words("") == []
