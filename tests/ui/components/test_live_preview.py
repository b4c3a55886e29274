"""What an unfinished picture looks like: exact where the picture and the noise are known."""

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
from promptweight_ui.components.live_preview import Preview


def levels(scheduler):
    """(signal, noise) after each step, from the library's own way of adding noise to a picture."""
    clean, noise = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    add = scheduler.scale_noise if hasattr(scheduler, "scale_noise") else None
    found = []
    for timestep in scheduler.timesteps:
        at = timestep[None]
        if add is not None:
            found.append((float(add(clean, at, noise)), float(add(noise, at, clean))))
        else:
            found.append(
                (float(scheduler.add_noise(clean, noise, at)), float(scheduler.add_noise(noise, clean, at)))
            )
    return found


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
def test_two_latents_tell_the_picture(scheduler):
    scheduler.set_timesteps(10)
    preview = Preview(SimpleNamespace(scheduler=scheduler))
    picture, noise = torch.randn(2, 1, 4, 8, 8)
    known = levels(scheduler)
    for step in (3, 6):
        assert preview._level(step) == pytest.approx(known[step], abs=1e-4)
        older, newer = (known[place][0] * picture + known[place][1] * noise for place in (step - 1, step))
        told = preview._without_noise(older, step - 1, newer, step)
        assert torch.allclose(told, picture, atol=1e-2)


def test_the_last_look_is_the_picture_itself(tiny_pipe):
    preview = Preview(tiny_pipe)
    looks = []

    def look(progress):
        looks.append(preview(progress))
        return True

    result = generate("um gato", tiny_pipe, num_inference_steps=3, seed=1, callback=look)
    assert [image.size for image in looks] == [result.images[0].size] * 3
    one, other = (np.asarray(image, dtype=np.float32) for image in (looks[-1], result.images[0]))
    assert np.abs(one - other).mean() < 8  # a schedule's last step leaves a little noise


def test_a_model_that_shows_no_latents_has_no_look():
    assert Preview(SimpleNamespace())(SimpleNamespace(latents=None)) is None
