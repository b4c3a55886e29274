"""Transfer of token embeddings to a larger tokenizer: known tokens are kept, new ones start as means."""

import pytest
import torch

from promptweight.mini.captions import caption
from promptweight.mini.sampling import sample_scene
from promptweight.mini.training import mmdit
from promptweight.mini.training.embeddings import carry_over
from promptweight.mini.training.unet import text_encoder, train_tokenizer


@pytest.fixture(scope="module")
def tokenizers():
    old = train_tokenizer(["um gato vermelho", "a red cat"], 40)
    new = train_tokenizer(["um gato vermelho", "a red cat", "dois cachorros", "two dogs"] * 5, 200)
    return old, new


@pytest.mark.parametrize("kind", ["plain", "projected"])
def test_known_words_keep_their_rows_and_new_ones_are_means(tokenizers, kind: str) -> None:
    old, new = tokenizers
    torch.manual_seed(0)
    encoder = text_encoder(old) if kind == "plain" else mmdit.JointTextEncoders(old).first
    table = getattr(encoder, "text_model", encoder).embeddings.token_embedding.weight.detach().clone()

    def encode(tokenizer, text: str) -> torch.Tensor:
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            return encoder(ids, output_hidden_states=True).hidden_states[-1]

    before = encode(old, "um gato vermelho")
    carry_over(encoder, old, new)
    torch.testing.assert_close(encode(new, "um gato vermelho"), before)
    assert encoder.config.vocab_size == len(new)
    assert encoder.config.eos_token_id == new.eos_token_id
    (dog,) = new("cachorros").input_ids[1:-1]
    after = getattr(encoder, "text_model", encoder).embeddings.token_embedding.weight
    pieces = old("cachorros").input_ids[1:-1]
    assert len(pieces) > 1
    torch.testing.assert_close(after[dog].detach(), table[pieces].mean(0))


def test_a_new_word_starts_as_the_word_nearest_to_it(tokenizers) -> None:
    old, new = tokenizers
    encoder = text_encoder(old)
    carry_over(encoder, old, new, {"cachorros": "gato"})
    rows = getattr(encoder, "text_model", encoder).embeddings.token_embedding.weight
    dog, cat = (new(word).input_ids[1] for word in ("cachorros", "gato"))
    assert torch.equal(rows[dog], rows[cat])


def test_the_end_of_a_prompt_is_found_with_the_new_tokenizer(tokenizers) -> None:
    old, new = tokenizers
    torch.manual_seed(0)
    encoder = mmdit.JointTextEncoders(old).first.eval()
    carry_over(encoder, old, new)
    with torch.no_grad():
        short = encoder(new("dois cachorros", return_tensors="pt").input_ids).text_embeds
        padded = encoder(
            new("dois cachorros", padding="max_length", max_length=20, return_tensors="pt").input_ids
        ).text_embeds
    torch.testing.assert_close(short, padded)


def test_every_caption_of_the_whole_world_fits_the_short_tokenizer() -> None:
    from random import Random

    from promptweight.mini.training.train import _train_tokenizer
    from promptweight.mini.worlds import WHOLE

    tokenizer = _train_tokenizer(0)
    rng = Random(12)
    lengths = [len(tokenizer(caption(sample_scene(rng, WHOLE), rng)).input_ids) for _ in range(2000)]
    assert max(lengths) <= mmdit.TEXT_POSITIONS
