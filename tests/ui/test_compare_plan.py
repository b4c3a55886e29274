"""Which pictures a comparison makes."""

import pytest

from promptweight.errors import SettingError, WordNotFoundError
from promptweight.prompt import parse
from promptweight_ui.compare_plan import NO_AXIS, Axis, cells, read_axis, words_of

METHODS = ("a1111", "comfy", "attention-logit")
BASE = {"prompt": "um (gato:1.4) vermelho", "seed": 5, "num_inference_steps": 9, "guidance_scale": 4.0,
        "method": None, "normalizer": "mean"}  # fmt: skip


def read(kind, text):
    return read_axis(kind, text, METHODS, 150)


def test_values_are_read_once_each_in_their_order():
    assert read("weight", " 1, -0.5,2 ,1, 3").values == (1.0, -0.5, 2.0, 3.0)
    assert read("weight", "0,5; 1;2,25;").values == (0.5, 1.0, 2.25)
    assert read("seed", f"7,{2**53 - 1}").values == (7, 2**53 - 1)
    assert read("method", "comfy,attention-logit").values == ("comfy", "attention-logit")
    assert read("none", "whatever") == NO_AXIS


@pytest.mark.parametrize(
    ("kind", "text"),
    [("weight", "nan"), ("weight", "1e9"), ("weight", "x"), ("weight", ""), ("weight", ",,"), ("seed", "1.5"),
     ("seed", "-1"), ("seed", "²"), ("seed", "9" * 30), ("steps", "0"), ("steps", "151"), ("guidance", "inf"),
     ("method", "best"), ("colour", "1"), ("seed", ",".join(map(str, range(13))))],
)  # fmt: skip
def test_values_that_cannot_be_used_are_refused(kind, text):
    with pytest.raises(SettingError):
        read(kind, text)


def test_every_cell_changes_its_own_values_alone():
    grid = cells(BASE, "gato", read("weight", "0.5, 2"), read("seed", "1, 8"))
    assert [(row, column) for row, column, _ in grid] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for row, column, arguments in grid:
        assert arguments["seed"] == (1, 8)[row]
        spans = {span.text.strip(): span.weight for span in parse(arguments["prompt"]).spans}
        assert spans == {"um": 1.0, "gato": (0.5, 2.0)[column], "vermelho": 1.0}
        assert arguments["num_inference_steps"] == 9
    assert BASE["prompt"] == "um (gato:1.4) vermelho"


def test_methods_in_attention_leave_those_of_embeddings():
    (_, _, one), (_, _, other) = cells(BASE, "gato", read("method", "comfy, attention-logit"), NO_AXIS)
    assert (one["space"], one["method"], one["normalizer"]) == ("embedding", "comfy", "mean")
    assert (other["space"], other["mode"], other["method"]) == ("attention", "logit", None)
    assert other["normalizer"] is None


def test_grids_that_make_no_sense_are_refused():
    weights = read("weight", "1, 2")
    with pytest.raises(SettingError, match="both axes"):
        cells(BASE, "gato", weights, weights)
    with pytest.raises(SettingError, match="pictures"):
        cells(BASE, "gato", Axis("seed", tuple(range(12))), Axis("steps", tuple(range(1, 13))))
    with pytest.raises(WordNotFoundError):
        cells(BASE, "cão", weights, NO_AXIS)


def test_words_with_a_weight_come_first_and_each_once():
    assert words_of("um rato, um (gato azul:1.2)") == ["gato", "azul", "um", "rato"]
    assert words_of("") == []
