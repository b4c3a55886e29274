"""The noise that scenes are shown in: the same ratio of signal to noise whatever the schedule."""

import pytest
import torch

from promptweight.evaluation.noising import noise_levels
from promptweight.mini.training import mmdit, unet


def test_a_flow_is_asked_at_the_noise_of_the_diffusion() -> None:
    diffusion = noise_levels(unet.scheduler(), (100, 600))
    flow = noise_levels(mmdit.scheduler(), (100, 600))
    for one, other in zip(diffusion, flow, strict=True):
        assert one.name == one.timestep == other.name
        assert one.signal**2 + one.noise**2 == pytest.approx(1)
        assert other.signal + other.noise == pytest.approx(1)
        assert one.signal / one.noise == pytest.approx(other.signal / other.noise)


def test_the_noise_is_what_the_scheduler_itself_adds() -> None:
    latents, noise = torch.randn(1, 8, 16, 16), torch.randn(1, 8, 16, 16)
    scheduler = unet.scheduler()
    (level,) = noise_levels(scheduler, (300,))
    added = scheduler.add_noise(latents, noise, torch.tensor([300]))
    torch.testing.assert_close(level.signal * latents + level.noise * noise, added)

    flow = mmdit.scheduler()
    timestep = flow.timesteps[400]
    sigma = float(timestep) / 1000
    added = flow.scale_noise(latents, timestep[None], noise)
    torch.testing.assert_close((1 - sigma) * latents + sigma * noise, added)
