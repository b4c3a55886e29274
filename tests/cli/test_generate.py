"""`promptweight generate`: files, streams, exit codes."""

import json
import os
import re
import signal
import sys
from functools import wraps

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline
from PIL import Image

import promptweight
from promptweight.metadata import METADATA_PARTS, read_metadata

PROMPT = "um (gato:1.4) vermelho"


@pytest.fixture
def generate(run, model_folder, tmp_path):
    """Function that runs `promptweight generate` on the tiny model."""

    def generate(*arguments, model=model_folder):
        common = ["--model", model, "--device", "cpu", "--steps", "2", "-o", tmp_path / "out"]
        return run("generate", *common, *arguments)

    return generate


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_file_names_go_to_stdout_and_the_rest_to_stderr(generate, tmp_path):
    code, out, err = generate(PROMPT, "--overlay", "gato", "--overlay", "vermelho", "--seed", "1")
    assert code == 0
    assert [os.path.basename(line) for line in out.splitlines()] == [
        "00001-1-um-gato-vermelho.png",
        "00001-1-um-gato-vermelho.gato.png",
        "00001-1-um-gato-vermelho.vermelho.png",
        "00001-1-um-gato-vermelho.words.png",
    ]
    assert names(tmp_path / "out") == sorted(os.path.basename(line) for line in out.splitlines())
    assert "gato" in err
    assert "1.4" in err


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # diffusers' scheduler on numpy 2
def test_every_option_reaches_the_image(generate, tmp_path):
    code, out, _ = generate(
        PROMPT, "--negative", "feio", "--weighting", "comfy pooled=weighted normalizer=length",
        "--guidance", "3", "--seed", "5", "--n", "2", "--width", "40", "--height", "24", "--contact-sheet",
        "--save-maps", "--dtype", "float32", "--dialect", "a1111", "--json", "--scheduler", "euler a",
        "--clip-skip", "1", "--argument", "guidance_rescale=0.5", "--target", "gato=30%",
    )  # fmt: skip
    assert code == 0
    made = json.loads(out)
    assert made["seeds"] == [5, 6]
    assert len(made["files"]) == 6
    record = read_metadata(made["files"][3]).record
    expected = {
        "prompt": PROMPT,
        "negative_prompt": "feio",
        "weighting": "comfy normalizer=length pooled=weighted",
        "weighting_by_encoder": {"clip": "comfy"},
        "scheduler": "EulerAncestralDiscreteScheduler",
        "sampler": "Euler a",
        "clip_skip": 1,
        "targets": {"gato": 0.3},
        "pipeline_kwargs": {"guidance_rescale": 0.5},
        "guidance_scale": 3.0,
        "seed": 6,
        "width": 40,
        "height": 24,
        "num_inference_steps": 2,
        "dialect": "a1111",
        "dtype": "float32",
    }
    assert {name: record[name] for name in expected} == expected
    with Image.open(made["files"][0]) as image:
        assert image.size == (40, 24)
    assert {word["text"]: word["weight"] for word in made["words"]} == {
        "um": 1.0,
        "gato": 1.4,
        "vermelho": 1.0,
    }
    assert [[share["target"] for share in of_image] for of_image in made["shares"]] == [[0.3], [0.3]]
    assert names(tmp_path / "out") == sorted(os.path.basename(file) for file in made["files"])


def test_adapter_folders_reach_the_model(generate, tmp_path):
    code, _, err = generate("gato <lora:x:1>", "--lora-dir", tmp_path)
    assert code == 2
    assert "no LoRA 'x'" in err
    code, _, err = generate("embedding:x", "--embeddings-dir", tmp_path)
    assert code == 2
    assert "no textual inversion 'x'" in err


@pytest.mark.parametrize("parts", [(), ("iptc",), ("parameters", "promptweight"), METADATA_PARTS])
def test_metadata_option_chooses_the_parts_in_files(generate, parts):
    given = ",".join(parts) or "none"
    code, out, _ = generate(PROMPT, "--overlay", "gato", "--contact-sheet", "--metadata", given, "-q")
    assert code == 0
    assert len(out.splitlines()) == 3
    for path in out.splitlines():
        found = read_metadata(path)
        there = (found.infotext, found.record, found.digital_source_type)
        assert [each is not None for each in there] == [part in parts for part in METADATA_PARTS]


def test_target_is_that_of_the_library_and_of_a_rerun(generate, run, model_folder, tmp_path):
    prompt = "um gato azul e um rato verde"
    code, out, err = generate(prompt, "--target", "gato azul=40%", "--seed", "1", "--json")
    assert code == 0
    assert re.search(r"^seed 1: 'gato azul' has [\d.]+% of the attention .* \(target: 40\.0%\)$", err, re.M)
    (file,) = json.loads(out)["files"]
    with Image.open(file) as image:
        made = np.array(image)
    alike = [
        promptweight.generate(model_folder, prompt, seed=1, num_inference_steps=2, targets=targets)
        for targets in ({"gato azul": 0.4}, {})
    ]
    assert (made == np.array(alike[0].images[0])).all()
    assert (made != np.array(alike[1].images[0])).any()
    again = run("generate", "--from", file, "--model", model_folder, "-o", tmp_path / "again", "-q")[1]
    assert read_metadata(again.strip()).record == read_metadata(file).record == alike[0].record()


def test_quiet_prints_file_names_only(generate):
    code, out, err = generate(PROMPT, "--quiet")
    assert code == 0
    assert len(out.splitlines()) == 1
    assert err == ""


def test_quiet_still_warns_of_mistakes_in_the_prompt(generate):
    code, _, err = generate("um (gato vermelho", "--quiet")
    assert code == 0
    assert err.startswith("warning: ")


def test_progress_bar_is_hidden_without_a_terminal(generate):
    _, out, err = generate(PROMPT)
    assert "\x1b" not in out + err
    assert "%" not in err


def test_absent_word_exits_with_2_and_lists_the_words(generate, tmp_path, monkeypatch):
    run_of_model = wraps(StableDiffusionPipeline.__call__)(lambda *_, **__: pytest.fail("the model ran"))
    monkeypatch.setattr(StableDiffusionPipeline, "__call__", run_of_model)
    code, out, err = generate(PROMPT, "--overlay", "cachorro")
    assert code == 2
    assert out == ""
    assert err.splitlines()[-1].startswith("error: ")
    assert "cachorro" in err
    assert "'vermelho'" in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [["--steps", "0"], ["--seed", "-3"], ["--weighting", "x"], ["--width", "33"], ["--height", "7"],
     ["--weighting", "comfy normalizer=x"], ["--weighting", "comfy pooled=x"], ["--weighting", "comfy x=1"],
     ["--weighting", "attention layers=nothing"], ["--weighting", "attention steps=0.5"],
     ["--weighting", "attention steps=1-0"], ["--clip-skip", "-1"], ["--target", "gato"],
     ["--target", "gato=110%"], ["--target", "gato=0"], ["--target", "=10%"], ["--target", "rato=10%"],
     ["--target", "gato=60%", "--target", "vermelho=60%"], ["--target", "gato=1%", "--target", "gato=2%"],
     ["--argument", "x"], ["--argument", "x=1"], ["--argument", "guidance_scale=3"],
     ["--argument", "prompt=x"], ["--argument", "eta=1", "--argument", "eta=0"],
     ["--scheduler", "x"], ["--offload", "model"], ["--offload", "x"],
     ["--metadata", "exif"], ["--metadata", "none,iptc"],
     ["--steps", "two"], ["--dialect", "x"], ["--device", "tpu"], ["--no-such-option"]],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_exits_with_2_and_writes_nothing(generate, tmp_path, arguments):
    code, out, err = generate(PROMPT, *arguments)
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    assert "error: " in err or "Error" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("argument", ["eta=x", "sigmas=[1,2]", "timesteps=[[1]]", "cross_attention_kwargs=3"])
def test_argument_that_the_pipeline_refuses_exits_with_2(generate, tmp_path, argument):
    code, out, err = generate(PROMPT, "-q", "--argument", argument)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: --argument must fit the pipeline; got {argument}: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--steps", "0"], "--steps must be between 1 and 1000; got 0"),
        (["--guidance", "-1"], "--guidance must be between 0 and 100; got -1.0"),
        (["--n", "0"], "--n must be between 1 and 1000; got 0"),
        (["--weighting", "a111"], "--weighting must be one of: none, "),
        (["--target", "gato=2"], "--target must be WORD=SHARE with a share between 0% and 100%, "),
    ],
)
def test_errors_name_the_options_of_the_command_line(generate, arguments, sentence):
    assert generate(PROMPT, "-q", *arguments)[2].startswith(f"error: {sentence}")


def test_missing_model_exits_with_1_and_one_sentence(generate):
    code, out, err = generate(PROMPT, model="/no/such/model")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("error: model must be a built-in name")
    assert "Traceback" not in err


def test_output_that_is_a_file_exits_with_1(generate, tmp_path):
    (tmp_path / "out").write_text("a file")
    code, _, err = generate(PROMPT)
    assert code == 1
    assert "error: " in err
    assert "Traceback" not in err
    assert (tmp_path / "out").read_text() == "a file"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--steps", "0"], 2), (["--seed", str(2**63)], 2), (["--clip-skip", "-1"], 2), (["-n", "0"], 2),
        (["--guidance", "nan"], 2), (["--weighting", "x"], 2), (["--target", "gato=2"], 2),
        (["-o", __file__], 1),
    ],
)  # fmt: skip
def test_error_is_reported_before_the_model_is_loaded(generate, monkeypatch, arguments, expected):
    monkeypatch.setattr("promptweight.models.load", lambda *_, **__: pytest.fail("loaded"))
    code, out, err = generate(PROMPT, *arguments, "-q")
    assert (code, out) == (expected, "")
    assert err.startswith("error: ")


def test_edit_reports_a_bad_folder_before_the_model_is_loaded(run, monkeypatch):
    monkeypatch.setattr("promptweight.models.load", lambda *_, **__: pytest.fail("loaded"))
    code, _, err = run("edit", "um gato", "um rato", "-q", "-o", __file__)
    assert code == 1
    assert "is not a folder" in err


def test_out_of_memory_exits_with_1_and_one_sentence(generate, monkeypatch):
    def load(*_, **__):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the documentation")

    monkeypatch.setattr("promptweight.models.load", load)
    code, out, err = generate(PROMPT, "-q")
    assert (code, out) == (1, "")
    assert err.startswith("error: out of memory (CUDA out of memory. Tried to allocate 2.00 GiB.); ")
    assert err.count("\n") == 1


def test_existing_files_are_not_overwritten(generate, tmp_path):
    generate(PROMPT, "--seed", "1")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    generate(PROMPT, "--seed", "1")
    assert names(tmp_path / "out") == ["00001-1-um-gato-vermelho.png", "00002-1-um-gato-vermelho.png"]
    assert {path: path.read_bytes() for path in before} == before


def test_prompt_is_read_from_stdin(generate, monkeypatch):
    import io

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"um gato\n")))
    code, out, _ = generate("-", "--json")
    assert code == 0
    assert json.loads(out)["settings"]["prompt"] == "um gato"


def press_at(monkeypatch, presses):
    """Send Ctrl-C to this process at some steps: {(image number, step): presses}."""
    from promptweight.cli.progress import GenerationProgress

    real = GenerationProgress.__call__

    def call(self, step):
        for _ in range(presses.get((step.image_number, step.step), 0)):
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, step)

    monkeypatch.setattr(GenerationProgress, "__call__", call)


def test_one_ctrl_c_finishes_the_image(generate, monkeypatch):
    press_at(monkeypatch, {(2, 1): 1})
    code, out, err = generate(PROMPT, "--n", "3", "--seed", "1")
    assert code == 130
    assert [read_metadata(path).record["seed"] for path in out.splitlines()] == [1, 2]
    assert all("stopped_after" not in read_metadata(path).record for path in out.splitlines())
    assert "Ctrl-C" in err


def test_two_ctrl_c_keep_the_unfinished_image(generate, monkeypatch):
    press_at(monkeypatch, {(2, 1): 2})
    code, out, _ = generate(PROMPT, "--n", "3", "--seed", "1")
    assert code == 130
    records = [read_metadata(path).record for path in out.splitlines()]
    assert [record.get("stopped_after") for record in records] == [None, 1]


def test_three_ctrl_c_end_the_program(generate, monkeypatch, tmp_path):
    press_at(monkeypatch, {(1, 1): 3})
    code, out, _ = generate(PROMPT, "--seed", "1")
    assert (code, out) == (130, "")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("as_json", [False, True])
def test_error_keeps_the_images_before_it(generate, monkeypatch, tmp_path, as_json):
    from promptweight.cli.progress import GenerationProgress

    real = GenerationProgress.__call__

    def fail_at_the_third(self, step):
        if step.image_number == 3:
            raise OSError(28, "No space left on device")
        return real(self, step)

    monkeypatch.setattr(GenerationProgress, "__call__", fail_at_the_third)
    how = ["--n", "4", "--seed", "1", "--overlay", "gato", *(["--json"] if as_json else [])]
    code, out, err = generate(PROMPT, *how)
    assert code == 1
    assert err.splitlines()[-1].startswith("error: ")
    files = json.loads(out)["files"] if as_json else out.splitlines()
    assert len(files) == 4
    assert names(tmp_path / "out") == sorted(os.path.basename(file) for file in files)
    assert [read_metadata(file).record["seed"] for file in files] == [1, 1, 2, 2]


def test_signal_handler_is_restored(generate):
    before = signal.getsignal(signal.SIGINT)
    generate(PROMPT)
    assert signal.getsignal(signal.SIGINT) is before
