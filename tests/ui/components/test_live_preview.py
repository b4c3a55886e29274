"""Previews of unfinished images: exact where image and noise are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
)

from promptweight import generate
from promptweight_ui.components.live_preview import LivePreview


def levels(scheduler):
    """The factors of image and noise after each step, from the scheduler's own function that adds noise."""
    clean, noise = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    add = scheduler.scale_noise if hasattr(scheduler, "scale_noise") else None
    factors = []
    for timestep in scheduler.timesteps:
        at = timestep[None]
        if add is not None:
            factors.append((float(add(clean, at, noise)), float(add(noise, at, clean))))
        else:
            factors.append(
                (float(scheduler.add_noise(clean, noise, at)), float(scheduler.add_noise(noise, clean, at)))
            )
    return factors


@pytest.mark.parametrize(
    "scheduler",
    [
        DDIMScheduler(timestep_spacing="trailing"),
        DPMSolverMultistepScheduler(),
        EulerDiscreteScheduler(),
        FlowMatchEulerDiscreteScheduler(),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)
@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # diffusers' own
def test_two_latents_determine_the_image(scheduler):
    scheduler.set_timesteps(10)
    preview = LivePreview(SimpleNamespace(scheduler=scheduler))
    image, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    known = levels(scheduler)
    for step in (3, 6):
        assert preview.noise_level(step) == pytest.approx(known[step], abs=1e-4)
        older, newer = (known[each][0] * image + known[each][1] * noise for each in (step - 1, step))
        denoised = preview.denoise(older, step - 1, newer, step)
        assert torch.allclose(denoised, image, atol=1e-2)


def test_last_preview_is_the_image(tiny_pipe):
    preview = LivePreview(tiny_pipe)
    previews = []

    def add(progress):
        previews.append(preview(progress))
        return True

    result = generate(tiny_pipe, "um gato", num_inference_steps=3, seed=1, callback=add)
    assert [image.size for image in previews] == [result.images[0].size] * 3
    one, other = (np.asarray(image, dtype=np.float32) for image in (previews[-1], result.images[0]))
    assert np.abs(one - other).mean() < 8  # a schedule's last step leaves a little noise


def test_pipeline_without_latents_has_no_preview():
    assert LivePreview(SimpleNamespace())(SimpleNamespace(latents=None)) is None
