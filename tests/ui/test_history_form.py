"""Values of the Generate tab from the settings of a file, and what they leave out."""

import pytest

from promptweight.messages import message
from promptweight_ui.history import HistoryForm
from promptweight_ui.history_form import FILLED_PARTS, MAX_NAMES, form_values, left_out_texts
from promptweight_ui.models import Models
from promptweight_ui.validation import MAX_CHARACTERS

MODELS = Models(["mini", "mini-dit"])


def form(prompt="um gato", **more):
    values = more.pop("values", {})
    return HistoryForm("AUTOMATIC1111", prompt, "feio", (), values, **more)


def filled(values, present="mini"):
    return form_values(MODELS, form(values=values), present)


def sentences(given, present="mini", language="en"):
    return list(left_out_texts(given, form_values(MODELS, given, present), language))


def test_every_part_has_a_value_or_is_left_as_it_is():
    found = filled({})
    assert set(found.values) == set(FILLED_PARTS)
    assert {name for name, value in found.values.items() if value is None} == {
        "model", "weighting", "sampler", "schedule", "steps", "guidance", "seed", "random",
    }  # fmt: skip
    assert found.left_out == ()


def test_values_of_a_file_fill_the_form():
    given = {
        "model": "/models/mini-dit", "steps": 20, "guidance": "7,5", "seed": 42, "width": 64, "height": "128",
        "clip_skip": 2, "weighting": "comfy", "sampler": "euler karras",
    }  # fmt: skip
    found = filled(given)
    assert found.model == "mini-dit"
    expected = {
        "prompt": "um gato", "negative": "feio", "model": "mini-dit", "weighting": "comfy", "steps": 20,
        "seed": 42, "random": False, "width": "64", "height": "128", "clip_skip": 2, "sampler": "Euler",
        "schedule": "Karras",
    }  # fmt: skip
    assert expected.items() <= found.values.items()


@pytest.mark.parametrize(
    ("values", "part", "left"),
    [
        (
            {"model": "dreamshaper.safetensors"},
            "model",
            "dreamshaper.safetensors, which this server",
        ),
        ({"width": 512, "height": 768}, "width", "size 512 × 768 is left out: mini draws at most 256 × 256"),
        ({"width": "x", "height": 64}, "height", "size x × 64 is left out"),
        ({"sampler": "Restart"}, "sampler", "sampler Restart is left out: mini does not have it"),
        ({"steps": 9999}, "steps", "Steps 9999 is left out"),
        ({"guidance": "nan"}, "guidance", "Guidance scale (CFG) nan is left out"),
        ({"seed": -1}, "seed", "Seed -1 is left out"),
        ({"clip_skip": 99}, "clip_skip", "CLIP skip 99 is left out"),
    ],
)
def test_what_the_form_cannot_take_is_told_and_left_out(values, part, left):
    given = form(values=values)
    assert not form_values(MODELS, given, "mini").values[part]
    (sentence,) = sentences(given)
    assert left in sentence
    assert sentences(given, language="pt-br") != [sentence]


def test_settings_without_a_field_are_listed_and_notes_are_translated():
    note = message("lora-unused", name="luz")
    given = form(left_out=("eta", "LoRA luz"), notes=(note,))
    english, portuguese = (sentences(given, language=language) for language in ("en", "pt-br"))
    assert english[0] == "The Generate tab has no field for: eta, LoRA luz."
    assert "luz" in english[1]
    assert english[1] != portuguese[1]
    long = sentences(form(left_out=tuple(f"name{index}" for index in range(1000))))
    assert len(long[0]) < MAX_NAMES + 100


def test_long_prompts_are_cut_and_told():
    given = form(prompt="a" * (MAX_CHARACTERS + 1))
    assert len(form_values(MODELS, given, "mini").values["prompt"]) == MAX_CHARACTERS
    assert str(MAX_CHARACTERS) in sentences(given)[0]


@pytest.mark.parametrize("present", ["gone", None, ["mini"], 3])
def test_invalid_selected_model_is_replaced_by_the_first(present):
    assert filled({}, present).model == "mini"
