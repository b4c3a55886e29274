"""Images of other tools with the right values of them, where these cases are on this machine."""

import json
from pathlib import Path

import pytest

from promptweight.metadata import read_metadata
from promptweight.prompt import DIALECTS, parse

CASES = Path(__file__).resolve().parents[2] / "../shared/cases"
FILES = CASES / "files" / "meta"
NAMES = sorted(json.loads((CASES / "meta.json").read_text())) if (CASES / "meta.json").is_file() else ["none"]


@pytest.mark.parametrize("name", NAMES)
def test_image_of_another_tool_has_the_right_values(name):
    if name == "none":
        pytest.skip("the cases (../shared/cases) are not on this machine")
    right = json.loads((CASES / "meta.json").read_text())[name]
    info = read_metadata(FILES / name).generation_info()
    found = {
        "prompt": info.prompt,
        "negative": info.negative_prompt,
        "seed": info.options.get("seed"),
        "steps": info.options.get("num_inference_steps"),
        "guidance": info.options.get("guidance_scale"),
        "width": info.options.get("width"),
        "height": info.options.get("height"),
        "clip_skip": info.options.get("clip_skip", -1) + 1,
        "loras": {lora.name: lora.weight for lora in info.loras},
        "dialect": info.dialect,
    }
    assert {key: found[key] for key in right if key in found} == {
        key: right[key] for key in right if key in found
    }
    assert all(part in info.prompt for part in right.get("prompt_holds", ()))
    assert str(info.options.get("scheduler", "")).startswith(right.get("sampler", ""))
    assert not right.get("sampler_kept") or "scheduler" in info.options
    if "prompt_text" in right and info.dialect in DIALECTS:
        assert parse(info.prompt, info.dialect).at().text == right["prompt_text"]
    if right.get("readable"):
        assert "um gato 赤い猫, (fox:1.2)" in info.prompt
