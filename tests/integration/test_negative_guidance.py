"""Negative prompts in attention in the pipelines of every family, compiled models included."""

import numpy as np
import pytest
import torch
from diffusers import LatentConsistencyModelPipeline, StableDiffusion3PAGPipeline, StableDiffusionPAGPipeline
from PIL import Image

from promptweight import generate
from promptweight.attention import NegativeGuidance, attach
from promptweight.errors import SettingError

WAYS = ["nag", "vsf"]


def run(pipe, session, **settings):
    defaults = {"num_inference_steps": 2, "guidance_scale": 1.0, "output_type": "latent"}
    return pipe(**session.inputs, **defaults | settings, generator=torch.Generator().manual_seed(1)).images


def draw(pipe, negative, guidance, **settings):
    with attach(pipe, "um gato", negative, negative_guidance=guidance) as session:
        return run(pipe, session, **settings), session


@pytest.mark.parametrize("guidance", WAYS)
@pytest.mark.parametrize("family", ["sd", "sdxl", "sd3", "flux"])
def test_negative_prompt_acts_without_guidance_in_every_family(request, guidance, family):
    pipe = request.getfixturevalue(f"make_{family}")()
    pipe.set_progress_bar_config(disable=True)
    images = [draw(pipe, negative, guidance)[0] for negative in ("", "rato", "casa")]
    assert not torch.allclose(images[0], images[1], atol=1e-5)
    assert not torch.allclose(images[1], images[2], atol=1e-5)
    again, session = draw(pipe, "rato", guidance)
    assert torch.equal(again, images[1])
    assert [warning.code for warning in session.warnings] == []
    assert session.maps.word("gato").mass > 0


@pytest.mark.parametrize("guidance", WAYS)
def test_pipeline_without_a_negative_prompt_gets_one(make_sd, guidance):
    components = make_sd().components
    pipe = LatentConsistencyModelPipeline(**components, requires_safety_checker=False)
    sample = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    outputs = {}
    for each, codes in (("cfg", ["negative-unsupported"]), (guidance, [])):
        with attach(pipe, "um gato", "feio", negative_guidance=each) as session, torch.no_grad():
            assert "negative_prompt_embeds" not in session.inputs
            outputs[each] = pipe.unet(sample, 300, session.inputs["prompt_embeds"]).sample
        assert [warning.code for warning in session.warnings] == codes
    assert [word.text for word in session.words(role="negative")] == ["feio"]
    assert not torch.allclose(outputs["cfg"], outputs[guidance], atol=1e-5)


@pytest.mark.parametrize("guidance", WAYS)
def test_perturbed_rows_of_a_unet_get_the_negative_prompt_too(make_sd, guidance):
    pipe = StableDiffusionPAGPipeline(**make_sd().components, pag_applied_layers="mid")
    pipe.set_progress_bar_config(disable=True)
    images = [draw(pipe, "feio", way, pag_scale=2.0)[0] for way in ("cfg", guidance)]
    assert not torch.allclose(*images, atol=1e-5)


def test_perturbed_attention_guidance_of_joint_attention_is_refused(make_sd3):
    components = make_sd3().components
    del components["image_encoder"], components["feature_extractor"]
    pipe = StableDiffusion3PAGPipeline(**components, pag_applied_layers="blocks.0")
    pipe.set_progress_bar_config(disable=True)
    with pytest.raises(SettingError, match="perturbed-attention guidance cannot be combined with nag"):
        draw(pipe, "feio", "nag", pag_scale=2.0)


@pytest.mark.parametrize("guidance", WAYS)
def test_compiled_model_gives_the_same_image(tiny, guidance):
    images = []
    for is_compiled in (False, True):
        pipe, graphs = tiny.sd3_pipeline(), 0

        def count(graph, _inputs):
            nonlocal graphs
            graphs += 1
            return graph.forward

        if is_compiled:
            pipe.transformer = torch.compile(pipe.transformer, backend=count, fullgraph=True)
        encoded = tiny.encode("um gato vermelho", negative="feio:2", weighting="attention")
        with attach(pipe, encoded, negative_guidance=guidance) as session:
            images.append(tiny.run(pipe, session.inputs | tiny.pooled(1), guidance_scale=1.0))
    assert graphs == 1
    assert torch.allclose(*images, atol=1e-5)


def test_flux_has_a_scale_of_its_own_for_the_negative_prompt(make_flux):
    pipe = make_flux()
    pipe.set_progress_bar_config(disable=True)
    fast = {"num_inference_steps": 1, "seed": 1, "negative_prompt": "feio", "height": 32, "width": 32}
    unused = generate(pipe, "um gato", guidance_scale=3.5, **fast).warnings
    assert [warning.code for warning in unused] == ["negative-without-guidance"]
    assert "true_cfg_scale=1" in unused[0]
    assert generate(pipe, "um gato", true_cfg_scale=2.0, **fast).warnings == ()
    assert generate(pipe, "um gato", negative_guidance="nag", **fast).warnings == ()


@pytest.mark.parametrize("guidance", WAYS)
def test_batch_draws_the_images_of_generate(plan_of, run_in, tmp_path, tiny_pipe, guidance):
    settings = {"num_inference_steps": 2, "negative_prompt": "feio", "guidance_scale": 1.0}
    plan = plan_of("um gato", "um rato azul", negative_guidance=NegativeGuidance(guidance), **settings)
    outcome, lines = run_in(plan, batch_size=2)
    assert outcome.ok == 2, lines
    assert {image.id for image in plan.images}.isdisjoint(
        image.id for image in plan_of("um gato", "um rato azul", **settings).images
    )
    for planned in plan.images:
        alone = generate(tiny_pipe, planned.job.prompt, seed=1, negative_guidance=guidance, **settings)
        drawn = np.asarray(Image.open(tmp_path / "out" / f"{planned.stem}.png")).astype(int)
        assert abs(drawn - np.asarray(alone.images[0])).max() <= 1
