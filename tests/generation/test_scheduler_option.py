"""Option `scheduler` of `generate`: the sampler of one call."""

import pytest
import torch
from diffusers import EulerDiscreteScheduler

from promptweight.generation import generate
from promptweight.models import make_scheduler

FAST = {"num_inference_steps": 2, "seed": 7, "record": False}


def test_sampler_of_the_call_draws_the_image_and_the_pipelines_own_comes_back(tiny_pipe):
    own, config = tiny_pipe.scheduler, dict(tiny_pipe.config)
    result = generate(tiny_pipe, "um gato", scheduler="Euler", **FAST)
    assert tiny_pipe.scheduler is own
    assert dict(tiny_pipe.config) == config
    assert result.settings["scheduler"] == "EulerDiscreteScheduler"
    assert result.settings["sampler"] == "Euler"
    tiny_pipe.scheduler = make_scheduler("Euler", own)
    try:
        generator = torch.Generator().manual_seed(7)
        expected = tiny_pipe("um gato", num_inference_steps=2, generator=generator).images[0]
    finally:
        tiny_pipe.scheduler = own
    assert result.images[0].tobytes() == expected.tobytes()
    assert generate(tiny_pipe, "um gato", **FAST).settings["sampler"] == "DDIM"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_pipelines_own_sampler_comes_back_after_an_exception(tiny_pipe, error):
    own, during = tiny_pipe.scheduler, []

    def callback(_):
        during.append(type(tiny_pipe.scheduler))
        raise error

    with pytest.raises(error):
        generate(tiny_pipe, "um gato", scheduler="Euler", callback=callback, **FAST)
    assert during == [EulerDiscreteScheduler]
    assert tiny_pipe.scheduler is own


def test_stopped_run_gives_the_pipelines_own_sampler_back(tiny_pipe):
    own = tiny_pipe.scheduler
    result = generate(tiny_pipe, "um gato", scheduler="Euler", callback=lambda _: False, **FAST)
    assert result.stopped_after == 1
    assert tiny_pipe.scheduler is own
