"""What the Explore tab tells of a place inside a picture: sums that must come out, and the picture itself."""

import math
from base64 import b64decode

import pytest
import torch

from promptweight import generate
from promptweight.attention import Record
from promptweight_ui.explore.attention import Place, about, look, look_inside, looked_at

PROMPT = "um (gato:1.6{mode=logit}) um"


@pytest.fixture(scope="module")
def result(tiny_pipe):
    record = Record(steps="keep", heads="keep")
    return generate(PROMPT, tiny_pipe, seed=3, num_inference_steps=4, record=record)


@pytest.fixture(scope="module")
def inside(tiny_pipe, result):
    return look_inside(tiny_pipe, result)


def test_the_last_step_is_the_pictures_own(inside, result):
    """The map of a word must be the one that was recorded while the picture was made."""
    told = about(inside)
    assert told["steps"] == [0, 1, 2, 3]
    ((text,), said) = told["texts"], told["said"]
    assert [word["text"] for word in text["words"]] == ["um", "gato", "um"]
    assert said == {"0": 0, "1": 0, "2": 0, "3": 0}
    for number, layer in enumerate(told["layers"]):
        slot = next(slot for slot in result.maps.recording.slots if slot.layers == (layer["name"],))
        column = result.maps.recording.columns(("positive", 0))[2]  # "gato" is the second token
        recorded = slot.sums[3, 0, 0, :, :, column]
        assert layer["heads"] == len(recorded)
        for head in range(layer["heads"]):
            map_told = look(inside, Place(number, head, 3, 0, 1))["map"]
            values = torch.tensor(list(b64decode(map_told["values"]))) / 255 * map_told["top"]
            torch.testing.assert_close(values, recorded[head], atol=map_told["top"] / 200, rtol=0)


def test_shares_add_up_and_so_does_what_is_taken(inside):
    view = look(inside, Place(0, 1, 2, 5, 1))
    assert sum(line["probability"] for line in view["table"]) == pytest.approx(1, abs=1e-3)
    for dimension, value in enumerate(view["output"]):
        taken = sum(line["taken"][dimension] for line in view["table"])
        assert taken == pytest.approx(value, abs=2e-3 * max(map(abs, view["output"])))
    assert view["image"]["total"] == pytest.approx(
        1, abs=1e-3
    )  # in a UNet patches have a softmax of their own
    assert [line["text"] for line in view["table"] if line["kind"] == "text"] == ["um", "gato", "um"]
    assert [line["text"] for line in view["table"] if line["chosen"]] == ["gato"]


def test_the_steps_lead_from_one_to_the_next(inside):
    view = look(inside, Place(0, 0, 1, 7, 1))
    lines = [line for line in view["table"] if "product" in line]
    chosen = next(line for line in lines if line["chosen"])
    product = sum(q * k for q, k in zip(view["query"], view["key"], strict=True))
    assert view["dimensions"] == len(view["query"])
    assert chosen["product"] == pytest.approx(product, rel=1e-2, abs=1e-3)
    assert chosen["bias"] == pytest.approx(math.log(1.6), rel=1e-3)
    logits = [line["product"] / math.sqrt(view["dimensions"]) + line["bias"] for line in lines]
    ratio = lines[0]["probability"] / chosen["probability"]
    assert ratio == pytest.approx(math.exp(logits[0] - logits[lines.index(chosen)]), rel=1e-2)


@pytest.mark.parametrize(
    "place", [Place(9, 0, 0, 0, 0), Place(0, 9, 0, 0, 0), Place(0, 0, 9, 0, 0), Place(0, 0, 0, 10**6, 0),
              Place(0, 0, 0, -1, 0), Place(0, 0, 0, 0, 3), Place(-1, 0, 0, 0, 0)]
)  # fmt: skip
def test_places_that_are_not_there_are_refused(inside, place):
    with pytest.raises(IndexError):
        look(inside, place)


def test_of_a_prompt_that_changes_each_step_has_its_own_words(tiny_pipe):
    made = generate("um [gato:um gato:0.5]", tiny_pipe, seed=3, num_inference_steps=4)
    inside = look_inside(tiny_pipe, made)
    told = about(inside)
    assert [told["texts"][told["said"][str(step)]]["text"] for step in range(4)] == (
        ["um gato"] * 2 + ["um um gato"] * 2
    )
    for step, words in ((1, ["um", "gato"]), (2, ["um", "um", "gato"])):
        view = look(inside, Place(0, 0, step, 0, 1))
        assert [line["text"] for line in view["table"] if line["kind"] == "text"] == words
        assert [line["text"] for line in view["table"] if line["chosen"]] == [words[1]]
        assert len(view["words"]) == len(words)
    with pytest.raises(IndexError):
        look(inside, Place(0, 0, 1, 0, 2))


def test_a_run_that_is_stopped_keeps_what_it_saw(tiny_pipe, result):
    inside = look_inside(tiny_pipe, result, callback=lambda progress: progress.step < 2)
    assert inside.steps == (0, 1)


def test_steps_that_are_looked_at():
    assert looked_at(3) == (0, 1, 2)
    assert looked_at(25) == (0, 6, 12, 18, 24)


def test_a_painted_word_has_the_weight_that_was_written(tiny_pipe):
    from promptweight_ui.regions.masks import regional

    mask = torch.zeros(8, 8).numpy()
    mask[:4] = 1
    painted = regional("um (gato:1.6) um", {"gato": mask}, 10.0, 0.1)
    result = generate(painted, tiny_pipe, seed=3, num_inference_steps=2)
    (text,) = about(look_inside(tiny_pipe, result))["texts"]
    assert [word["weight"] for word in text["words"]] == [1, 1.6, 1]
    assert [word.weight for word in result.words] == [1, math.e, 1]  # how it acts is another matter
