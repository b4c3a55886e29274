"""`promptweight calibrate`: the printed weighting, JSON and errors."""

import json

import pytest

from promptweight.weighting import Weighting

PROMPT = "um (gato:1) vermelho"
SHORT = ("--steps", 1, "--evaluations", 3, "--seeds", 1)


@pytest.fixture
def calibrate(run, model_folder):
    return lambda *arguments: run("calibrate", "--model", model_folder, *arguments)


def test_printed_weighting_is_that_of_the_json(calibrate):
    code, out, _ = calibrate(PROMPT, *SHORT)
    printed = Weighting.of(out.strip())
    assert code == 0
    assert printed.name == "presence"
    assert printed.gain is not None
    data = json.loads(calibrate(PROMPT, *SHORT, "--json")[1])
    assert data["weighting"] == out.strip()
    assert len(data["effects"]) == 5
    assert data["effects"][0] == [0, 0]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["um gato", *SHORT], "got 0 in 'um gato'"),
        (["um (gato:1) e um (rato:1)", *SHORT], "got 2 in "),
        (["", *SHORT], "got 0 in ''"),
        ([PROMPT, "--number", 2], "--number counts pairs of objects"),
        (["--number", 2], "prompts must be given for a model whose objects are not known"),
        (["--width", 64], "--width can be set for prompts only"),
        (["--guidance", 2, "--seeds", 3], "--seeds, --guidance can be set for prompts only"),
    ],
)
def test_unusable_prompts_and_options_are_refused(calibrate, arguments, text):
    code, out, err = calibrate(*arguments)
    assert (code, out) == (2, "")
    assert text in " ".join(err.split())
