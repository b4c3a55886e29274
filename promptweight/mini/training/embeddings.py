"""Token embeddings of a text encoder carried over to a larger tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import CLIPTokenizer


@torch.no_grad()
def carry_over(
    encoder: Any, old: CLIPTokenizer, new: CLIPTokenizer, nearest: Mapping[str, str] | None = None
) -> None:
    """Give a CLIP text encoder the vocabulary of another tokenizer, in place.

    A piece of text that both tokenizers have keeps its embedding; a new one starts as the mean of the
    embeddings of the pieces that `old` cuts it, or the word nearest to it, into.

    Args:
        encoder: a `CLIPTextModel` or `CLIPTextModelWithProjection`.
        old: the tokenizer that the encoder was trained with.
        new: the tokenizer that it gets.
        nearest: words that the encoder knows, by new words that mean nearly the same, such as plurals.
    """
    module = getattr(encoder, "text_model", encoder)
    before = module.embeddings.token_embedding
    known, nearest = old.get_vocab(), nearest or {}
    after = nn.Embedding(
        len(new), before.embedding_dim, dtype=before.weight.dtype, device=before.weight.device
    )
    for piece, index in new.get_vocab().items():
        ids = [known[piece]] if piece in known else _pieces(piece, old, new, nearest)
        after.weight[index] = before.weight[ids].mean(0)
    module.embeddings.token_embedding = after
    for config in (encoder.config, module.config):
        config.vocab_size = len(new)
        config.bos_token_id, config.eos_token_id = new.bos_token_id, new.eos_token_id
        config.pad_token_id = new.pad_token_id
    if hasattr(module, "eos_token_id"):
        module.eos_token_id = new.eos_token_id


def _pieces(piece: str, old: CLIPTokenizer, new: CLIPTokenizer, nearest: Mapping[str, str]) -> list[int]:
    """Return the ids of the old pieces of a new one; a piece that ends no word loses the mark of the end."""
    text = new.convert_tokens_to_string([piece]).removesuffix("</w>")
    ids = list(old(nearest.get(text, text)).input_ids[1:-1])
    last = old.convert_ids_to_tokens(ids[-1:])[0]
    inner = last.removesuffix("</w>")
    if not piece.endswith("</w>") and inner in old.get_vocab():
        ids[-1] = old.get_vocab()[inner]
    return ids
