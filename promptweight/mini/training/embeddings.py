"""Transfer of a text encoder's token embeddings to a larger tokenizer."""

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
    """Resize a CLIP text encoder's token embeddings to another tokenizer's vocabulary, in place.

    A token that both tokenizers have keeps its embedding. A new token starts as the mean of the embeddings of
    the old tokens of its text, or of the word that `nearest` gives for it.

    Args:
        encoder: a `CLIPTextModel` or `CLIPTextModelWithProjection`.
        old: the tokenizer that the encoder was trained with.
        new: the tokenizer that replaces it.
        nearest: known words by new words of nearly the same meaning, such as plurals.
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
    """Return the old token ids of a new token's text.

    If the new token does not end a word, the last old token is replaced by its form without `</w>`, the
    end-of-word mark, if the old vocabulary has that form.
    """
    text = new.convert_tokens_to_string([piece]).removesuffix("</w>")
    ids = list(old(nearest.get(text, text)).input_ids[1:-1])
    last = old.convert_ids_to_tokens(ids[-1:])[0]
    inner = last.removesuffix("</w>")
    if not piece.endswith("</w>") and inner in old.get_vocab():
        ids[-1] = old.get_vocab()[inner]
    return ids
