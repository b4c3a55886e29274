"""Models with offloading hooks, which move weights to the device before their use."""

import pytest
import torch
from accelerate import cpu_offload, dispatch_model
from accelerate.hooks import CpuOffload, SequentialHook, add_hook_to_module

from promptweight.attention import attach
from promptweight.attention.model_calls import find_execution_device

SETTINGS = {"height": 16, "width": 16}


def layer_by_layer(model):
    """Offload as `enable_sequential_cpu_offload` does, each module's weights until their use."""
    cpu_offload(model, execution_device=torch.device("cpu"))


def as_a_whole(model):
    """Offload as `enable_model_cpu_offload` does."""
    add_hook_to_module(model, CpuOffload(torch.device("cpu")), append=True)


def dispatched(model):
    """Dispatch as `from_pretrained(device_map=…)` does."""
    dispatch_model(model, {"": "cpu"}, force_hooks=True)


@pytest.mark.parametrize("family", ["unet", "sd3", "flux"])
@pytest.mark.parametrize("offload", [layer_by_layer, as_a_whole, dispatched])
def test_offloaded_model_gives_the_same_image_and_maps(tiny, family, offload):
    """Image and maps equal those of the model without hooks."""
    negative = None if family == "flux" else "feio"
    encoded = tiny.encode("um gato:2 vermelho", negative=negative, weighting="attention")
    make = {"unet": tiny.pipeline, "sd3": tiny.sd3_pipeline, "flux": tiny.flux_pipeline}[family]
    pooled = {"unet": {}, "sd3": tiny.pooled(1), "flux": {"pooled_prompt_embeds": torch.ones(1, 32)}}[family]
    images, masses = [], []
    for hooked in (False, True):
        pipe = make()
        model = pipe.unet if family == "unet" else pipe.transformer
        for part in pipe.components.values() if hooked else ():
            if isinstance(part, torch.nn.Module):
                offload(part)
        before = [(name, each, type(each)) for name, each in model.attn_processors.items()]
        with attach(pipe, encoded) as session:
            images.append(tiny.run(pipe, session.inputs | pooled, **SETTINGS))
        masses.append(session.maps.word("gato").mass)
        assert [(name, each, type(each)) for name, each in model.attn_processors.items()] == before
    assert torch.equal(*images)
    assert masses[0] == masses[1] > 0
    assert find_execution_device(model) == torch.device("cpu")


@pytest.mark.parametrize("chained", [False, True])
def test_recording_is_on_the_models_execution_device(tiny, chained):
    """Text embeddings may be elsewhere, since the hook moves them. The device is `meta`, without values."""
    pipe, encoded = tiny.pipeline(), tiny.encode("um gato:2 vermelho", weighting="attention")
    hook = CpuOffload(torch.device("meta"))
    add_hook_to_module(pipe.unet, SequentialHook(hook) if chained else hook)
    embeds = encoded.inputs["prompt_embeds"]
    with attach(pipe, encoded) as session, torch.no_grad():
        output = pipe.unet(torch.zeros(1, 4, 8, 8), 1, encoder_hidden_states=embeds).sample
        slots = session.config.store.slots["words"]
    assert output.device.type == "meta"
    assert {slot.sums.device.type for slot in slots.values()} == {"meta"}
