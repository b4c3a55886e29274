"""`promptweight edit`: two pictures and their sheet."""

import json
import os
import sys

import pytest

from promptweight import metadata
from promptweight.cli import main


@pytest.fixture
def run(monkeypatch, capsys, model_folder, tmp_path):
    """Runs `promptweight edit` on the tiny model; returns exit code, stdout and stderr."""

    def run(*arguments):
        common = ["--model", str(model_folder), "--device", "cpu", "--steps", "2"]
        common += ["-o", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", ["promptweight", "edit", *common, *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, *capsys.readouterr()

    return run


def test_three_files(run):
    code, out, err = run("um gato vermelho", "um (rato:1.2) vermelho", "--seed", "1")
    assert code == 0
    assert [os.path.basename(line) for line in out.splitlines()] == [
        "00001-1-um-gato-vermelho.png",
        "00002-1-um-rato-vermelho.png",
        "00002-1-um-rato-vermelho.edit.png",
    ]
    assert "rato" in err
    assert "1.2" in err


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # diffusers' scheduler on numpy 2
def test_every_option_reaches_the_picture(run):
    code, out, _ = run(
        "um gato", "um gato (azul:1.2)", "--kind", "refine", "--cross", "0.5", "--self", "0.25", "--json",
        "--negative", "feio", "--guidance", "3", "--seed", "5", "--width", "40", "--height", "24",
        "--method", "comfy", "--dialect", "a1111", "--dtype", "float32", "--scheduler", "euler",
    )  # fmt: skip
    assert code == 0
    made = json.loads(out)
    record = metadata.read(made["files"][1]).record
    expected = {
        "edit": {
            "kind": "refine",
            "cross_replace_steps": 0.5,
            "self_replace_steps": 0.25,
            "source": "um gato",
            "edited": "um gato (azul:1.2)",
        },
        "negative_prompt": "feio",
        "guidance_scale": 3.0,
        "seed": 5,
        "width": 40,
        "height": 24,
        "method": "comfy",
        "dialect": "a1111",
        "sampler": "Euler",
        "dtype": "float32",
    }
    assert {name: record[name] for name in expected} == expected
    assert made["source"]["settings"]["prompt"] == "um gato"
    assert {word["text"]: word["weight"] for word in made["edited"]["words"]}["azul"] == 1.2


def test_weights_in_attention(run):
    code, out, _ = run("gato", "(rato:1.3)", "--space", "attention", "--mode", "clip", "--json")
    assert code == 0
    assert json.loads(out)["edited"]["settings"]["methods"] == {"clip": "clip"}


def test_a_word_without_a_counterpart(run):
    code, out, err = run("um gato", "um gato azul", "--quiet")
    assert code == 2
    assert out == ""
    assert "'azul' of the edited prompt stands in no other's place; use kind='refine'" in err
