"""Attention of one patch: its computation, and the recorded maps."""

import json
import math
from base64 import b64decode

import pytest
import torch

from promptweight import generate
from promptweight.attention import Record
from promptweight_ui.explore.attention import (
    Selection,
    capture_layers,
    captured_steps,
    describe,
    selection_values,
)

PROMPT = "um (gato:1.6{weighting=attention}) um"


@pytest.fixture(scope="module")
def result(tiny_pipe):
    record = Record(steps="keep", heads="keep")
    return generate(tiny_pipe, PROMPT, seed=3, num_inference_steps=4, record=record)


@pytest.fixture(scope="module")
def capture(tiny_pipe, result):
    return capture_layers(tiny_pipe, result)


def test_last_step_has_the_maps_recorded_for_the_image(capture, result):
    about = describe(capture)
    assert about["steps"] == [0, 1, 2, 3]
    ((text,), text_at_step) = about["texts"], about["text_at_step"]
    assert [word["text"] for word in text["words"]] == ["um", "gato", "um"]
    assert text_at_step == {"0": 0, "1": 0, "2": 0, "3": 0}
    for number, layer in enumerate(about["layers"]):
        slot = next(slot for slot in result.maps.recording.slots if slot.layers == (layer["name"],))
        column = result.maps.recording.columns(("positive", 0))[2]  # "gato" is the second token
        recorded = slot.sums[3, 0, 0, :, :, column]
        assert layer["heads"] == len(recorded)
        for head in range(layer["heads"]):
            values_map = selection_values(capture, Selection(number, head, 3, 0, 1))["map"]
            values = torch.tensor(list(b64decode(values_map["values"]))) / 255 * values_map["top"]
            torch.testing.assert_close(values, recorded[head], atol=values_map["top"] / 200, rtol=0)


def test_shares_and_contributions_add_up(capture):
    view = selection_values(capture, Selection(0, 1, 2, 5, 1))
    assert sum(line["probability"] for line in view["table"]) == pytest.approx(1, abs=1e-3)
    for dimension, value in enumerate(view["output"]):
        contributions = sum(line["contribution"][dimension] for line in view["table"])
        assert contributions == pytest.approx(value, abs=2e-3 * max(map(abs, view["output"])))
    # in a UNet patches have a softmax of their own
    assert view["image"]["total"] == pytest.approx(1, abs=1e-3)
    assert [line["text"] for line in view["table"] if line["kind"] == "text"] == ["um", "gato", "um"]
    assert [line["text"] for line in view["table"] if line["chosen"]] == ["gato"]


def test_probability_follows_from_product_and_bias(capture):
    view = selection_values(capture, Selection(0, 0, 1, 7, 1))
    lines = [line for line in view["table"] if "product" in line]
    chosen = next(line for line in lines if line["chosen"])
    product = sum(q * k for q, k in zip(view["query"], view["key"], strict=True))
    assert view["dimensions"] == len(view["query"])
    assert chosen["product"] == pytest.approx(product, rel=1e-2, abs=1e-3)
    assert chosen["bias"] == pytest.approx(math.log(1.6), rel=1e-3)
    logits = [line["product"] / math.sqrt(view["dimensions"]) + line["bias"] for line in lines]
    ratio = lines[0]["probability"] / chosen["probability"]
    assert ratio == pytest.approx(math.exp(logits[0] - logits[lines.index(chosen)]), rel=1e-2)


def test_lines_of_several_keys_have_the_products_of_each(capture):
    view = selection_values(capture, Selection(0, 0, 1, 7, 1))
    logits = [
        [product / math.sqrt(view["dimensions"]) + bias for product, bias in zip(*keys, strict=True)]
        for line in view["table"]
        for keys in [(line.get("products", [line.get("product")]), line.get("biases", [line.get("bias")]))]
    ]
    assert [len(each) for each in logits] == [line.get("count", 1) for line in view["table"]]
    total = sum(math.exp(logit) for each in logits for logit in each)
    for line, each in zip(view["table"], logits, strict=True):
        share = sum(math.exp(logit) for logit in each) / total
        assert line["probability"] == pytest.approx(share, rel=1e-3)


def test_weight_0_in_attention_has_a_bias_that_json_can_hold(tiny_pipe):
    made = generate(tiny_pipe, "um (gato:0{weighting=attention}) um", seed=3, num_inference_steps=2)
    view = selection_values(capture_layers(tiny_pipe, made), Selection(0, 0, 1, 7, 1))
    json.dumps(view, allow_nan=False)
    chosen = next(line for line in view["table"] if line["chosen"])
    assert chosen["probability"] == pytest.approx(0, abs=1e-6)
    assert chosen["bias"] is None or chosen["bias"] < -10


@pytest.mark.parametrize(
    "indices",
    [(9, 0, 0, 0, 0), (0, 9, 0, 0, 0), (0, 0, 9, 0, 0), (0, 0, 0, 10**6, 0), (0, 0, 0, -1, 0),
     (0, 0, 0, 0, 3), (-1, 0, 0, 0, 0)],
)  # fmt: skip
def test_missing_selection_raises(capture, indices):
    with pytest.raises(IndexError):
        selection_values(capture, Selection(*indices))


def test_each_step_of_a_scheduled_prompt_has_its_words(tiny_pipe):
    made = generate(tiny_pipe, "um [gato:um gato:0.5]", seed=3, num_inference_steps=4)
    capture = capture_layers(tiny_pipe, made)
    about = describe(capture)
    assert [about["texts"][about["text_at_step"][str(step)]]["text"] for step in range(4)] == (
        ["um gato"] * 2 + ["um um gato"] * 2
    )
    for step, words in ((1, ["um", "gato"]), (2, ["um", "um", "gato"])):
        view = selection_values(capture, Selection(0, 0, step, 0, 1))
        assert [line["text"] for line in view["table"] if line["kind"] == "text"] == words
        assert [line["text"] for line in view["table"] if line["chosen"]] == [words[1]]
        assert len(view["words"]) == len(words)
    with pytest.raises(IndexError):
        selection_values(capture, Selection(0, 0, 1, 0, 2))


def test_stopped_capture_has_the_steps_before(tiny_pipe, result):
    capture = capture_layers(tiny_pipe, result, callback=lambda progress: progress.step < 2)
    assert capture.steps == (0, 1)


def test_captured_steps_include_first_and_last():
    assert captured_steps(3) == (0, 1, 2)
    assert captured_steps(25) == (0, 6, 12, 18, 24)


def test_painted_word_has_the_weight_of_the_source(tiny_pipe):
    from promptweight_ui.regions.masks import apply_regions

    mask = torch.zeros(8, 8).numpy()
    mask[:4] = 1
    painted = apply_regions("um (gato:1.6) um", {"gato": mask}, 10.0, 0.1)
    result = generate(tiny_pipe, painted, seed=3, num_inference_steps=2)
    (text,) = describe(capture_layers(tiny_pipe, result))["texts"]
    assert [word["weight"] for word in text["words"]] == [1, 1.6, 1]
    assert [word.weight for word in result.words] == [1, math.e, 1]  # the weight of its region
