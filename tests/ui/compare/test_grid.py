"""Grid of a comparison: axes and calls."""

import pytest

from promptweight.errors import SettingError, WordNotFoundError
from promptweight.prompt import parse
from promptweight_ui.compare.grid import NO_AXIS, Axis, parse_axis, plan_cells, prompt_words
from promptweight_ui.generation import GenerateCall

OFFERED = {
    "method": ("a1111", "comfy", "attention-logit"),
    "sampler": ("own", "Euler", "DPM++ 2M"),
    "model": ("mini", "mini-dit"),
}
ARGUMENTS = {"prompt": "um (gato:1.4) vermelho", "seed": 5, "num_inference_steps": 9, "guidance_scale": 4.0,
             "method": None, "normalizer": "mean"}  # fmt: skip
BASE = GenerateCall("mini", "own", ARGUMENTS)


def read(kind, values):
    return parse_axis(kind, values, OFFERED, 150)


def samplers(model):
    return OFFERED["sampler"][: 3 if model == "mini" else 2]


def planned(across, down=NO_AXIS, call=BASE, word="gato"):
    return plan_cells(call, word, across, down, samplers)


def test_axis_has_distinct_values_in_order():
    assert read("weight", " 1, -0.5,2 ,1, 3").values == (1.0, -0.5, 2.0, 3.0)
    assert read("weight", "0,5; 1;2,25;").values == (0.5, 1.0, 2.25)
    assert read("seed", f"7,{2**53 - 1}").values == (7, 2**53 - 1)
    assert read("method", ["comfy", "attention-logit", "comfy"]).values == ("comfy", "attention-logit")
    assert read("sampler", ["DPM++ 2M"]).values == ("DPM++ 2M",)
    assert read("none", "whatever") == NO_AXIS


@pytest.mark.parametrize(
    ("kind", "text"),
    [("weight", "nan"), ("weight", "1e9"), ("weight", "x"), ("weight", ""), ("weight", ",,"), ("seed", "1.5"),
     ("seed", "-1"), ("seed", "²"), ("seed", "9" * 30), ("steps", "0"), ("steps", "151"), ("guidance", "inf"),
     ("method", ["best"]), ("method", [None]), ("method", [["comfy"]]), ("sampler", []), ("sampler", ["x"]),
     ("model", ["/etc/passwd"]), ("model", ["../mini"]), ("color", "1"),
     ("seed", ",".join(map(str, range(13))))],
)  # fmt: skip
def test_invalid_values_raise(kind, text):
    with pytest.raises(SettingError):
        read(kind, text)


def test_cell_changes_only_its_own_values():
    grid = planned(read("weight", "0.5, 2"), read("seed", "1, 8"))
    assert [(row, column) for row, column, _ in grid] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for row, column, call in grid:
        assert call.arguments["seed"] == (1, 8)[row]
        spans = {span.text.strip(): span.weight for span in parse(call.arguments["prompt"]).at().spans}
        assert spans == {"um": 1.0, "gato": (0.5, 2.0)[column], "vermelho": 1.0}
        assert call.arguments["num_inference_steps"] == 9
        assert (call.model, call.sampler) == ("mini", "own")
    assert BASE.arguments["prompt"] == "um (gato:1.4) vermelho"


@pytest.mark.parametrize(
    ("kind", "values", "name", "expected"),
    [("steps", "3, 7", "num_inference_steps", [3, 7]), ("guidance", "0; 2,5", "guidance_scale", [0.0, 2.5])],
)
def test_numbers_become_their_argument(kind, values, name, expected):
    calls = [call.arguments for _, _, call in planned(read(kind, values))]
    assert [each[name] for each in calls] == expected
    assert all(each | {name: 0} == ARGUMENTS | {name: 0} for each in calls)


def test_weighting_in_attention_drops_method_and_normalizer():
    one, other = (call.arguments for _, _, call in planned(read("method", ["comfy", "attention-logit"])))
    assert (one.get("space"), one["method"], one["normalizer"]) == (None, "comfy", "mean")
    assert (other["space"], other["mode"]) == ("attention", "logit")
    assert not {"method", "normalizer"} & set(other)


def test_cells_of_one_model_follow_each_other():
    grid = planned(read("model", ["mini-dit", "mini"]), read("weight", "1, 2"))
    assert [call.model for _, _, call in grid] == ["mini-dit"] * 2 + ["mini"] * 2
    assert [(row, column) for row, column, _ in grid] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert all(call.arguments | {"prompt": ""} == ARGUMENTS | {"prompt": ""} for _, _, call in grid)


def test_sampler_must_belong_to_the_model():
    assert [call.sampler for _, _, call in planned(read("sampler", ["Euler", "own"]))] == ["Euler", "own"]
    for call, axis in (
        (BASE, read("model", ["mini", "mini-dit"])),
        (GenerateCall("mini-dit", "own", ARGUMENTS), NO_AXIS),
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


def test_prompt_words_are_distinct_with_weighted_words_first():
    assert prompt_words("um rato, um (gato azul:1.2)") == ["gato", "azul", "um", "rato"]
    assert prompt_words("") == []
