"""Payload of one cell of a comparison."""

from base64 import b64decode
from types import SimpleNamespace

import numpy as np
import pytest

from promptweight import generate
from promptweight.metadata.image_metadata import read_metadata
from promptweight_ui.compare.cells import cell_payload
from promptweight_ui.components.picture import image_payload
from promptweight_ui.outputs import Outputs


def test_cell_has_the_map_and_the_file_of_the_result(tiny_pipe, tmp_path):
    result = generate(tiny_pipe, "um (gato:1.4)", seed=2, num_inference_steps=2)
    component = SimpleNamespace(GRADIO_CACHE=str(tmp_path), temp_files=set())
    (path,) = Outputs().save(result, component)
    cell = cell_payload(image_payload(result, 0, path), result, "gato")
    heat = result.maps.word("gato").tensor.numpy()
    assert cell["mass"] == pytest.approx(heat.mean(), rel=1e-3)
    values = np.frombuffer(b64decode(cell["map"]["values"]), np.uint8).reshape(heat.shape)
    assert np.abs(values / 255 * cell["map"]["top"] - heat).max() <= cell["map"]["top"] / 250
    assert component.temp_files == {cell["path"]}
    assert read_metadata(cell["path"]).record["prompt"] == "um (gato:1.4)"
    assert read_metadata(cell["path"]).record["seed"] == 2


def test_target_share_is_a_number_instead_of_a_warning(tiny_pipe):
    result = generate(tiny_pipe, "um (gato:=30%) aa <lora:luz:1>", seed=2, num_inference_steps=3)
    cell = cell_payload({"path": "a.png"}, result, "aa")
    assert [(each["phrase"], each["target"]) for each in cell["shares"]] == [("gato", 0.3)]
    assert cell["shares"][0]["share"] == pytest.approx(result.shares[0][0].share, rel=0.01)
    assert [warning["en"] for warning in cell["warnings"]] == [
        "The LoRA “luz” has no effect here: start the app with --lora-dir, the folder of the LoRAs"
    ]
