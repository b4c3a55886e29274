"""`promptweight families`: its table stands in both READMEs, and models agree with it."""

import json
from pathlib import Path

import pytest

from promptweight.attention import read_layout
from promptweight.conditioning import FAMILIES, find_family
from tests.integration.test_language_models import CASES
from tests.integration.test_videos import CASES as VIDEOS

ROOT = Path(__file__).resolve().parents[2]
PORTUGUESE = {
    "| family | weights act in | maps of | edits |": "| família | pesos agem em | mapas de | edições |",
    "| embeddings, attention |": "| embeddings, atenção |",
    "| attention |": "| atenção |",
    "| each image |": "| cada imagem |",
    "| each frame |": "| cada quadro |",
    "| yes |": "| sim |",
    "| no |": "| não |",
    "Stable Diffusion 1 and 2": "Stable Diffusion 1 e 2",
}


def test_table_has_every_family_once(run):
    code, out, err = run("families", "--markdown")
    assert (code, err) == (0, "")
    names = [name for line in out.splitlines()[2:] for name in line.split(" | ")[0].strip("| ").split(", ")]
    assert sorted(names) == sorted(family.name for family in FAMILIES)


def test_both_readmes_have_the_table(run):
    table = run("families", "--markdown")[1]
    advice = "the table of `promptweight families --markdown` has changed"
    assert table in (ROOT / "README.md").read_text(encoding="utf-8"), advice
    for english, portuguese in PORTUGUESE.items():
        table = table.replace(english, portuguese)
    assert table in (ROOT / "README.pt-br.md").read_text(encoding="utf-8"), advice


def test_json_has_what_is_possible(run):
    rows = {row["family"]: row for row in json.loads(run("families", "--json")[1])}
    assert rows["Z-Image"]["edits"] is False
    assert rows["Wan 2.1"]["maps_of"] == "each frame"
    assert rows["FLUX.1"]["weights_act_in"] == ["embeddings", "attention"]


def test_two_formats_at_once_are_refused(run):
    code, out, err = run("families", "--json", "--markdown")
    assert (code, out, err) == (2, "", "error: --json and --markdown exclude each other\n")


@pytest.mark.slow
@pytest.mark.parametrize("case", [*CASES.values(), *VIDEOS.values()], ids=[*CASES, *VIDEOS])
def test_models_have_the_edits_and_frames_of_their_family(case):
    pipe = case.make()
    layout, family = read_layout(pipe), find_family(pipe)
    assert family.supports_edits == (not layout.text_layers and not family.encodes_image)
    assert family.is_video == bool(layout.kind.frames)
