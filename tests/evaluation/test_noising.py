"""Noised scenes: noise levels of both schedules, wide images, and one recorded call by hand."""

import numpy as np
import pytest
import torch

from promptweight.attention import attach
from promptweight.evaluation.noising import can_predict, noise_levels, record_scene, widen
from promptweight.mini.scenes import Scene, Thing, render
from promptweight.mini.training import mmdit, unet

CAPTION = "um gato vermelho persegue um rato cinza"
CHASE = Scene((Thing("cat", "red", 4, 20, 24), Thing("mouse", "gray", 36, 20, 24)), relation="chase")


def test_noise_levels_flow_has_ratio_of_diffusion() -> None:
    diffusion = noise_levels(unet.scheduler(), (100, 600))
    flow = noise_levels(mmdit.scheduler(), (100, 600))
    for one, other in zip(diffusion, flow, strict=True):
        assert one.name == one.timestep == other.name
        assert one.signal**2 + one.noise**2 == pytest.approx(1)
        assert other.signal + other.noise == pytest.approx(1)
        assert one.signal / one.noise == pytest.approx(other.signal / other.noise)


def test_noise_levels_equal_scheduler_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    latents, noise = torch.randn(2, 1, 8, 16, 16, generator=generator)
    scheduler = unet.scheduler()
    (level,) = noise_levels(scheduler, (300,))
    added = scheduler.add_noise(latents, noise, torch.tensor([300]))
    torch.testing.assert_close(level.signal * latents + level.noise * noise, added)

    flow = mmdit.scheduler()
    timestep = flow.timesteps[400]
    sigma = float(timestep) / 1000
    added = flow.scale_noise(latents, timestep[None], noise)
    torch.testing.assert_close((1 - sigma) * latents + sigma * noise, added)


def test_widen_adds_background_and_keeps_masks() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    mask = np.ones((1, 2, 2), np.float32)
    wide, masks = widen(image, mask, 3)
    assert wide.shape == (2, 8, 3)
    assert (wide[:, 3:5] == image).all()
    assert (wide[:, 0] == image[:, 0]).all()
    assert masks.sum() == mask.sum()
    assert (masks[:, :, 3:5] == 1).all()


@torch.no_grad()
def test_record_scene_equals_call_by_hand(mini):
    image, soft_masks = render(CHASE, 128)
    masks, maps = record_scene(mini, CHASE, CAPTION, timestep=300, seed=5)
    assert np.array_equal(masks.numpy(), soft_masks > 0.5)

    pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1
    latents = mini.vae.encode(pixels).latent_dist.mode() * mini.vae.config.scaling_factor
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(5))
    with attach(mini, CAPTION) as session:
        noisy = mini.scheduler.add_noise(latents, noise, torch.tensor([300]))
        mini.unet(noisy, 300, encoder_hidden_states=session.inputs["prompt_embeds"])
    for word in ("vermelho", "cinza"):
        assert torch.allclose(maps.word(word).tensor, session.maps.word(word).tensor, atol=1e-5)


@pytest.mark.parametrize(("name", "word"), [("mini", "vermelho"), ("mini-dit", "gato vermelho")])
def test_record_scene_map_is_higher_on_its_object(name, word):
    from promptweight.models.loading import load

    (cat, mouse), maps = record_scene(load(name, device="cpu"), CHASE, CAPTION)
    heat = maps.word(word).tensor
    assert heat[cat].mean() > 1.5 * heat[mouse].mean()


def test_can_predict_joint_attention(joint):
    assert can_predict(joint)
