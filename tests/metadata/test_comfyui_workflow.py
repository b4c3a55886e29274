"""Workflows of ComfyUI's page without the API format: widgets, links, subgraphs, bypassed and muted nodes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight.metadata.comfyui import read_comfyui
from promptweight.metadata.comfyui_workflow import convert_workflow


def page_node(number, kind, widgets=(), inputs=(), outputs=("X",), **more):
    """Return a node; inputs are (name, type, link)."""
    return {
        "id": number,
        "type": kind,
        "mode": 0,
        "widgets_values": list(widgets),
        "inputs": [{"name": name, "type": type_, "link": link} for name, type_, link in inputs],
        "outputs": [{"name": type_, "type": type_, "links": []} for type_ in outputs],
        **more,
    }


def workflow(*more, positive=5, links=()):
    """Return ComfyUI's default workflow as its page stores it."""
    return {
        "last_node_id": 9,
        "version": 0.4,
        "nodes": [
            page_node(
                3,
                "KSampler",
                [5, "randomize", 20, 8.0, "euler_ancestral", "karras", 1.0],
                [
                    ("model", "MODEL", 1),
                    ("positive", "CONDITIONING", positive),
                    ("negative", "CONDITIONING", 6),
                    ("latent_image", "LATENT", 2),
                ],
            ),
            page_node(4, "CheckpointLoaderSimple", ["m.safetensors"], outputs=("MODEL", "CLIP", "VAE")),
            page_node(5, "EmptyLatentImage", [512, 768, 1]),
            page_node(6, "CLIPTextEncode", ["a (fox:1.2)"], [("clip", "CLIP", 3)]),
            page_node(7, "CLIPTextEncode", ["blurry"], [("clip", "CLIP", 4)]),
            page_node(9, "SaveImage", ["ComfyUI"], [("images", "IMAGE", 8)]),
            *more,
        ],
        "links": [
            [1, 4, 0, 3, 0, "MODEL"],
            [2, 5, 0, 3, 3, "LATENT"],
            [3, 4, 1, 6, 0, "CLIP"],
            [4, 4, 1, 7, 0, "CLIP"],
            [5, 6, 0, 3, 1, "CONDITIONING"],
            [6, 7, 0, 3, 2, "CONDITIONING"],
            [8, 3, 0, 9, 0, "IMAGE"],
            *links,
        ],
    }


def read(made):
    return read_comfyui(convert_workflow(made))


def test_default_workflow_is_read(read_png):
    info = read_png({"workflow": json.dumps(workflow())})
    assert (info.tool, info.prompt, info.negative_prompt) == ("ComfyUI", "a (fox:1.2)", "blurry")
    assert info.settings["sampler"] == "euler_ancestral"
    assert info.options == {
        "num_inference_steps": 20,
        "seed": 5,
        "width": 512,
        "height": 768,
        "guidance_scale": 8.0,
        "scheduler": "Euler a",
    }


def test_widgets_are_named_as_new_versions_write_them():
    named = [
        {"name": name, "type": "STRING", "widget": {"name": name}, "link": None}
        for name in ("text1", "text2", "separator")
    ]
    joining = {**page_node(20, "CR Text Concatenate Two", ["red fox", "in snow", ", "]), "inputs": named}
    encoder = page_node(21, "CLIPTextEncode", ["old"], [("clip", "CLIP", 3), ("text", "STRING", 20)])
    made = workflow(
        joining, encoder, positive=21, links=[[20, 20, 0, 21, 1, "STRING"], [21, 21, 0, 3, 1, "CONDITIONING"]]
    )
    assert read(made).prompt == "red fox, in snow"


def test_set_and_get_nodes_reroutes_and_primitives_are_followed():
    made = workflow(
        page_node(20, "PrimitiveNode", ["a red fox"]),
        page_node(21, "CLIPTextEncode", ["old"], [("clip", "CLIP", 3), ("text", "STRING", 20)]),
        page_node(22, "SetNode", ["prompt"], [("CONDITIONING", "CONDITIONING", 21)]),
        page_node(23, "GetNode", ["prompt"]),
        page_node(24, "Reroute", [], [("", "*", 22)], ("*",)),
        positive=23,
        links=[
            [20, 20, 0, 21, 1, "STRING"],
            [21, 21, 0, 22, 0, "CONDITIONING"],
            [22, 23, 0, 24, 0, "*"],
            [23, 24, 0, 3, 1, "CONDITIONING"],
        ],
    )
    assert read(made).prompt == "a red fox"


@pytest.mark.parametrize(("mode", "loras"), [(0, ["x"]), (4, [])])
def test_bypassed_lora_is_not_used(mode, loras):
    lora = page_node(
        20, "LoraLoaderModelOnly", ["x.safetensors", 0.8], [("model", "MODEL", 20)], ("MODEL",), mode=mode
    )
    made = workflow(lora, links=[[20, 4, 0, 20, 0, "MODEL"], [21, 20, 0, 3, 0, "MODEL"]])
    made["nodes"][0]["inputs"][0]["link"] = 21
    info = read(made)
    assert [each.name for each in info.loras] == loras
    assert info.settings["model"] == "m.safetensors"


def test_lora_stack_of_rgthree_is_read():
    widgets = [
        {},
        {"type": "PowerLoraLoaderHeaderWidget"},
        {"on": True, "lora": "x.safetensors", "strength": 0.5},
    ]
    lora = page_node(20, "Power Lora Loader (rgthree)", widgets, [("model", "MODEL", 20)], ("MODEL", "CLIP"))
    made = workflow(lora, links=[[20, 4, 0, 20, 0, "MODEL"], [21, 20, 0, 3, 0, "MODEL"]])
    made["nodes"][0]["inputs"][0]["link"] = 21
    assert [(each.name, each.weight) for each in read(made).loras] == [("x", 0.5)]


def test_subgraph_is_unpacked():
    inner = {
        "id": "abc",
        "name": "Prompt",
        "nodes": [
            page_node(1, "CLIPTextEncode", ["a fox in a subgraph"], [("clip", "CLIP", 1)]),
            page_node(2, "ConditioningSetTimestepRange", [0.0, 1.0], [("conditioning", "CONDITIONING", 2)]),
        ],
        "links": [
            {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 1, "target_slot": 0, "type": "CLIP"},
            {
                "id": 2,
                "origin_id": 1,
                "origin_slot": 0,
                "target_id": 2,
                "target_slot": 0,
                "type": "CONDITIONING",
            },
            {
                "id": 3,
                "origin_id": 2,
                "origin_slot": 0,
                "target_id": -20,
                "target_slot": 0,
                "type": "CONDITIONING",
            },
        ],
    }
    made = workflow(
        page_node(20, "abc", [], [("clip", "CLIP", 20)]),
        positive=21,
        links=[[20, 4, 1, 20, 0, "CLIP"], [21, 20, 0, 3, 1, "CONDITIONING"]],
    )
    made["definitions"] = {"subgraphs": [inner]}
    assert read(made).prompt == "a fox in a subgraph"


def test_prompt_of_a_node_without_names_is_an_error(read_png):
    encoder = page_node(21, "MysteryEncoder", ["a", "b", "c", 3], [("clip", "CLIP", 3)])
    made = workflow(encoder, positive=21, links=[[21, 21, 0, 3, 1, "CONDITIONING"]])
    assert read(made).error.code == "prompt-node-unknown"


def test_subgraphs_that_hold_each_other_end():
    inner = {
        "id": "abc",
        "nodes": [page_node(1, "abc"), page_node(2, "abc"), page_node(3, "abc")],
        "links": [],
    }
    made = {**workflow(page_node(20, "abc")), "definitions": {"subgraphs": [inner]}}
    assert read(made).prompt == "a (fox:1.2)"


@given(
    st.recursive(
        st.none() | st.integers(-30, 30) | st.text(max_size=3),
        lambda inside: (
            st.lists(inside)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "nodes",
                        "links",
                        "id",
                        "type",
                        "mode",
                        "inputs",
                        "outputs",
                        "widgets_values",
                        "name",
                        "link",
                        "widget",
                        "definitions",
                        "subgraphs",
                        "origin_id",
                        "origin_slot",
                        "target_id",
                        "target_slot",
                    ]
                ),
                inside,
            )
        ),
    )
)
def test_any_json_is_converted_without_error(made):
    if isinstance(made, dict):
        read_comfyui(convert_workflow(made))
