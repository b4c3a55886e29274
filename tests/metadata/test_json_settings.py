"""Settings as JSON of tools without a reader of their own."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight.metadata import LoraUse
from promptweight.metadata.json_settings import read_json_settings


def test_names_that_many_tools_use(read_texts):
    record = {
        "prompt": "a (fox:1.2)",
        "negative_prompt": "bad",
        "steps": 20,
        "cfg_scale": 7,
        "seed": 3,
        "width": 512,
        "height": 768,
        "sampler": "euler_a",
        "software": "SomeTool",
        "tiling": True,
    }
    info = read_texts(parameters=json.dumps(record))
    assert (info.tool, info.prompt, info.negative_prompt, info.dialect) == (
        "SomeTool",
        "a (fox:1.2)",
        "bad",
        "a1111",
    )
    assert info.options == {
        "num_inference_steps": 20,
        "seed": 3,
        "guidance_scale": 7,
        "width": 512,
        "height": 768,
        "scheduler": "Euler a",
    }
    assert info.warnings[0].fields["names"] == "tiling"


def test_mflux(read_texts):
    record = {
        "mflux_version": "0.9.6",
        "model": "dev",
        "seed": 3,
        "steps": 20,
        "guidance": 3.5,
        "width": 512,
        "height": 512,
        "prompt": "a fox",
        "lora_paths": ["/x/add_detail.safetensors"],
        "lora_scales": [0.6],
        "quantize": 8,
    }
    info = read_texts(**{"exif:ImageDescription": json.dumps(record)})
    assert (info.tool, info.prompt, info.options["guidance_scale"]) == ("mflux", "a fox", 3.5)
    assert info.loras == (LoraUse("add_detail", 0.6, 0.6),)


@pytest.mark.parametrize(
    "record",
    [{}, {"prompt": "a fox"}, {"steps": 20}, {"prompt": 3, "steps": 20}, {"prompt": "", "steps": 20}],
)
def test_object_without_a_prompt_or_numbers_is_not_read(record):
    assert read_json_settings(record) is None


@given(
    st.dictionaries(
        st.sampled_from(
            ["prompt", "steps", "seed", "loras", "sampler", "size", "lora_paths", "software", "negative"]
        ),
        st.none()
        | st.text()
        | st.integers()
        | st.lists(st.none() | st.text() | st.dictionaries(st.text(), st.text())),
    )
)
def test_any_object_is_read_without_error(record):
    read_json_settings(record)
