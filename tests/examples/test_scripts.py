"""The example scripts run as they stand, without a network, and write what they say."""

import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PICTURES = {
    "own_pipeline": ["own.png", "own-gato-vermelho.png", "own-persegue.png", "own-rato-cinza.png"],
    "prompt_editing": ["prompt-editing.png"],
    "sdxl": [],
    "sd3": ["gato-t5.png", "rato-clip_l.png"],
    "flux": [],
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_script_runs_and_writes_its_pictures(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(
        sys, "argv", [name, "--steps", "5" if name == "prompt_editing" else "2", "--output", str(tmp_path)]
    )
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    written = {path.name: path for path in tmp_path.glob("*.png")}
    assert set(PICTURES[name]) <= set(written)
    assert len(written) >= 3
    for path in written.values():
        with Image.open(path) as image:
            assert len(image.convert("RGB").getcolors(1 << 24)) > 10
    said = capsys.readouterr().out
    assert str(tmp_path) in said
