"""Inputs and matrices of layers, compared with the model's own modules and the captured vectors."""

from base64 import b64decode

import pytest
import torch

from promptweight import generate
from promptweight_ui.explore import projections
from promptweight_ui.explore.attention import Selection, capture_layers, selection_values
from tests.fixtures.text_encoders import new_sd3

PLACE = Selection(layer=1, head=1, step=2, patch=3, word=1)


@pytest.fixture(scope="module")
def result(tiny_pipe):
    return generate(tiny_pipe, "um (gato:1.6) um", seed=3, num_inference_steps=4)


@pytest.fixture(scope="module")
def capture(tiny_pipe, result):
    return capture_layers(tiny_pipe, result)


def test_products_are_the_vectors_whose_product_is_the_logit(capture):
    view = selection_values(capture, PLACE)
    found = view["projections"]
    assert not found["normalized"]
    for name in ("query", "key"):
        assert found[name]["product"] == pytest.approx(view[name], rel=1e-2, abs=1e-3)
    chosen = next(line for line in view["table"] if line["chosen"])
    product = sum(q * k for q, k in zip(found["query"]["product"], found["key"]["product"], strict=True))
    assert product == pytest.approx(chosen["product"], rel=1e-2, abs=1e-3)


def test_inputs_times_the_matrices_of_the_model_are_the_products(capture, tiny_pipe):
    view = selection_values(capture, PLACE)["projections"]
    layer = capture.attention.layers[PLACE.layer]
    module = tiny_pipe.unet.get_submodule(layer.name)
    image, text = capture.inputs.states[layer.name, PLACE.step]
    dim = module.to_q.out_features // layer.heads
    rows = slice(PLACE.head * dim, (PLACE.head + 1) * dim)
    for name, linear, states in (
        ("query", module.to_q, image[PLACE.patch]),
        ("value", module.to_v, text[2]),  # "gato" is the second token
    ):
        side = view[name]
        assert side["width"] == linear.in_features == len(states)
        assert side["input"] == pytest.approx(states[: len(side["input"])].tolist(), rel=1e-3, abs=1e-6)
        expected = (linear.weight[rows].float() @ states.float()).tolist()
        assert side["product"] == pytest.approx(expected[: len(side["product"])], rel=1e-2, abs=1e-3)
        matrix = side["matrix"]
        drawn = torch.tensor(list(b64decode(matrix["values"])), dtype=torch.float32) - 128
        drawn = drawn.reshape(matrix["rows"], matrix["columns"]) / 127
        corner = linear.weight[rows][: matrix["columns"], : matrix["rows"]].T.detach().float()
        torch.testing.assert_close(drawn, corner / corner.abs().max(), atol=0.01, rtol=0)


def test_text_input_is_the_output_of_the_text_encoder(capture):
    names = [layer.name for layer in capture.attention.layers]
    _, text = capture.inputs.states[names[0], 0]
    for name in names:
        torch.testing.assert_close(capture.inputs.states[name, 3][1], text)


def test_layers_beyond_the_memory_have_no_projections(tiny_pipe, result, monkeypatch):
    monkeypatch.setattr(projections, "MAX_WEIGHT_BYTES", 0)
    assert selection_values(capture_layers(tiny_pipe, result), PLACE)["projections"] is None


def test_joint_layers_have_the_text_of_their_own_matrices():
    sd3 = new_sd3()
    result = generate(sd3, "um gato", seed=3, num_inference_steps=2)
    capture = capture_layers(sd3, result)
    layer = capture.attention.layers[0]
    module = sd3.transformer.get_submodule(layer.name)
    view = selection_values(capture, Selection(0, 0, 1, 0, 1))
    _, text = capture.inputs.states[layer.name, 1]
    dim = module.add_v_proj.out_features // layer.heads
    (word,) = [each for each in capture.attention.variant_at(1)[0].table.words if each.text == "gato"]
    states = text[capture.attention.variant_at(1)[0].start + word.positions[0]]
    expected = module.add_v_proj(states)[:dim].tolist()
    product = view["projections"]["value"]["product"]
    assert product == pytest.approx(expected[: len(product)], rel=1e-2, abs=1e-3)
