"""`promptweight edit`: two images and their sheet."""

import json
import os

import pytest

from promptweight.metadata import DIGITAL_SOURCE_TYPE, ImageMetadata, read_metadata


@pytest.fixture
def edit(run, model_folder, tmp_path):
    """Function that runs `promptweight edit` on the tiny model."""

    def edit(*arguments):
        common = ["--model", model_folder, "--device", "cpu", "--steps", "2", "-o", tmp_path / "out"]
        return run("edit", *common, *arguments)

    return edit


def test_edit_writes_two_images_and_a_sheet(edit):
    code, out, err = edit("um gato vermelho", "um (rato:1.2) vermelho", "--seed", "1")
    assert code == 0
    assert [os.path.basename(line) for line in out.splitlines()] == [
        "00001-1-um-gato-vermelho.png",
        "00002-1-um-rato-vermelho.png",
        "00002-1-um-rato-vermelho.edit.png",
    ]
    assert "rato" in err
    assert "1.2" in err


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # diffusers' scheduler on numpy 2
def test_every_option_reaches_the_image(edit):
    code, out, _ = edit(
        "um gato", "um gato (azul:1.2)", "--kind", "refine", "--cross", "0.5", "--self", "0.25", "--json",
        "--negative", "feio", "--guidance", "3", "--seed", "5", "--width", "40", "--height", "24",
        "--method", "comfy", "--dialect", "a1111", "--dtype", "float32", "--scheduler", "euler",
    )  # fmt: skip
    assert code == 0
    made = json.loads(out)
    record = read_metadata(made["files"][1]).record
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


def test_metadata_option_chooses_the_parts_in_files(edit):
    out = edit("um gato", "um rato", "--metadata", "iptc", "-q")[1]
    found = [read_metadata(path) for path in out.splitlines()]
    assert found == [ImageMetadata(None, None, DIGITAL_SOURCE_TYPE)] * 3
    assert edit("um gato", "um rato", "--metadata", "x")[0] == 2


def test_attention_options_reach_the_image(edit):
    code, out, _ = edit("gato", "(rato:1.3)", "--space", "attention", "--mode", "clip", "--json")
    assert code == 0
    assert json.loads(out)["edited"]["settings"]["methods"] == {"clip": "clip"}


def test_word_without_a_counterpart_exits_with_2(edit):
    code, out, err = edit("um gato", "um gato azul", "--quiet")
    assert code == 2
    assert out == ""
    assert "'azul' of the edited prompt has no counterpart" in err
