"""What is told of one picture of a comparison."""

from base64 import b64decode
from types import SimpleNamespace

import numpy as np
import pytest

from promptweight import generate
from promptweight.metadata import read
from promptweight_ui.compare_made import cell_of


def test_numbers_and_file(tiny_pipe, tmp_path):
    result = generate("um (gato:1.4)", tiny_pipe, seed=2, num_inference_steps=2)
    component = SimpleNamespace(GRADIO_CACHE=str(tmp_path), temp_files=set())
    cell = cell_of(component, result, "gato")
    heat = result.maps.word("gato").tensor.numpy()
    assert cell["mass"] == pytest.approx(heat.mean(), rel=1e-3)
    values = np.frombuffer(b64decode(cell["map"]["values"]), np.uint8).reshape(heat.shape)
    assert np.abs(values / 255 * cell["map"]["top"] - heat).max() <= cell["map"]["top"] / 250
    assert component.temp_files == {cell["path"]}
    assert read(cell["path"]).record["prompt"] == "um (gato:1.4)"
    assert read(cell["path"]).record["seed"] == 2
