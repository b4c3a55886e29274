"""Networks of the built-in model: a tokenizer for any text, and standardized latents."""

from random import Random

import pytest
import torch

from promptweight.mini.captions import caption, plainly
from promptweight.mini.scenes import random_scene, render
from promptweight.mini.training import unet
from promptweight.mini.training.autoencoder import standardize, to_pixels


@pytest.fixture(scope="module")
def tokenizer():
    rng = Random(0)
    return unet.train_tokenizer(caption(random_scene(rng), rng) for _ in range(4000))


@pytest.mark.parametrize(
    "text", ["gato", "🐱👩‍🚀", "ñandú 123", "\x00\u202e", "日本語のテキスト", "<|x|> (a:1.2)"]
)
def test_any_text_tokenises_without_unknown_pieces(tokenizer, text: str) -> None:
    ids = tokenizer(text).input_ids
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.unk_token_id not in ids[1:-1]
    assert tokenizer.bos_token_id != tokenizer.eos_token_id != 2


def test_plain_words_are_one_token_each(tokenizer) -> None:
    rng = Random(1)
    for _ in range(50):
        text = plainly(random_scene(rng), rng.choice(("pt", "en"))).replace(",", " ,")
        assert len(tokenizer(text).input_ids) == len(text.split()) + 2


def test_standardising_changes_latents_to_mean_0_spread_1_and_no_picture() -> None:
    torch.manual_seed(0)
    vae = unet.autoencoder().eval()
    rng = Random("latent statistics")
    pixels = to_pixels([render(random_scene(rng), 128)[0] for _ in range(64)])
    with torch.no_grad():
        before = vae.decode(vae.encode(pixels[:8]).latent_dist.mode()).sample
        standardize(vae, scenes=64)
        after = vae.decode(vae.encode(pixels[:8]).latent_dist.mode()).sample
        latents = vae.encode(pixels).latent_dist.mode()
    assert torch.allclose(before, after, atol=1e-4)
    assert latents.mean((0, 2, 3)).abs().max() < 1e-3
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 1e-3
