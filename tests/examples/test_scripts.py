"""Example scripts: they run without a network and write their images."""

import ast
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SHORT = ("--steps", "2")
SCRIPTS = {
    "own_pipeline": (SHORT, ["own.png", "own-gato-vermelho.png", "own-persegue.png", "own-rato-cinza.png"]),
    "prompt_editing": (("--steps", "5"), ["prompt-editing.png"]),
    "prompt_to_prompt": (SHORT, ["edit-vermelho.png", "edit-verde.png"]),
    "weight_by_step": (SHORT, ["weight-by-step.png"]),
    "weight_by_region": (SHORT, ["weight-by-region.png"]),
    "compare_weightings": (
        (*SHORT, "--weightings", "a1111", "attention steps=0-0.5", "--weights", "0", "1"),
        ["compare-weightings.png"],
    ),
    "batch_sweep": (("--steps", "1"), []),
    "lora": ((*SHORT, "--training-steps", "1"), ["lora.png"]),
    "sdxl": (SHORT, []),
    "sd3": (SHORT, ["gato-t5.png", "rato-clip_l.png"]),
    "flux": (SHORT, []),
    "language_models": (SHORT, []),
}
"""Arguments that make each script quick, and images that it writes."""
WRITE_ONE_FILE = {"readme_picture", "readme_animation"}
HELPERS = {
    "options",
    "tiny_language_models",
    "tiny_models",
    "tiny_t5_models",
    "tiny_text_encoders",
    "tiny_video_models",
}


def run(name, *arguments, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")


def count_colors(path):
    with Image.open(path) as image:
        return len(image.convert("RGB").getcolors(1 << 24))


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_writes_its_images(name, tmp_path, monkeypatch, capsys):
    arguments, images = SCRIPTS[name]
    run(name, *arguments, "--output", tmp_path, monkeypatch=monkeypatch)
    written = {path.name: path for path in tmp_path.glob("*.png")}
    assert set(images) <= set(written)
    assert written
    for path in written.values():
        assert count_colors(path) > 10
    assert str(tmp_path) in capsys.readouterr().out


def test_quickstart_writes_overlays_in_the_working_directory(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run("quickstart", monkeypatch=monkeypatch)
    printed = capsys.readouterr().out.split()
    assert all(count_colors(path) > 10 for path in printed)
    assert {path.name for path in tmp_path.glob("*.png")} == {"gato vermelho.png", "rato cinza.png"}


def test_batch_sweep_skips_finished_images(tmp_path, monkeypatch, capsys):
    for made, skipped in ((24, 0), (0, 24)):
        run("batch_sweep", "--steps", "1", "--output", tmp_path, monkeypatch=monkeypatch)
        assert f"{made} generated, {skipped} skipped, 0 failed" in capsys.readouterr().out
    assert len(list(tmp_path.glob("sheet-*.png"))) == 2


def test_lora_changes_the_image_with_every_weight(tmp_path, monkeypatch):
    run("lora", *SHORT, "--training-steps", "3", "--output", tmp_path, monkeypatch=monkeypatch)
    assert (tmp_path / "roxo.safetensors").stat().st_size > 10_000
    with Image.open(tmp_path / "lora.png") as sheet:
        # the cells have the same prompt and seed, and different weights
        cells = [sheet.crop((left, 60, left + 120, 180)) for left in range(20, sheet.width - 120, 199)]
    assert len({cell.tobytes() for cell in cells}) == len(cells) == 5


def test_readme_image_and_animation_are_drawn(tmp_path, monkeypatch):
    run("readme_picture", *SHORT, "--output", tmp_path / "still.png", monkeypatch=monkeypatch)
    assert count_colors(tmp_path / "still.png") > 10
    moving = tmp_path / "moving.webp"
    run("readme_animation", *SHORT, "--fade", "2", "--output", moving, monkeypatch=monkeypatch)
    with Image.open(moving) as image:
        assert image.n_frames > 8


@pytest.mark.slow
def test_explore_page_is_written_in_both_languages(tmp_path, monkeypatch, capsys):
    run("explore_page", *SHORT, "--output", tmp_path / "explore", monkeypatch=monkeypatch)
    written = {path.name for path in (tmp_path / "explore").iterdir()}
    assert written == {Path(line).name for line in capsys.readouterr().out.split()}
    assert written == {"index.html", "pt-br.html"}


@pytest.mark.browser
def test_app_screenshots_are_taken(tmp_path):
    script = [sys.executable, EXAMPLES / "app_screenshots.py", *SHORT, "--output", tmp_path]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    finished = subprocess.run(script, env=environment, cwd=tmp_path, capture_output=True, text=True)
    if "Executable doesn't exist" in finished.stderr:
        pytest.skip("no browser")
    assert finished.returncode == 0, finished.stderr
    assert {path.stem for path in tmp_path.glob("*.png")} == {"app-pt-br", "app-dark", "app-phone"}


@pytest.mark.browser
@pytest.mark.parametrize("language", ["en", "pt"])
def test_app_animation_is_recorded(tmp_path, language):
    script = [sys.executable, EXAMPLES / "app_animation.py", *SHORT, "--language", language]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    output = tmp_path / "app.webp"
    finished = subprocess.run([*script, "--output", output], env=environment, capture_output=True, text=True)
    if "Executable doesn't exist" in finished.stderr:
        pytest.skip("no browser")
    assert finished.returncode == 0, finished.stderr
    with Image.open(output) as image:
        assert image.n_frames > 30


@pytest.mark.parametrize(("file", "page"), [("app.webp", "README.md"), ("app.pt-br.webp", "README.pt-br.md")])
def test_shipped_app_animation_is_small_legible_and_endless(file, page):
    path = EXAMPLES / "pictures" / file
    assert path.stat().st_size < 1_500_000
    with Image.open(path) as image:
        assert image.width >= 960
        assert image.n_frames > 30
        assert image.info["loop"] == 0
    assert f"](examples/pictures/{file})" in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "page"), [("readme.webp", "README.md"), ("readme.pt-br.webp", "README.pt-br.md")]
)
def test_readme_animation_is_small_legible_and_endless(file, page):
    path = EXAMPLES / "pictures" / file
    assert path.stat().st_size < 1_500_000
    with Image.open(path) as image:
        assert image.width >= 512
        assert image.n_frames > 30
        assert image.info["loop"] == 0
    assert f"](examples/pictures/{file})" in (ROOT / page).read_text(encoding="utf-8").split("\n## ")[0]


def test_every_script_is_tested():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    of_the_app = {"app_screenshots", "app_animation", "explore_page"}
    assert names == {*SCRIPTS, *WRITE_ONE_FILE, *HELPERS, *of_the_app, "quickstart"}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_script_docstring_shows_its_command(path):
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert doc
    if path.stem not in HELPERS:
        assert f"python examples/{path.name}" in doc
