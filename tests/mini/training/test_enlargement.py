"""Enlargement of an autoencoder: its start as the teacher, its batches, and what it learns."""

from random import Random

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from promptweight.mini.scenes import Scene, Thing, render
from promptweight.mini.training import enlargement, unet
from promptweight.mini.training.autoencoder import to_pixels


@pytest.fixture(scope="module")
def teacher() -> AutoencoderKL:
    torch.manual_seed(0)
    return unet.autoencoder(64).eval().requires_grad_(False)


def enlarged(images: torch.Tensor) -> torch.Tensor:
    return images.repeat_interleave(2, -1).repeat_interleave(2, -2)


@torch.no_grad()
def test_the_enlarged_encoder_gives_the_latents_of_the_teacher(teacher: AutoencoderKL) -> None:
    vae = enlargement.enlarge(teacher)
    small = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    ours, theirs = (
        one.encode(image).latent_dist for one, image in ((vae, enlarged(small)), (teacher, small))
    )
    torch.testing.assert_close(ours.mean, theirs.mean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.logvar, theirs.logvar, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_enlarged_encoder_halves_the_image(teacher: AutoencoderKL) -> None:
    vae = enlargement.enlarge(teacher)
    image = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(2))
    features = vae.encoder.down_blocks[0](vae.encoder.conv_in(image))
    padded = torch.nn.functional.pad(image, (2, 2, 2, 2))[0]
    weight, bias = teacher.encoder.conv_in.weight, teacher.encoder.conv_in.bias
    columns = ((1,), (2, 3), (4, 5))  # the column before is one pixel; the others are the mean of two
    for y, x in ((0, 0), (0, 63), (63, 63), (20, 41)):
        window = padded[:, 2 * y : 2 * y + 6, 2 * x : 2 * x + 6]
        seen = torch.stack(
            [torch.stack([window[:, r][:, :, c].mean((1, 2)) for c in columns]) for r in columns]
        )
        expected = torch.einsum("oiyx,yxi->o", weight, seen) + bias
        torch.testing.assert_close(features[0, :, y, x], expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_enlarged_decoder_starts_with_the_features_of_the_teacher(teacher: AutoencoderKL) -> None:
    vae, features = enlargement.enlarge(teacher), {}
    for name, one in (("ours", vae), ("theirs", teacher)):
        one.decoder.conv_norm_out.register_forward_pre_hook(
            lambda module, inputs, name=name: features.update({name: inputs[0]})
        )
        image = one.decode(torch.randn(2, 8, 16, 16, generator=torch.Generator().manual_seed(3))).sample
        assert image.shape == (2, 3, *(2 * [128 if name == "ours" else 64]))
    torch.testing.assert_close(features["ours"], enlarged(features["theirs"]), atol=1e-4, rtol=1e-4)


def test_a_batch_holds_the_latents_of_the_scenes_at_the_size_of_the_teacher(
    teacher: AutoencoderKL, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene((Thing("cat", "white", 16, 16, 32),))
    monkeypatch.setattr(enlargement, "scene_of", lambda world, rng: scene)
    batch = enlargement.draw_batch(teacher)(Random(0), 3)
    picture, masks = render(scene, 128)
    assert torch.equal(batch["pixels"][1], to_pixels([picture])[0])
    taught = teacher.encode(to_pixels([render(scene, 64)[0]])).latent_dist
    torch.testing.assert_close(batch["taught"][:1], taught.mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(batch["taught_spread"][:1], taught.logvar, atol=1e-5, rtol=1e-5)
    weight = batch["weight"][0, 0].numpy()
    assert weight[:8].max() == 1
    assert weight[masks[0] == 1].min() >= 4
    eyes = np.zeros((128, 128), bool)
    y, x = (round(2 * (16 + 32 * at)) for at in (0.36, 0.33))
    eyes[y - 1 : y + 2, x - 1 : x + 2] = True
    assert weight[eyes].min() == 8


def test_training_brings_decoder_and_encoder_closer(teacher: AutoencoderKL) -> None:
    torch.manual_seed(0)
    loss = enlargement.EnlargementLoss(enlargement.enlarge(teacher))
    batch = enlargement.draw_batch(teacher)(Random(0), 2)
    optimizer = torch.optim.AdamW(loss.parameters(), 2e-3)
    losses = []
    for _ in range(6):
        torch.manual_seed(1)
        value = loss(batch)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < losses[0]
    unmoved = [name for name, p in loss.named_parameters() if p.grad is None or not p.grad.any()]
    assert unmoved == []
