"""`weightings`, `info`, `evaluate`, `--version`, and exit codes of errors."""

import inspect
import json
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from PIL import Image

import promptweight
from promptweight.atomic_files import save_png
from promptweight.cli import app, main
from promptweight.metadata.a1111 import format_infotext
from promptweight.metadata.image_metadata import build_png_info
from promptweight.weighting import NORMALIZER_NAMES, WEIGHTING_NAMES, Weighting

ROOT = Path(__file__).resolve().parents[2]


def test_weightings_lists_all_names_and_settings(run):
    code, out, _ = run("weightings")
    assert code == 0
    assert all(f" {name} " in out for name in WEIGHTING_NAMES)
    listed = json.loads(run("weightings", "--json")[1])
    assert tuple(listed["weightings"]) == WEIGHTING_NAMES
    settings = [setting.partition("=") for setting in listed["settings"]]
    assert {name for name, _, _ in settings} == {field.name for field in fields(Weighting)} - {"name"}
    assert {value for name, _, value in settings if name == "normalizer"} == {*NORMALIZER_NAMES} - {"none"}
    for setting in listed["settings"]:
        assert str(Weighting.parse(f"presence {setting}")) == f"presence {setting}"


def test_families_lists_every_class_of_diffusers_that_is_supported(run):
    import diffusers

    listed = json.loads(run("families", "--json")[1])
    names = [name for family in listed for name in family["pipelines"]]
    assert len(names) == len(set(names))
    for family in listed:
        for name in family["pipelines"]:
            parameters = inspect.signature(getattr(diffusers, name).__call__).parameters
            assert family["guidance"] in parameters or "guidance_scale" in parameters, name
    in_attention = {family["family"] for family in listed if family["weights_act_in"] == ["attention"]}
    assert {"Qwen-Image", "Z-Image"} <= in_attention
    code, out, _ = run("families")
    assert code == 0
    assert all(f"{family['family']} (" in out for family in listed)
    assert all(f"  {name}\n" in out for name in names)


@pytest.fixture
def image_file(tmp_path):
    path = tmp_path / "a.png"
    settings = {"Steps": 25, "Seed": 1, "Size": "8x8"}
    texts = build_png_info({"prompt": "um [gato]", "seed": 1}, format_infotext("um [gato]", "feio", settings))
    save_png(Image.new("RGB", (8, 8)), path, texts)
    return path


def test_info_prints_the_record_of_an_image(run, image_file):
    code, out, _ = run("info", image_file)
    assert (code, out) == (0, "prompt: um [gato]\nseed: 1\n")
    told = json.loads(run("info", image_file, "--json")[1])
    assert told["promptweight"] == {"prompt": "um [gato]", "seed": 1}
    assert told["negative_prompt"] == "feio"
    assert told["settings"] == {"Steps": "25", "Seed": "1", "Size": "8x8"}
    assert told["digital_source_type"].endswith("trainedAlgorithmicMedia")


def test_info_prints_the_infotext_of_other_tools(run, tmp_path):
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    texts.add_text("parameters", "a cat\nSteps: 20, Seed: 1, Size: 8x8")
    save_png(Image.new("RGB", (8, 8)), tmp_path / "a.png", texts)
    assert run("info", tmp_path / "a.png")[1] == "a cat\nSteps: 20, Seed: 1, Size: 8x8\n"


def test_info_of_an_image_without_settings_warns(run, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    code, out, err = run("info", tmp_path / "a.png")
    assert (code, out) == (0, "")
    assert "has no generation settings" in err


@pytest.mark.parametrize("content", [None, b"", b"text"])
def test_info_of_another_file_exits_with_1(run, tmp_path, content):
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    code, out, err = run("info", tmp_path / "a.png")
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert "a.png" in err


def test_evaluate_prints_the_figures(run, monkeypatch):
    from promptweight.evaluation.report.document import Metric

    asked = {}

    def measure(model, **options):
        asked.update(options, model=model)
        return [Metric("one thing: color", 0.99, 0.97, 1.0, 200, 0.98)]

    monkeypatch.setattr("promptweight.evaluation.report.acceptance.measure_acceptance", measure)
    code, out, _ = run("evaluate", "mini", "--number", 30)
    assert code == 0
    assert asked == {"model": "mini", "number": 30, "seed": 0}
    assert "one thing: color" in out
    figures = json.loads(run("evaluate", "mini", "--json")[1])
    assert figures[0]["met"] is True


def test_the_help_names_the_questions_of_a_report(run):
    from promptweight.evaluation.report.run import MEASUREMENTS

    out = " ".join(run("evaluate", "--help")[1].replace("│", " ").split())
    assert ", ".join(question.name for question in MEASUREMENTS) in out


def test_version_and_help_exit_with_0(run):
    assert run("--version")[:2] == (0, f"promptweight {promptweight.__version__}\n")
    code, out, _ = run("--help")
    assert code == 0
    for command in ("generate", "parse", "convert", "detect", "weightings", "info", "evaluate"):
        assert command in out


def test_no_arguments_print_the_help(run):
    code, out, err = run()
    assert code == 2
    assert "Usage" in out + err


def test_unknown_command_exits_with_2(run):
    assert run("genrate")[0] == 2


def test_error_with_unencodable_letters_is_printed(run):
    code, _, err = run("info", "\udcff🐱.png")
    assert code == 1
    assert err.startswith("error: ")


def test_entry_point_is_main():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert scripts["promptweight"] == "promptweight.cli:main"
    assert callable(main)
    assert app.info.name == "promptweight"
