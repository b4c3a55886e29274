"""A scene shown through noise: the masks are the renderer's, the maps those of a call made by hand."""

import numpy as np
import pytest
import torch

from promptweight.attention import attach
from promptweight.evaluation.noising import look_at
from promptweight.mini.scenes import Scene, Thing, render

CAPTION = "um gato vermelho persegue um rato cinza"
CHASE = Scene((Thing("cat", "red", 4, 20, 24), Thing("mouse", "gray", 36, 20, 24)), relation="chase")


@torch.no_grad()
def test_looking_at_a_scene_is_one_call_on_the_noised_latents(mini):
    picture, drawn = render(CHASE)
    masks, maps = look_at(mini, CHASE, CAPTION, timestep=300, seed=5)
    assert np.array_equal(masks.numpy(), drawn > 0.5)

    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None] / 127.5 - 1
    latents = mini.vae.encode(pixels).latent_dist.mode() * mini.vae.config.scaling_factor
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(5))
    with attach(mini, CAPTION) as session:
        noisy = mini.scheduler.add_noise(latents, noise, torch.tensor([300]))
        mini.unet(noisy, 300, encoder_hidden_states=session.inputs["prompt_embeds"])
    for word in ("vermelho", "cinza"):
        assert torch.allclose(maps.word(word).tensor, session.maps.word(word).tensor, atol=1e-5)


@pytest.mark.parametrize(("name", "word"), [("mini", "vermelho"), ("mini-dit", "gato vermelho")])
def test_a_phrase_is_sought_where_its_thing_was_drawn(name, word):
    from promptweight.models.loading import load

    (cat, mouse), maps = look_at(load(name, device="cpu"), CHASE, CAPTION)
    heat = maps.word(word).tensor
    assert heat[cat].mean() > 1.5 * heat[mouse].mean()
