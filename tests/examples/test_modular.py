"""The folder of blocks for modular pipelines: diffusers loads it, and its script writes images."""

import json
import runpy
import sys
from pathlib import Path

import diffusers
import pytest
from diffusers import ModularPipelineBlocks
from diffusers.utils import dynamic_modules_utils
from PIL import Image

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "modular"


@pytest.fixture(autouse=True)
def modules_cache(tmp_path, monkeypatch):
    """Keep the copy of the blocks that diffusers makes out of the user's folder."""
    monkeypatch.setattr(dynamic_modules_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("diffusers_modules"):
            del sys.modules[name]


def test_blocks_are_loaded_by_diffusers_after_consent():
    blocks = ModularPipelineBlocks.from_pretrained(str(FOLDER), trust_remote_code=True)
    assert {"prompt", "weighting", "dialect", "record"} <= set(blocks.input_names)
    assert type(blocks.init_pipeline()).__name__ == "StableDiffusionXLModularPipeline"
    with pytest.raises(ValueError, match="trust_remote_code"):
        ModularPipelineBlocks.from_pretrained(str(FOLDER), trust_remote_code=False)


def test_settings_of_the_folder_name_the_installed_diffusers():
    settings = json.loads((FOLDER / "modular_config.json").read_text(encoding="utf-8"))
    assert settings["_diffusers_version"].split(".")[:2] == diffusers.__version__.split(".")[:2]


def test_script_writes_an_image_and_a_map(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["generate", "--steps", "2", "--output", str(tmp_path)])
    runpy.run_path(str(FOLDER / "generate.py"), run_name="__main__")
    for name in ("modular.png", "modular-gato.png"):
        with Image.open(tmp_path / name) as image:
            assert len(image.convert("RGB").getcolors(1 << 24)) > 10
    assert str(tmp_path) in capsys.readouterr().out
