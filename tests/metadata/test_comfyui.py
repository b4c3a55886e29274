"""Samplers, conditioning, LoRAs and guidance in graphs of ComfyUI, hostile graphs included."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight.generation import GenerateOptions
from promptweight.metadata import LoraUse, read_metadata
from promptweight.metadata.comfyui import read_comfyui
from tests.metadata.graphs import graph, node


def codes(info):
    return [warning.code for warning in info.warnings]


def test_default_workflow_gives_prompts_settings_and_options(read_png):
    made = graph("beautiful (cat:1.2)", "watermark")
    info = read_png({"prompt": json.dumps(made), "workflow": "{}"})
    assert (info.tool, info.dialect) == ("ComfyUI", "comfy")
    assert (info.prompt, info.negative_prompt, info.warnings) == ("beautiful (cat:1.2)", "watermark", ())
    assert info.settings == {
        "seed": 5,
        "steps": 20,
        "cfg_scale": 8,
        "sampler": "dpmpp_2m",
        "scheduler": "karras",
        "denoise": 1,
        "width": 512,
        "height": 768,
        "model": "m.safetensors",
    }
    assert info.options == {
        "seed": 5,
        "num_inference_steps": 20,
        "guidance_scale": 8,
        "scheduler": "DPM++ 2M Karras",
        "width": 512,
        "height": 768,
    }


@pytest.mark.parametrize("names", [(0x0110, 0x010F), (0x010F, 0x010E), (0x010E, 0x010F)])
@pytest.mark.parametrize("prefixes", [("prompt:", "workflow:"), ("Prompt:", "Workflow:")])
def test_graph_in_exif_fields_of_a_webp_is_read(save_exif, names, prefixes):
    fields = {names[0]: prefixes[0] + json.dumps(graph("um coração")), names[1]: prefixes[1] + "{}"}
    assert read_metadata(save_exif(".webp", None, fields)).generation_info().prompt == "um coração"


def test_graph_in_a_user_comment_is_read(save_exif):
    comment = json.dumps({"prompt": graph("a fox"), "workflow": {"nodes": []}})
    path = save_exif(".jpg", b"UNICODE\0" + comment.encode("utf-16-be"))
    assert read_metadata(path).generation_info().prompt == "a fox"


GUIDERS = {
    "CFGGuider": (node("CFGGuider", positive=["6", 0], negative=["7", 0], cfg=4.5), "blurry", 4.5),
    "BasicGuider": (node("BasicGuider", conditioning=["6", 0], model=["4", 0]), "", None),
    "DualCFGGuider": (
        node("DualCFGGuider", cond1=["6", 0], cond2=["6", 0], negative=["7", 0], cfg_conds=5.0),
        "blurry",
        5.0,
    ),
}


@pytest.mark.parametrize("name", GUIDERS)
def test_custom_sampler_takes_prompts_and_settings_from_its_parts(name):
    guider, negative, guidance = GUIDERS[name]
    made = graph(
        "a fox",
        **{
            "3": node(
                "SamplerCustomAdvanced",
                noise=["20", 0],
                guider=["21", 0],
                sampler=["22", 0],
                sigmas=["23", 0],
                latent_image=["5", 0],
            ),
            "20": node("RandomNoise", noise_seed=15112221349535400772),
            "21": guider,
            "22": node("KSamplerSelect", sampler_name="euler"),
            "23": node("BasicScheduler", scheduler="simple", steps=28, denoise=1.0, model=["4", 0]),
        },
    )
    info = read_comfyui(made)
    assert (info.prompt, info.negative_prompt) == ("a fox", negative)
    assert info.options["seed"] == 15112221349535400772
    assert info.options["num_inference_steps"] == 28
    assert info.options["scheduler"] == "Euler Simple"
    assert info.options.get("guidance_scale") == guidance
    assert (info.options["width"], info.options["height"]) == (512, 768)


def test_largest_seed_is_followed():
    assert read_comfyui(graph("a", sampler={"seed": 2**64 - 1})).options["seed"] == 2**64 - 1
    info = read_comfyui(graph("a", sampler={"seed": 2**64}))
    assert "seed" not in info.options
    assert "seed" in info.warnings[0].fields["names"]


def test_numbers_behind_links_are_followed():
    made = graph(
        "a",
        sampler={"seed": ["20", 0], "steps": ["21", 0], "cfg": ["22", 0]},
        **{
            "20": node("Seed (rgthree)", seed=7),
            "21": node("PrimitiveInt", value=12),
            "22": node("Reroute", value=["23", 0]),
            "23": node("PrimitiveFloat", value=3.5),
        },
    )
    options = read_comfyui(made).options
    assert (options["seed"], options["num_inference_steps"], options["guidance_scale"]) == (7, 12, 3.5)


@pytest.mark.parametrize(
    ("cfg", "guided", "warned"),
    [(1.0, True, False), (1, True, False), (3.0, True, True), (1.0, False, False)],
)
def test_guidance_of_flux_takes_the_place_of_cfg_1(cfg, guided, warned):
    made = graph(
        "a fox",
        sampler={"cfg": cfg, "positive": ["20", 0]},
        **{
            "20": node("FluxGuidance", conditioning=["6", 0], guidance=2.5)
            if guided
            else node("Reroute", x=["6", 0]),
            "4": node("UNETLoader", unet_name="flux1-dev.safetensors"),
            "30": node("DualCLIPLoader", clip_name1="clip_l", clip_name2="t5xxl", type="flux"),
            "6": node("CLIPTextEncode", text="a fox", clip=["30", 0]),
        },
    )
    info = read_comfyui(made)
    # ComfyUI's own guidance of FLUX is 3.5 where no node sets it.
    assert info.options["guidance_scale"] == (2.5 if guided else 3.5)
    assert ("cfg_scale" in str(info.warnings)) == warned


def test_guidance_of_the_flux_text_encoder_and_its_second_prompt():
    made = graph(
        "",
        sampler={"cfg": 1.0},
        **{
            "6": node(
                "CLIPTextEncodeFlux", clip_l="fox", t5xxl="a red fox in snow", guidance=4.0, clip=["4", 1]
            ),
        },
    )
    info = read_comfyui(made)
    assert (info.prompt, info.options["guidance_scale"]) == ("a red fox in snow", 4.0)
    assert codes(info) == ["second-prompt-unused"]


def test_texts_of_sdxl_are_one_prompt_where_they_are_equal():
    made = graph("", **{"6": node("CLIPTextEncodeSDXL", text_g="a fox", text_l="a fox", clip=["4", 1])})
    info = read_comfyui(made)
    assert (info.prompt, codes(info)) == ("a fox", [])


def test_zeroed_conditioning_is_an_empty_prompt():
    made = graph(
        "a fox",
        "ugly",
        {"negative": ["20", 0]},
        **{
            "20": node("ConditioningZeroOut", conditioning=["6", 0]),
        },
    )
    assert read_comfyui(made).negative_prompt == ""


COMBINED = {
    "combine": node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["10", 0]),
    "concatenate": node("ConditioningConcat", conditioning_to=["6", 0], conditioning_from=["10", 0]),
    "average": node(
        "ConditioningAverage",
        conditioning_to=["6", 0],
        conditioning_from=["10", 0],
        conditioning_to_strength=0.5,
    ),
    "several": node(
        "ConditioningMultiCombine", inputcount=2, conditioning_1=["6", 0], conditioning_2=["10", 0]
    ),
}


@pytest.mark.parametrize("name", COMBINED)
def test_combined_prompts_are_joined_with_a_warning(name):
    made = graph(
        "a fox",
        sampler={"positive": ["11", 0]},
        **{
            "10": node("CLIPTextEncode", text="in snow", clip=["4", 1]),
            "11": COMBINED[name],
        },
    )
    info = read_comfyui(made)
    assert info.prompt.split("\n") == ["a fox", "in snow"]
    assert codes(info) == ["prompts-combined"]


@pytest.mark.parametrize(("strength", "prompt"), [(1.0, "a fox"), (0.0, "in snow")])
def test_average_of_one_prompt_alone_is_that_prompt(strength, prompt):
    average = {**COMBINED["average"]["inputs"], "conditioning_to_strength": strength}
    made = graph(
        "a fox",
        sampler={"positive": ["11", 0]},
        **{
            "10": node("CLIPTextEncode", text="in snow", clip=["4", 1]),
            "11": node("ConditioningAverage", **average),
        },
    )
    info = read_comfyui(made)
    assert (info.prompt, codes(info)) == (prompt, [])


PASSED = {
    "ControlNetApplyAdvanced": node(
        "ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], strength=1.0
    ),
    "ConditioningSetTimestepRange": node(
        "ConditioningSetTimestepRange", conditioning=["6", 0], start=0.0, end=0.5
    ),
    "unCLIPConditioning": node("unCLIPConditioning", conditioning=["6", 0], strength=1.0),
    "InpaintModelConditioning": node("InpaintModelConditioning", positive=["6", 0], negative=["7", 0]),
}


@pytest.mark.parametrize("name", PASSED)
def test_node_that_changes_conditioning_is_named_in_a_warning(name):
    made = graph("a fox", sampler={"positive": ["10", 0]}, **{"10": PASSED[name]})
    info = read_comfyui(made)
    assert info.prompt == "a fox"
    assert name in info.warnings[-1].fields["names"]


PIPES = {
    "Impact": {
        "10": node(
            "ToBasicPipe", model=["4", 0], clip=["4", 1], vae=["4", 2], positive=["6", 0], negative=["7", 0]
        ),
        "11": node("FromBasicPipe", basic_pipe=["10", 0]),
        "3": node(
            "KSampler",
            seed=5,
            steps=20,
            cfg=8.0,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
            model=["11", 0],
            positive=["11", 3],
            negative=["11", 4],
            latent_image=["5", 0],
        ),
    },
    "rgthree": {
        "10": node("Context (rgthree)", model=["4", 0], positive=["6", 0], negative=["7", 0], seed=5),
        "11": node("Context Switch (rgthree)", ctx_01=["10", 0]),
        "3": node(
            "KSampler",
            seed=5,
            steps=20,
            cfg=8.0,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
            model=["11", 1],
            positive=["11", 4],
            negative=["11", 5],
            latent_image=["5", 0],
        ),
    },
    "Easy Use": {
        "10": node(
            "easy fullLoader", ckpt_name="m", positive="a fox", negative="blurry", empty_latent_width=512
        ),
        "11": node(
            "easy preSampling",
            pipe=["10", 0],
            steps=20,
            cfg=8.0,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
            seed=5,
        ),
        "3": node("easy kSampler", pipe=["11", 0], image_output="Save"),
    },
    "Efficiency": {
        "10": node("Efficient Loader", ckpt_name="m", positive="a fox", negative="blurry"),
        "3": node(
            "KSampler (Efficient)",
            seed=5,
            steps=20,
            cfg=8.0,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
            model=["10", 0],
            positive=["10", 1],
            negative=["10", 2],
            latent_image=["10", 3],
        ),
    },
}


@pytest.mark.parametrize("name", PIPES)
def test_prompts_and_settings_in_pipes_are_followed(name):
    info = read_comfyui(graph("a fox", **PIPES[name]))
    assert (info.prompt, info.negative_prompt, info.error) == ("a fox", "blurry", None)
    assert (info.options["seed"], info.options["num_inference_steps"]) == (5, 20)
    assert info.options["scheduler"] == "Euler Normal"


def test_switch_of_conditioning_takes_one_branch():
    made = graph(
        "a fox",
        sampler={"positive": ["11", 0]},
        **{
            "10": node("CLIPTextEncode", text="in snow", clip=["4", 1]),
            "11": node(
                "CR Conditioning Input Switch", Input=2, conditioning1=["6", 0], conditioning2=["10", 0]
            ),
        },
    )
    assert read_comfyui(made).prompt == "in snow"


def test_wildcard_encoder_gives_its_filled_text_and_its_loras():
    made = graph(
        "",
        **{
            "6": node(
                "ImpactWildcardEncode",
                wildcard_text="{red|blue} fox",
                model=["4", 0],
                clip=["4", 1],
                populated_text="red fox <lora:style/add_detail.safetensors:0.8:0.5>",
            ),
        },
    )
    info = read_comfyui(made)
    assert (info.prompt, info.loras) == ("red fox", (LoraUse("add_detail", 0.8, 0.5),))


@pytest.mark.parametrize(
    ("encoder", "dialect", "weighting"),
    [
        (
            node("BNK_CLIPTextEncodeAdvanced", token_normalization="none", weight_interpretation="A1111"),
            "comfy",
            "a1111",
        ),
        (
            node(
                "BNK_CLIPTextEncodeAdvanced",
                token_normalization="length+mean",
                weight_interpretation="comfy++",
            ),
            "comfy",
            "comfy++ normalizer=length+mean",
        ),
        (node("smZ CLIPTextEncode", parser="A1111"), "a1111", None),
        (node("smZ CLIPTextEncode", parser="compel"), "compel", None),
    ],
)
def test_weighting_that_an_encoder_names_is_followed(encoder, dialect, weighting):
    encoder["inputs"] |= {"text": "(fox:1.2)", "clip": ["4", 1]}
    info = read_comfyui(graph("", **{"6": encoder}))
    assert (info.prompt, info.dialect, info.options.get("weighting")) == ("(fox:1.2)", dialect, weighting)
    GenerateOptions(**info.options)


LORAS = {
    "core": node(
        "LoraLoader",
        lora_name="style/x.safetensors",
        strength_model=0.8,
        strength_clip=0.7,
        model=["4", 0],
        clip=["4", 1],
    ),
    "Windows path": node(
        "LoraLoader",
        lora_name="style\\x.safetensors",
        strength_model=0.8,
        strength_clip=0.7,
        model=["4", 0],
        clip=["4", 1],
    ),
    "Custom Scripts": node(
        "LoraLoader|pysssss",
        lora_name={"content": "x.safetensors", "image": None},
        strength_model=0.8,
        strength_clip=0.7,
        model=["4", 0],
        clip=["4", 1],
    ),
    "rgthree": node(
        "Power Lora Loader (rgthree)",
        model=["4", 0],
        clip=["4", 1],
        lora_1={"on": True, "lora": "x.safetensors", "strength": 0.8, "strengthTwo": 0.7},
        lora_2={"on": False, "lora": "y.safetensors", "strength": 1},
    ),
    "Comfyroll": node(
        "CR LoRA Stack",
        switch_1="On",
        lora_name_1="x.safetensors",
        model_weight_1=0.8,
        clip_weight_1=0.7,
        switch_2="Off",
        lora_name_2="y.safetensors",
        model_weight_2=1.0,
        clip_weight_2=1.0,
        model=["4", 0],
        clip=["4", 1],
    ),
    "Efficiency": node(
        "LoRA Stacker",
        input_mode="advanced",
        lora_count=1,
        lora_name_1="x.safetensors",
        lora_wt_1=0.1,
        model_str_1=0.8,
        clip_str_1=0.7,
        lora_name_2="y.safetensors",
        model_str_2=1.0,
        clip_str_2=1.0,
        model=["4", 0],
        clip=["4", 1],
    ),
    "LoRA Manager": node(
        "Lora Loader (LoraManager)",
        text="<lora:x:0.8>",
        model=["4", 0],
        clip=["4", 1],
        loras={
            "__value__": [
                {"name": "x", "strength": 0.8, "clipStrength": 0.7, "active": True},
                {"name": "y", "strength": 1, "clipStrength": 1, "active": False},
            ]
        },
    ),
    "tags": node("LoraTagLoader", text="a <lora:x:0.8:0.7>", model=["4", 0], clip=["4", 1]),
}


@pytest.mark.parametrize("name", LORAS)
def test_loras_between_model_and_sampler_have_both_weights(name):
    made = graph(
        "a fox",
        sampler={"model": ["10", 0]},
        **{
            "10": LORAS[name],
            "6": node("CLIPTextEncode", text="a fox", clip=["10", 1]),
        },
    )
    assert read_comfyui(made).loras == (LoraUse("x", 0.8, 0.7),)


@pytest.mark.parametrize(
    ("loader", "model", "clip", "weights"),
    [
        ({"kind": "LoraLoader", "strength_clip": 0.7}, "10", "4", (0.8, 0.0)),
        ({"kind": "LoraLoader", "strength_clip": 0.7}, "4", "10", (0.0, 0.7)),
        ({"kind": "LoraLoaderModelOnly"}, "10", "4", (0.8, 0.0)),
        ({"kind": "LoraLoader", "strength_clip": 0.0}, "10", "10", (0.8, 0.0)),
    ],
)
def test_lora_acts_where_its_outputs_are_connected(loader, model, clip, weights):
    made = graph(
        "a fox",
        sampler={"model": [model, 0]},
        **{
            "10": node(
                lora_name="x.safetensors", strength_model=0.8, model=["4", 0], clip=["4", 1], **loader
            ),
            "6": node("CLIPTextEncode", text="a fox", clip=[clip, 1]),
        },
    )
    assert read_comfyui(made).loras == (LoraUse("x", *weights),)


def test_lora_of_another_branch_or_of_weight_0_is_not_used():
    made = graph(
        "a fox",
        **{
            "10": node(
                "LoraLoader",
                lora_name="x.safetensors",
                strength_model=1,
                strength_clip=1,
                model=["4", 0],
                clip=["4", 1],
            ),
            "11": node(
                "LoraLoader",
                lora_name="y.safetensors",
                strength_model=0,
                strength_clip=0,
                model=["4", 0],
                clip=["4", 1],
            ),
            "3": node(
                "KSampler",
                seed=1,
                steps=2,
                cfg=7,
                sampler_name="euler",
                scheduler="normal",
                denoise=1,
                model=["11", 0],
                positive=["6", 0],
                negative=["7", 0],
                latent_image=["5", 0],
            ),
        },
    )
    assert read_comfyui(made).loras == ()


@pytest.mark.parametrize(("layer", "skip"), [(-1, 0), (-2, 1), (-3, 2)])
def test_last_clip_layer_is_clip_skip(layer, skip):
    made = graph(
        "a fox",
        **{
            "10": node("CLIPSetLastLayer", stop_at_clip_layer=layer, clip=["4", 1]),
            "6": node("CLIPTextEncode", text="a fox", clip=["10", 0]),
        },
    )
    info = read_comfyui(made)
    assert info.options["clip_skip"] == skip
    assert info.settings["stop_at_clip_layer"] == layer
    assert "clip_skip" not in read_comfyui(graph("a fox")).options


def test_first_pass_is_read_and_later_passes_are_told():
    made = graph(
        "a fox",
        **{
            "20": node("LatentUpscale", samples=["3", 0], width=1024, height=1536),
            "21": node(
                "KSampler",
                seed=9,
                steps=10,
                cfg=6.0,
                sampler_name="euler",
                scheduler="normal",
                denoise=0.5,
                model=["4", 0],
                positive=["6", 0],
                negative=["7", 0],
                latent_image=["20", 0],
            ),
            "8": node("VAEDecode", samples=["21", 0], vae=["4", 2]),
            "22": node("PreviewImage", images=["23", 0]),
            "23": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        },
    )
    info = read_comfyui(made)
    assert (info.options["seed"], info.options["num_inference_steps"], info.options["width"]) == (5, 20, 512)
    assert codes(info) == ["later-passes"]


def test_several_images_with_different_prompts_are_an_error():
    other = graph("a cat")
    other["3"]["inputs"]["positive"] = ["26", 0]
    made = graph(
        "a fox",
        **{
            "23": other["3"],
            "26": node("CLIPTextEncode", text="a cat", clip=["4", 1]),
            "28": node("VAEDecode", samples=["23", 0], vae=["4", 2]),
            "29": node("SaveImage", images=["28", 0]),
        },
    )
    info = read_comfyui(made)
    assert (info.error.code, info.error.fields["number"]) == ("several-samplers", 2)
    made["26"]["inputs"]["text"] = "a fox"
    assert read_comfyui(made).error is None


def test_image_to_image_is_told():
    made = graph(
        "a fox",
        sampler={"denoise": 0.6, "latent_image": ["10", 0]},
        **{
            "10": node("VAEEncode", pixels=["11", 0], vae=["4", 2]),
            "11": node("LoadImage", image="a.png"),
        },
    )
    names = read_comfyui(made).warnings[-1].fields["names"]
    assert "denoise" in names
    assert "LoadImage" in names


def test_infotext_beside_a_graph_is_read_where_the_graph_does_not_have_the_prompt(read_png):
    made = graph(["10", 0], **{"10": node("OllamaGenerate", prompt="a fox")})
    infotext = "a red fox\nNegative prompt: bad\nSteps: 20, Sampler: DPM++ 2M, Seed: 5, Version: ComfyUI"
    info = read_png({"prompt": json.dumps(made), "parameters": infotext})
    assert (info.tool, info.prompt, info.dialect) == ("ComfyUI", "a red fox", "comfy")
    made = graph("a red fox", "bad")
    assert read_png({"prompt": json.dumps(made), "parameters": infotext}).settings["cfg_scale"] == 8.0


def test_settings_of_civitai_beside_a_graph_are_read():
    extra = {
        "prompt": "a (fox:1.2)",
        "negativePrompt": "bad",
        "cfgScale": 4.5,
        "steps": 25,
        "seed": 3,
        "sampler": "Euler a",
        "clipSkip": 2,
        "workflowId": "txt2img",
        "resources": [{"air": "urn:air:sdxl:lora:civitai:1@2", "strength": 0.7}],
    }
    info = read_comfyui({**graph("x"), "extraMetadata": json.dumps(extra)})
    assert (info.tool, info.prompt, info.negative_prompt, info.dialect) == (
        "Civitai",
        "a (fox:1.2)",
        "bad",
        "a1111",
    )
    assert info.options == {
        "num_inference_steps": 25,
        "guidance_scale": 4.5,
        "seed": 3,
        "clip_skip": 1,
        "scheduler": "Euler a",
    }
    assert codes(info) == ["lora-file-unknown"]


def test_graph_without_a_sampler_is_an_error():
    info = read_comfyui({"1": node("LoadImage", image="a.png"), "2": node("SaveImage", images=["1", 0])})
    assert info.error.code == "sampler-missing"


@given(
    st.dictionaries(
        st.sampled_from("123"),
        st.recursive(
            st.none() | st.integers() | st.text() | st.just("1") | st.just(["1", 0]) | st.just(["2", 0]),
            lambda inside: (
                st.lists(inside)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            "inputs",
                            "class_type",
                            "positive",
                            "negative",
                            "seed",
                            "text",
                            "clip",
                            "switch",
                            "on_true",
                            "text_a",
                            "text_b",
                            "conditioning_1",
                            "conditioning_2",
                            "lora_name",
                            "guider",
                            "pipe",
                            "model",
                            "loras",
                            "width",
                        ]
                    ),
                    inside | st.sampled_from(["KSampler", "Text Concatenate", "SaveImage"]),
                )
            ),
        ),
    )
)
def test_any_graph_is_read_without_error(made):
    info = read_comfyui(made)
    if info is not None and info.error is None:
        GenerateOptions(**{**info.options, "seed": None})


def test_long_chain_of_nodes_is_followed_once():
    size = 5_000
    made = {str(n): {"inputs": {"a": [str(n + 1), 0], "b": [str(n + 1), 0]}} for n in range(size)}
    made[str(size)] = {"inputs": {"text": "a cat"}}
    made["s"] = {"inputs": {"seed": 1, "positive": ["0", 0]}}
    assert read_comfyui(made).prompt == "a cat"


@pytest.mark.parametrize(("number", "code"), [(100, None), (101, "prompt-node-unknown")])
def test_more_than_a_hundred_combined_prompts_are_an_error(number, code):
    nodes = {f"t{each}": node("CLIPTextEncode", text=f"text {each}", clip=["4", 1]) for each in range(number)}
    for each in range(1, number):
        first = [f"c{each - 1}" if each > 1 else "t0", 0]
        nodes[f"c{each}"] = node("ConditioningCombine", conditioning_1=first, conditioning_2=[f"t{each}", 0])
    info = read_comfyui(graph("", sampler={"positive": [f"c{number - 1}", 0]}, **nodes))
    assert (info.error and info.error.code) == code
    assert info.prompt.count("text") == (0 if code else number)
