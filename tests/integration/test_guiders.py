"""Guiders of modular pipelines, which call the model once for each prediction, the prompt's own first."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.guiders import ClassifierFreeGuidance, SkipLayerGuidance
from diffusers.hooks import LayerSkipConfig
from diffusers.modular_pipelines.stable_diffusion_3.denoise import StableDiffusion3LoopDenoiser

from promptweight.attention import Record, attach

STEPS = 3


def classifier_free():
    return ClassifierFreeGuidance(guidance_scale=4.0)


def skip_layer():
    # whole blocks cannot be left out of this model: diffusers' hook gives its two streams in the wrong order
    layers = LayerSkipConfig(indices=[1], fqn="transformer_blocks", skip_attention=False)
    return SkipLayerGuidance(
        4.0, skip_layer_guidance_start=0.0, skip_layer_guidance_stop=1.0, skip_layer_config=layers
    )


def run(pipe, inputs, pooled):
    """Run the loop of diffusers' modular Stable Diffusion 3 with its own block; return the latents."""
    pipe.scheduler.set_timesteps(STEPS)
    denoise = StableDiffusion3LoopDenoiser()
    state = SimpleNamespace(**inputs, **pooled, num_inference_steps=STEPS, joint_attention_kwargs=None)
    state.latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for number, timestep in enumerate(pipe.scheduler.timesteps):
            denoise(pipe, state, number, timestep)
            state.latents = pipe.scheduler.step(state.noise_pred, timestep, state.latents, return_dict=False)[
                0
            ]
    return state.latents


@pytest.mark.parametrize("guider", [classifier_free, skip_layer])
def test_steps_are_counted_without_perturbed_calls(tiny, guider):
    """The recording has each step's own calls for both prompts, in the order of the steps."""
    encoded, pooled = tiny.encode("um gato vermelho"), tiny.pooled(1)
    transformer = tiny.sd3_pipeline().transformer
    pipe = SimpleNamespace(
        transformer=transformer, guider=guider(), scheduler=FlowMatchEulerDiscreteScheduler()
    )
    plain = run(pipe, encoded.inputs, pooled)
    own = []

    def note(_model, _args, kwargs):
        if torch.equal(kwargs["encoder_hidden_states"], encoded.inputs["prompt_embeds"]):
            own.append((pipe.guider._step, kwargs["hidden_states"], kwargs["timestep"]))

    record = Record(steps="keep", roles=("positive", "negative"))
    with attach(pipe, encoded, record=record) as session:
        hook = transformer.register_forward_pre_hook(note, with_kwargs=True)
        assert torch.equal(run(pipe, session.inputs, pooled), plain)
        hook.remove()
    recording = session.maps.recording
    assert session.warnings == []
    assert all((slot.counts == 1).all() for slot in recording.slots)
    assert len(own) == (
        5 if guider is skip_layer else 3
    )  # diffusers leaves layers out from the second step on
    first = {step: call for step, *call in reversed(own)}
    assert sorted(first) == [0, 1, 2]
    for step, (latents, timestep) in first.items():
        with attach(pipe, encoded) as alone, torch.no_grad():
            transformer(latents, encoded.inputs["prompt_embeds"], pooled["pooled_prompt_embeds"], timestep)
        for slot, other in zip(recording.slots, alone.maps.recording.slots, strict=True):
            assert torch.allclose(slot.sums[step, 0, 0], other.sums[0, 0, 0], atol=1e-6)
