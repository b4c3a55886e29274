"""Recorded run of the Explore tab: the page computes from it what the server computes from the capture."""

import json
import shutil
import subprocess
from base64 import b64decode
from pathlib import Path

import pytest

import promptweight
from promptweight_ui.explore import attention, word_maps
from promptweight_ui.explore.recording import GUIDANCE_SCALES, record_run

PROMPT, SEED, STEPS = "a red cat, a (gray mouse:2)", 3, 3
MODULE = Path(__file__).parents[3] / "ui" / "promptweight_ui" / "static" / "recorded_run.js"
NODE = shutil.which("node")
SCRIPT = f"""
import {{ RecordedRun }} from {json.dumps(MODULE.as_uri())};
const {{ run, requests }} = JSON.parse(await new Response(process.stdin).text());
const recorded = new RecordedRun(run);
console.log(JSON.stringify(requests.map(([name, request]) => recorded[name](request))));
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pipe():
    return promptweight.load("mini")


@pytest.fixture(scope="module")
def run(pipe):
    return record_run(pipe, PROMPT, seed=SEED, steps=STEPS)


@pytest.fixture(scope="module")
def captured(pipe):
    """The capture of the same image."""
    weighting = promptweight.Weighting("attention")
    result = promptweight.generate(pipe, PROMPT, seed=SEED, num_inference_steps=STEPS, weighting=weighting)
    return attention.capture_layers(pipe, result)


def answers(run, requests):
    """Return what the page computes for pairs of a method and its request."""
    content = json.dumps({"run": run, "requests": requests})
    command = [NODE, "--input-type=module", "--eval", SCRIPT]
    done = subprocess.run(command, input=content, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def close(value, share=0.01, least=0.002):
    return pytest.approx(value, rel=share, abs=least * max(1e-9, *(abs(each) for each in value)))


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_page_computes_the_values_of_the_server(run, captured):
    places = [(5, 3, 100, 5), (5, 0, 255, 2), (4, 1, 17, 6), (1, 2, 9, 1), (0, 0, 63, 6)]
    names = ("layer", "head", "patch", "word")
    requests = [["values", dict(zip(names, place, strict=True), step=run["step"])] for place in places]
    for (_, request), shown in zip(requests, answers(run, requests), strict=True):
        expected = attention.selection_values(captured, attention.Selection(**request))
        assert shown["dimensions"] == expected["dimensions"]
        assert len(shown["heads"]) == len(expected["heads"]) == 4
        assert shown["map"] == expected["map"]
        assert shown["words"] == close(expected["words"])
        for name in ("query", "key", "output"):
            assert shown[name] == close(expected[name]), name
        assert len(shown["table"]) == len(expected["table"])
        for line, row in zip(shown["table"], expected["table"], strict=True):
            for name in ("kind", "text", "chosen", "count"):
                assert line.get(name) == row.get(name)
            for name in {"product", "bias", "probability"} & set(row):
                assert line[name] == pytest.approx(row[name], rel=0.01, abs=0.01), name
            assert line["contribution"] == close(row["contribution"], 0.05, 0.01)
            assert line.get("products", []) == pytest.approx(row.get("products", []), rel=0.01, abs=0.02)
        for side in ("query", "key", "value"):
            one, other = shown["projections"][side], expected["projections"][side]
            assert (one["width"], one["matrix"]["rows"], one["matrix"]["columns"]) == (
                other["width"],
                other["matrix"]["rows"],
                other["matrix"]["columns"],
            )
            assert one["input"] == close(other["input"])
            assert one["product"] == close(other["product"])
            assert bytes_of(one["matrix"]) == pytest.approx(bytes_of(other["matrix"]), abs=1)
        image = expected["image"]["map"]
        assert shown["image"]["map"]["top"] == pytest.approx(image["top"], rel=0.02)
        assert bytes_of(shown["image"]["map"]) == pytest.approx(bytes_of(image), abs=4)


def bytes_of(values):
    return list(b64decode(values["values"]))


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_page_has_the_maps_and_images_of_the_server(run, captured):
    film, wall, guided = answers(
        run,
        [
            ["film", {"layer": 4, "head": 2, "word": 6, "step": run["step"]}],
            ["wall", {"word": 1, "step": 0}],
            ["guidance", {"step": run["step"], "scales": [0, 4.5]}],
        ],
    )
    assert film["frames"] == word_maps.word_film(captured.attention, 4, 2, run["step"], 6)
    assert wall["wall"] == word_maps.word_wall(captured.attention, 0, 1)
    images = run["inside"]["guidance"]
    assert guided["images"] == [images[0], images[GUIDANCE_SCALES.index(4.5)]]


def test_weight_acts_in_attention_as_the_logarithm(run):
    biases = run["inside"]["layers"][-1]["bias"]
    words = run["inside"]["words"]
    assert {round(biases[row], 4) for row in words[-1] + words[-2]} == {0.6931}
    assert biases[0] == 0


@pytest.mark.parametrize("prompt", ["a [red:blue:0.5] cat", "a cat AND a mouse", "a cat BREAK a mouse"])
def test_prompt_that_the_page_cannot_compute_is_an_error(pipe, prompt):
    with pytest.raises(ValueError, match=r"^prompt must have"):
        record_run(pipe, prompt, seed=SEED, steps=2)


def test_joint_attention_is_an_error():
    with pytest.raises(ValueError, match="must be cross-attention with plain projections"):
        record_run(promptweight.load("mini-dit"), "a cat", seed=SEED, steps=1)
