"""`promptweight edit`: two images and their sheet."""

import json
import os
import signal

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
        "--weighting", "comfy", "--dialect", "a1111", "--dtype", "float32", "--scheduler", "euler",
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
        "weighting": "comfy",
        "dialect": "a1111",
        "sampler": "Euler",
        "dtype": "float32",
    }
    assert {name: record[name] for name in expected} == expected
    assert made["settings"]["prompt"] == "um gato"
    assert {word["text"]: word["weight"] for word in made["edited"]["words"]}["azul"] == 1.2


def test_metadata_option_chooses_the_parts_in_files(edit):
    out = edit("um gato", "um rato", "--metadata", "iptc", "-q")[1]
    found = [read_metadata(path) for path in out.splitlines()]
    assert found == [ImageMetadata(None, None, DIGITAL_SOURCE_TYPE)] * 3
    assert edit("um gato", "um rato", "--metadata", "x")[0] == 2


def test_attention_options_reach_the_image(edit):
    code, out, _ = edit("gato", "(rato:1.3)", "--weighting", "clip-attention", "--json")
    assert code == 0
    settings = json.loads(out)["edited"]["settings"]
    assert settings["weighting"] == "clip-attention"
    assert settings["weighting_by_encoder"] == {"clip": "clip-attention"}


def test_word_without_a_counterpart_exits_with_2(edit):
    code, out, err = edit("um gato", "um gato azul", "--quiet")
    assert code == 2
    assert out == ""
    assert "'azul' of the edited prompt has no counterpart" in err


def test_several_images_have_files_of_each(edit, tmp_path):
    arguments = ["--seed", "1", "-n", "2", "--overlay", "gato", "--overlay", "rato", "--contact-sheet", "-q"]
    code, out, _ = edit("um gato", "um rato", *arguments)
    assert code == 0
    files = [os.path.basename(line) for line in out.splitlines()]
    assert files == [
        name
        for number, seed in ((1, 1), (3, 2))
        for name in (
            f"0000{number}-{seed}-um-gato.png",
            f"0000{number}-{seed}-um-gato.gato.png",
            f"0000{number}-{seed}-um-gato.all-words.png",
            f"0000{number + 1}-{seed}-um-rato.png",
            f"0000{number + 1}-{seed}-um-rato.rato.png",
            f"0000{number + 1}-{seed}-um-rato.all-words.png",
            f"0000{number + 1}-{seed}-um-rato.edit.png",
        )
    ]
    assert sorted(files) == sorted(path.name for path in (tmp_path / "out").iterdir())


def test_overlay_of_a_word_in_neither_prompt_writes_nothing(edit, tmp_path):
    code, out, err = edit("um gato", "um rato", "--overlay", "mel", "-q")
    assert (code, out) == (2, "")
    assert "'mel' is not in the prompt" in err
    assert not (tmp_path / "out").exists()


def test_two_ctrl_c_keep_both_unfinished_images(edit, monkeypatch):
    from promptweight.cli.progress import GenerationProgress

    real = GenerationProgress.__call__

    def call(self, step):
        for _ in range(2 * ((step.image_number, step.step) == (2, 1))):
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, step)

    monkeypatch.setattr(GenerationProgress, "__call__", call)
    code, out, _ = edit("um gato", "um rato", "-n", "3", "-q")
    assert code == 130
    stopped = [read_metadata(path).record.get("stopped_after") for path in out.splitlines()]
    assert stopped == [None, None, None, 1, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "SOURCE EDITED"),
        (["um gato"], "SOURCE EDITED"),
        (["um gato", "um rato AND mel"], "AND"),
        (["um gato", "um rato", "--cross", "1.5"], "--cross must be between 0 and 1; got 1.5"),
        (["um gato", "um rato", "--self", "-1"], "--self must be between 0 and 1; got -1.0"),
        (["um gato", "um rato", "--kind", "swap"], "--kind must be one of: replace, refine; got 'swap'"),
    ],
)
def test_wrong_usage_exits_with_2_and_writes_nothing(edit, tmp_path, arguments, expected):
    code, out, err = edit(*arguments, "-q")
    assert (code, out) == (2, "")
    assert expected in err
    assert not (tmp_path / "out").exists()
