"""Weighted blocks of modular pipelines against the ordinary pipelines of diffusers in a session."""

import numpy as np
import pytest
import torch
from diffusers.guiders import ClassifierFreeGuidance
from diffusers.modular_pipelines import (
    FluxAutoBlocks,
    SequentialPipelineBlocks,
    StableDiffusion3AutoBlocks,
    StableDiffusionXLAutoBlocks,
)
from PIL import Image

from promptweight.attention import Record, attach
from promptweight.conditioning import encode
from promptweight.errors import AttachError, SettingError
from promptweight.modular import (
    WeightedDenoiseStep,
    WeightedFluxTextEncoderStep,
    WeightedStableDiffusionXLTextEncoderStep,
    weight_blocks,
)

STEPS = 2
PROMPT = "um (gato:2) mel"


def make(blocks, full):
    """Return the modular pipeline of blocks, with the models of an ordinary pipeline."""
    pipe = blocks.init_pipeline()
    parts = {name: part for name, part in full.components.items() if part is not None}
    pipe.update_components(**{name: part for name, part in parts.items() if name in pipe.component_names})
    pipe.set_progress_bar_config(disable=True)
    return pipe


def run(pipe, **inputs):
    settings = {"num_inference_steps": STEPS, "height": 16, "width": 16, "output_type": "latent"}
    return pipe(**settings | {"generator": torch.Generator().manual_seed(0)} | inputs)


@pytest.fixture
def models(sdxl, flux):
    return {"sdxl": (StableDiffusionXLAutoBlocks, sdxl), "flux": (FluxAutoBlocks, flux)}


@pytest.mark.parametrize("family", ["sdxl", "flux"])
def test_prompt_without_weights_gives_the_latents_of_diffusers_own_blocks(models, family):
    blocks, full = models[family]
    plain = run(make(blocks(), full), prompt="um gato mel")
    weighted = run(make(weight_blocks(blocks()), full), prompt="um gato mel")
    assert torch.equal(weighted.get("latents"), plain.get("latents"))
    assert weighted.get("attention_session").warnings == []


@pytest.mark.parametrize("weighting", ["attention", "scale", None])
@pytest.mark.parametrize("family", ["sdxl", "flux"])
def test_weights_give_the_latents_and_maps_of_the_ordinary_pipeline_in_a_session(models, family, weighting):
    blocks, full = models[family]
    found = run(make(weight_blocks(blocks()), full), prompt=PROMPT, weighting=weighting)
    with attach(full, PROMPT, None, weighting=weighting) as session:
        guidance = {"guidance_scale": 7.5 if family == "sdxl" else 3.5}
        expected = run(full, **session.inputs, **guidance).images
    latents = found.get("latents")
    if family == "flux":
        latents = latents.reshape(1, 4, 8, 2, 8, 2).permute(0, 2, 4, 1, 3, 5).reshape(1, 64, 16)
    assert torch.allclose(latents, expected, atol=1e-4)
    maps = found.get("attention_session").maps
    assert torch.allclose(maps.word("gato").tensor, session.maps.word("gato").tensor, atol=1e-5)


def test_negative_prompts_and_several_images_are_encoded(models):
    blocks, full = models["sdxl"]
    pipe = make(weight_blocks(blocks()), full)
    found = run(pipe, prompt=["um (gato:2)", "mel"], negative_prompt="(cor:1.5)", weighting="scale")
    expected = encode(full, ["um (gato:2)", "mel"], "(cor:1.5)", weighting="scale")
    for name, embeds in expected.items():
        assert torch.equal(found.get(name), embeds), name
    with attach(full, ["um (gato:2)", "mel"], "(cor:1.5)", weighting="attention") as session:
        latents = run(full, **session.inputs, guidance_scale=7.5).images
    found = run(pipe, prompt=["um (gato:2)", "mel"], negative_prompt="(cor:1.5)", weighting="attention")
    assert torch.allclose(found.get("latents"), latents, atol=1e-4)
    several = run(pipe, prompt=PROMPT, num_images_per_prompt=2, weighting="attention")
    assert several.get("latents").shape[0] == 2


def test_guider_with_one_prediction_runs_in_a_session(models):
    blocks, full = models["sdxl"]
    pipe = make(weight_blocks(blocks()), full)
    pipe.update_components(guider=ClassifierFreeGuidance(guidance_scale=1.0))
    found = run(pipe, prompt=PROMPT, weighting="attention")
    with attach(full, PROMPT, None, weighting="attention") as session:
        expected = run(full, **session.inputs, guidance_scale=1.0).images
    assert torch.allclose(found.get("latents"), expected, atol=1e-4)


def test_image_to_image_workflow_acts_in_the_session(models):
    blocks, full = models["sdxl"]
    pipe = make(weight_blocks(blocks()), full)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    states = [
        run(pipe, prompt=prompt, image=picture, strength=1.0, weighting="attention")
        for prompt in ("um gato mel", PROMPT)
    ]
    assert not torch.equal(states[0].get("latents"), states[1].get("latents"))
    assert states[1].get("attention_session").maps.word("gato").mass > 0


@pytest.mark.parametrize("family", ["sdxl", "flux"])
def test_workflows_keep_the_session(models, family):
    blocks, full = models[family]
    expected = run(make(weight_blocks(blocks()), full), prompt=PROMPT, weighting="attention").get("latents")
    for workflow in (
        weight_blocks(blocks().get_workflow("text2image")),
        weight_blocks(blocks()).get_workflow("text2image"),
    ):
        found = run(make(workflow, full), prompt=PROMPT, weighting="attention")
        assert torch.equal(found.get("latents"), expected)


def test_layers_have_their_own_processors_after_a_run_and_after_an_error(models):
    blocks, full = models["sdxl"]
    before = dict(full.unet.attn_processors)
    pipe = make(weight_blocks(blocks()), full)
    run(pipe, prompt=PROMPT, weighting="attention")
    assert full.unet.attn_processors == before
    hook = full.unet.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("stopped")))
    with pytest.raises(RuntimeError, match="stopped"):
        run(pipe, prompt=PROMPT, weighting="attention")
    hook.remove()
    assert full.unet.attn_processors == before


def test_recording_can_be_set(models):
    blocks, full = models["sdxl"]
    pipe = make(weight_blocks(blocks()), full)
    state = run(pipe, prompt=PROMPT, record=Record(steps="keep"))
    assert state.get("attention_session").maps.recording.slots[0].sums.shape[0] == STEPS
    silent = run(pipe, prompt=PROMPT, record=False)
    with pytest.raises(AttachError, match="record"):
        silent.get("attention_session").maps  # noqa: B018


def test_step_without_session_encodes_and_refuses_weights_in_attention(models):
    steps = {"sdxl": WeightedStableDiffusionXLTextEncoderStep, "flux": WeightedFluxTextEncoderStep}
    for family, (blocks, full) in models.items():
        changed = blocks()
        changed.sub_blocks["text_encoder"] = steps[family]()
        pipe = make(changed, full)
        found = run(pipe, prompt=PROMPT, weighting="comfy")
        expected = encode(full, PROMPT, None, weighting="comfy")
        assert torch.equal(found.get("prompt_embeds"), expected["prompt_embeds"])
        with pytest.raises(SettingError, match="attention"):
            run(pipe, prompt=PROMPT, weighting="attention")


def test_other_dialects_and_lora_scales_are_inputs(models):
    blocks, full = models["sdxl"]
    pipe = make(weight_blocks(blocks()), full)
    found = run(pipe, prompt='("um gato++", "mel").and()', dialect="compel", clip_skip=1)
    expected = encode(full, '("um gato++", "mel").and()', None, dialect="compel", clip_skip=1)
    assert torch.equal(found.get("prompt_embeds"), expected["prompt_embeds"])


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"prompt": "um gato", "prompt_2": "mel"}, "prompt_2 must be None"),
        ({"prompt": "um gato", "negative_prompt_2": "mel"}, "negative_prompt_2 must be None"),
        ({"prompt": "um [gato:mel:0.5]"}, "prompt must be one text for all steps"),
        ({"prompt": "um", "negative_prompt": "um AND gato"}, "negative_prompt must be one text"),
        ({"prompt": None}, "prompt must be text"),
        ({"prompt": "um", "weighting": "atention"}, "did you mean attention"),
    ],
)
def test_inputs_that_cannot_be_followed_raise(models, inputs, text):
    blocks, full = models["sdxl"]
    with pytest.raises(SettingError, match=text):
        run(make(weight_blocks(blocks()), full), **inputs)


def test_blocks_of_other_models_and_parts_raise(models):
    with pytest.raises(SettingError, match="blocks must have one of the text encoder steps"):
        weight_blocks(StableDiffusion3AutoBlocks())
    with pytest.raises(SettingError, match="a step that denoises; got text"):
        weight_blocks(SequentialPipelineBlocks.from_blocks_dict({"text": WeightedFluxTextEncoderStep()}))


def test_denoise_step_without_a_text_encoder_step_raises(models):
    blocks, full = models["flux"]
    changed = blocks()
    changed.sub_blocks["denoise"] = WeightedDenoiseStep(changed.sub_blocks["denoise"])
    with pytest.raises(SettingError, match="weight_blocks"):
        run(make(changed, full), prompt="um gato")
